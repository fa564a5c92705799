"""Look at what is parked, and let it be tried again. The next sync of its account does that."""

from collections.abc import AsyncGenerator, Sequence
from uuid import UUID

from postroom.accounts import store as accounts
from postroom.db.pool import Connection, Transactions
from postroom.ids import AccountId, TenantId
from postroom.mail import content

from .quarantine import Entry, NoSuchParked, NothingKept
from .store import quarantine


async def entry(conn: Connection, tenant: TenantId, id: UUID) -> Entry:
    """Raises `NoSuchParked`."""
    [found] = await _named(conn, tenant, [id])
    return found


async def retry(
    conn: Connection, tenant: TenantId, *, ids: Sequence[UUID] | None = None, account: AccountId | None = None
) -> list[Entry]:
    """Try these again at once, or all of an account, or everything; return what waits no longer.

    Their accounts are due at once. Paused ones stay paused: what waits there is tried once they are resumed.
    Raises `NoSuchParked` when one of the ids is none, and then does nothing.
    """
    if ids is None:
        found = await quarantine.waiting(conn, tenant, account=account)
    else:
        found = await _named(conn, tenant, ids)
    await quarantine.retry(conn, tenant, [one.id for one in found])
    await accounts.make_due(conn, tenant, sorted({one.account_number for one in found}))
    return found


def raw(data: Transactions, tenant: TenantId, entry: Entry) -> AsyncGenerator[bytes]:
    """The bytes of a message as the server handed them out. Raises `NothingKept`."""
    if entry.digest is None or entry.size is None:
        raise NothingKept("No bytes are kept of this; the server never handed them out.")
    return content.read(data, tenant, entry.digest, 0, entry.size)


async def _named(conn: Connection, tenant: TenantId, ids: Sequence[UUID]) -> list[Entry]:
    found = await quarantine.waiting(conn, tenant, ids=ids)
    if {one.id for one in found} != set(ids):
        raise NoSuchParked("There is nothing parked under that id; it may have been copied meanwhile.")
    return found
