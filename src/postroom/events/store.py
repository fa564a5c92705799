"""The log's rows as readers and checkers want them. Writing is `log`'s."""

from asyncpg import Connection

from postroom.db.sql import Where
from postroom.ids import TenantId

from .model import Entry, Place, Stream

FEED = """
    SELECT tenant_id, stream, seq, position, at, kind, body, hash FROM events_event
     WHERE tenant_id = $1 AND {where}
       AND position < pg_snapshot_xmin(pg_current_snapshot())::text::bigint
         + coalesce((SELECT max(base) FROM events_restored WHERE tenant_id = $1), 0)
     ORDER BY position, stream, seq LIMIT $2
"""
HASH = """
    SELECT hash FROM events_event WHERE tenant_id = $1 AND position = $2 AND stream = $3 AND seq = $4
"""
LAST = """
    SELECT stream, seq, position, hash FROM events_event
     WHERE tenant_id = $1 AND position < pg_snapshot_xmin(pg_current_snapshot())::text::bigint
         + coalesce((SELECT max(base) FROM events_restored WHERE tenant_id = $1), 0)
     ORDER BY position DESC, stream DESC, seq DESC LIMIT 1
"""
MIND_RESTORE = "SELECT events_mind_restore()"


async def feed(
    conn: Connection, tenant: TenantId, after: Place, stream: Stream | None, limit: int
) -> list[Entry]:
    """Entries behind a place, below the oldest running transaction, in the order of feeds."""
    where = Where(tenant, limit)
    where.add(
        "(position, stream, seq) > (($?::bigint[])[1], ($?::bigint[])[2], ($?::bigint[])[3])", list(after)
    )
    where.given("stream = $?", stream)
    return [Entry(*row) for row in await conn.fetch(where.into(FEED), *where.values)]


async def hash_at(conn: Connection, tenant: TenantId, place: Place) -> bytes | None:
    """The hash of the entry at a place; None where there is none."""
    found: bytes | None = await conn.fetchval(HASH, tenant, *place)
    return found


async def last(conn: Connection, tenant: TenantId) -> Place | None:
    """The place of the last entry that a feed shows."""
    row = await conn.fetchrow(LAST, tenant)
    return (row["position"], row["stream"], row["seq"]) if row else None


async def mind_restore(conn: Connection) -> int:
    """See the migration. For an unbound transaction."""
    return int(await conn.fetchval(MIND_RESTORE))
