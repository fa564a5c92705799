"""Who watches which account; across all tenants, but for `watched`."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from asyncpg import Connection, Record

from postroom.ids import AccountId, TenantId
from postroom.providers.model import Means
from postroom.providers.target import Key

KINDS = ["imap"]  # providers whose servers may tell of changes

CLAIM = "SELECT owner, account FROM sync_watch_claim($1, $2, $3, $4)"


async def claim(conn: Connection, by: str, living: Sequence[str], most: int) -> list[Key]:
    """At most so many accounts that none of the `living` processes watches; they are `by`'s now."""
    return [_key(row) for row in await conn.fetch(CLAIM, by, living, KINDS, most)]


SHARES = "SELECT watcher, accounts FROM sync_watch_shares($1, $2)"


@dataclass(frozen=True, slots=True)
class Shares:
    """How the accounts are shared among the processes that live."""

    accounts: int
    of: Mapping[str, int]


async def shares(conn: Connection, living: Sequence[str]) -> Shares:
    rows = {row["watcher"]: row["accounts"] for row in await conn.fetch(SHARES, living, KINDS)}
    return Shares(rows.pop(None), {process: rows.get(process, 0) for process in living})


MINE = "SELECT owner, account, is_well FROM sync_watch_mine($1)"


async def mine(conn: Connection, by: str) -> dict[Key, bool]:
    """What `by` watches still, without what its owner has paused; and whether its last sync went well."""
    return {_key(row): row["is_well"] for row in await conn.fetch(MINE, by)}


RELEASE = "SELECT sync_watch_release($1, $2)"


async def release(conn: Connection, by: str, accounts: Collection[AccountId] | None = None) -> None:
    """Let go of these accounts, or of all."""
    await conn.execute(RELEASE, by, None if accounts is None else list(accounts))


TELL = "SELECT sync_watch_tell($1, $2, $3)"


async def tell(conn: Connection, by: str, means: Mapping[AccountId, Means | None]) -> None:
    """How servers tell of these accounts now; None: they do not."""
    await conn.execute(TELL, by, list(means), [each and str(each) for each in means.values()])


DUE = "SELECT owner, account FROM sync_watch_due($1, $2, $3)"


async def due(conn: Connection, by: str, every: timedelta, most: int) -> list[Key]:
    """At most so many accounts that `by` is told of and that are to be polled all the same, as it is time."""
    return [_key(row) for row in await conn.fetch(DUE, by, every, most)]


WATCHED = "SELECT means, since FROM sync_watch WHERE tenant_id = $1 AND account_id = $2 AND means IS NOT NULL"


@dataclass(frozen=True, slots=True)
class Watched:
    means: Means
    since: datetime


async def watched(conn: Connection, tenant: TenantId, account: AccountId) -> Watched | None:
    """How the server tells of changes; None: it is only polled. Who watched it may have died a moment ago."""
    row = await conn.fetchrow(WATCHED, tenant, account)
    return Watched(Means(row["means"]), row["since"]) if row else None


CHANGED = "SELECT tenant, account, lapsed FROM sync_told_changed($1, $2)"
MARK = """
    UPDATE sync_told SET lapsed_at = CASE WHEN $3 THEN now() END
     WHERE tenant_id = $1 AND account_id = $2 AND (lapsed_at IS NULL) = $3
    RETURNING account_id
"""


async def changed(conn: Connection, patience: timedelta, most: int) -> list[tuple[TenantId, AccountId, bool]]:
    """Accounts of all tenants that are well and whose servers have told of nothing for so long, though they
    did; and with False those where they do so again. Unbound.
    """
    rows = await conn.fetch(CHANGED, patience, most)
    return [(TenantId(row["tenant"]), AccountId(row["account"]), row["lapsed"]) for row in rows]


async def mark(conn: Connection, tenant: TenantId, account: AccountId, *, is_lapsed: bool) -> bool:
    """Whether that is news."""
    return await conn.fetchval(MARK, tenant, account, is_lapsed) is not None


def _key(row: Record) -> Key:
    return TenantId(row["owner"]), AccountId(row["account"])
