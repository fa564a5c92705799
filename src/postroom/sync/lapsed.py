"""Tell of accounts whose servers told of changes and do so no more: each once, until they do again.

Nothing is lost by that, as such an account is polled; but its mail comes later than its owner is used to.
"""

from datetime import timedelta

from postroom.accounts import change
from postroom.accounts import store as accounts
from postroom.accounts.model import NoSuchAccount
from postroom.db.pool import Database

from .store import watch as store

PATIENCE = timedelta(minutes=10)
MOST = 1000


async def tell_lapsed(db: Database, patience: timedelta = PATIENCE) -> None:
    """An account that is in trouble itself is told of otherwise, and not here."""
    async with db.unbound() as conn:
        found = await store.changed(conn, patience, MOST)
    for tenant, number, is_lapsed in found:
        async with db.transaction(tenant) as conn:
            if await store.mark(conn, tenant, number, is_lapsed=is_lapsed):
                try:
                    account = await accounts.get_by_id(conn, tenant, number)
                except NoSuchAccount:
                    continue  # it was removed in this moment
                kind = "sync.watch_lapsed" if is_lapsed else "sync.watch_resumed"
                await change.tell(conn, account, kind)
