"""What was removed of the log: rows of `events_removed`, and which entries are next."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from asyncpg import Connection

from postroom.db.roles import as_system
from postroom.events.model import Removed, Stream
from postroom.ids import TenantId

BELOW = """
    WITH next AS (
        SELECT position, at FROM events_event
         WHERE tenant_id = $1 AND position > $2 AND position < $3
         ORDER BY position, stream, seq LIMIT $5
    )
    SELECT coalesce(min(position) FILTER (WHERE at >= $4),
                    CASE WHEN count(*) = $5 THEN greatest(max(position), min(position) + 1) ELSE $3 END)
      FROM next
"""
ENDS = """
    SELECT DISTINCT ON (stream) stream, seq, position, hash, at FROM events_event
     WHERE tenant_id = $1 AND position > $2 AND position < $3
     ORDER BY stream, seq DESC
"""
PUT = """
    INSERT INTO events_removed (tenant_id, stream, seq, position, hash, at)
    SELECT $1, r.* FROM unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::bytea[], $6::timestamptz[]) AS r
    ON CONFLICT (tenant_id, stream)
    DO UPDATE SET seq = excluded.seq, position = excluded.position, hash = excluded.hash, at = excluded.at
"""
OF_ONE = "SELECT stream, seq, position, hash, at FROM events_removed WHERE tenant_id = $1 AND stream = $2"
ALL = "SELECT stream, seq, position, hash FROM events_removed WHERE tenant_id = $1"
SINCE = """
    SELECT at FROM events_removed WHERE tenant_id = $1
     ORDER BY position DESC, stream DESC, seq DESC LIMIT 1
"""
SWEEP = "SELECT events_sweep($2) WHERE tenant() = $1"

AGO = "SELECT now() - $1::interval"


async def ago(conn: Connection, age: timedelta) -> datetime:
    """When that was, by the clock of the database."""
    found: datetime = await conn.fetchval(AGO, age)
    return found


async def below(
    conn: Connection, tenant: TenantId, above: int, horizon: int, before: datetime, most: int
) -> int:
    """The position up to which all entries above another one are older; no more than so many, unless one
    transaction has written more.
    """
    return int(await conn.fetchval(BELOW, tenant, above, horizon, before, most))


async def ends(conn: Connection, tenant: TenantId, above: int, below: int) -> list[Removed]:
    """The last entry of each stream between two positions."""
    return [Removed(*row) for row in await conn.fetch(ENDS, tenant, above, below)]


async def put(conn: Connection, tenant: TenantId, removed: Sequence[Removed]) -> None:
    """These, and all before them, are removed from now on."""
    rows = [(one.stream, one.seq, one.position, one.hash, one.at) for one in removed]
    async with as_system(conn):
        await conn.execute(PUT, tenant, *map(list, zip(*rows, strict=True)))


async def of_one(conn: Connection, tenant: TenantId, stream: Stream) -> Removed | None:
    """The last of a stream that was removed."""
    row = await conn.fetchrow(OF_ONE, tenant, stream)
    return Removed(*row) if row else None


async def every(conn: Connection, tenant: TenantId) -> dict[int, tuple[int, int, bytes]]:
    """Seq, position and hash of the last of each stream that was removed."""
    return {row[0]: (row[1], row[2], row[3]) for row in await conn.fetch(ALL, tenant)}


async def until(conn: Connection, tenant: TenantId) -> datetime | None:
    """When the last one that was removed had been logged."""
    found: datetime | None = await conn.fetchval(SINCE, tenant)
    return found


async def sweep(conn: Connection, tenant: TenantId, most: int) -> int:
    """Delete at most so many of them, the oldest first; how many. The transaction is bound to the tenant."""
    async with as_system(conn):
        return int(await conn.fetchval(SWEEP, tenant, most) or 0)
