"""The log's rows as readers and checkers want them. Writing is `log`'s."""

from collections.abc import AsyncIterator, Collection, Mapping
from datetime import UTC, datetime
from typing import TypeAlias

from asyncpg import Connection, Record

from postroom.db.roles import as_system
from postroom.db.sql import Where
from postroom.events.model import Entry, Head, Place, Seal, Stream
from postroom.ids import TenantId

Row: TypeAlias = Record
"""Stream, seq, position, at (None where Python has no such time), kind, body, hash."""

SMALLEST = -(1 << 63)  # below every number that may stand in a column, rightly or not
LATEST = datetime.max.replace(tzinfo=UTC)
BEGINNING = (SMALLEST, SMALLEST, datetime.min.replace(tzinfo=UTC))

HORIZON = """
    SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint + coalesce(max(base), 0),
           (SELECT ARRAY[r.position, r.stream, r.seq] FROM events_removed r WHERE r.tenant_id = $1
             ORDER BY r.position DESC, r.stream DESC, r.seq DESC LIMIT 1)
      FROM events_restored WHERE tenant_id = $1
"""
HORIZON_OF_ONE = """
    SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint + coalesce(max(base), 0),
           (SELECT ARRAY[r.position, r.stream, r.seq] FROM events_removed r
             WHERE r.tenant_id = $1 AND r.stream = $2)
      FROM events_restored WHERE tenant_id = $1
"""
IS_REFUSED = "SELECT refused_at IS NOT NULL FROM events_head WHERE tenant_id = $1 AND stream = 0"
SET_REFUSED = """
    UPDATE events_head SET refused_at = CASE WHEN $2 THEN now() END WHERE tenant_id = $1 AND stream = 0
"""
EPOCH = "SELECT epoch FROM events_epoch()"
WITHHELD = "SELECT withheld FROM events_epoch()"
FEED = """
    SELECT tenant_id, stream, seq, position, at, kind, body, hash FROM events_event
     WHERE tenant_id = $1 AND (position, stream, seq) > ($2, $3, $4) AND position < $5
     ORDER BY position, stream, seq LIMIT $6
"""
FEED_OF_ONE = """
    SELECT tenant_id, stream, seq, position, at, kind, body, hash FROM events_event
     WHERE tenant_id = $1 AND (position, stream, seq) > ($2, $3, $4) AND position < $5
       AND stream = $7 AND seq > $8
     ORDER BY seq LIMIT $6
"""
# Has a text of its own, and so a plan of its own: those who are limited run as another role, for which each
# statement would be planned anew, and then for everybody else again.
FEED_OF_SOME = """
    SELECT tenant_id, stream, seq, position, at, kind, body, hash FROM events_event
     WHERE tenant_id = $1 AND (position, stream, seq) > ($2, $3, $4) AND position < $5
       AND stream = ANY($7::bigint[])
     ORDER BY position, stream, seq LIMIT $6
"""
HASH = """
    SELECT hash FROM events_event WHERE tenant_id = $1 AND position = $2 AND stream = $3 AND seq = $4
"""
LAST = """
    SELECT position, stream, seq, hash FROM events_event WHERE tenant_id = $1 AND position < $2
     ORDER BY position DESC, stream DESC, seq DESC LIMIT 1
"""
# Of each stream by its own numbers: among all streams it may lie far behind what others have written since.
LAST_OF_SOME = """
    SELECT e.position, e.stream, e.seq, e.hash
      FROM unnest($3::bigint[]) AS s (stream)
     CROSS JOIN LATERAL (
           SELECT position, stream, seq, hash FROM events_event
            WHERE tenant_id = $1 AND stream = s.stream AND position < $2 ORDER BY seq DESC LIMIT 1) AS e
     ORDER BY e.position DESC, e.stream DESC, e.seq DESC LIMIT 1
"""
MIND_RESTORE = "SELECT events_mind_restore()"
HEADS = """
    SELECT stream, seq, position, hash FROM events_head
     WHERE tenant_id = $1 AND stream > $2 AND {where} ORDER BY stream LIMIT $3
"""
ROWS = """
    SELECT stream, seq, position, CASE WHEN at >= '0001-01-01' AND at < '10000-01-01' THEN at END AS at,
           kind, body, hash
      FROM events_event
     WHERE tenant_id = $1 AND (stream, seq, at) > ($2, $3, $4) AND {where}
     ORDER BY stream, seq, events_event.at LIMIT $5
"""
ONE_SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"
LOCK_SEALS = "SELECT pg_advisory_xact_lock(hashtextextended('postroom.events_seal', $1))"
NEWEST_SEAL = """
    SELECT number, body, signature FROM events_seal WHERE tenant_id = $1 ORDER BY number DESC LIMIT 1
"""
SEALS = """
    SELECT number, body, signature FROM events_seal WHERE tenant_id = $1 AND number > $2
     ORDER BY number LIMIT $3
"""
NOT_THERE = """
    SELECT s.stream, s.seq FROM unnest($2::bigint[], $3::bigint[], $4::bytea[]) AS s (stream, seq, hash)
     WHERE NOT EXISTS (SELECT FROM events_event e
                        WHERE e.tenant_id = $1 AND e.stream = s.stream AND e.seq = s.seq AND e.hash = s.hash)
     ORDER BY s.stream LIMIT 1
"""
ADD_SEAL = "INSERT INTO events_seal (tenant_id, number, body, signature) VALUES ($1, $2, $3, $4)"


async def horizon(
    conn: Connection, tenant: TenantId, stream: Stream | None = None
) -> tuple[int, Place | None]:
    """The position of the oldest transaction that is still running; and the last entry that was removed.

    What stands below the first is final: it shows in this snapshot, and so in every later one. Of what was
    removed, that of one stream, or of all.
    """
    if stream is None:
        row = await conn.fetchrow(HORIZON, tenant)
    else:
        row = await conn.fetchrow(HORIZON_OF_ONE, tenant, stream)
    assert row is not None  # an aggregate always yields a row
    return int(row[0]), tuple(row[1]) if row[1] else None


async def epoch(conn: Connection) -> str:
    """What this database's history is called; see decision 0014."""
    return str(await conn.fetchval(EPOCH))


async def withheld(conn: Connection) -> list[str]:
    """What that should tell apart, and PostgreSQL does not tell us."""
    return list(await conn.fetchval(WITHHELD))


async def feed(conn: Connection, tenant: TenantId, after: Place, below: int, limit: int) -> list[Entry]:
    """Entries of all streams behind a place and below a position, in the order of feeds."""
    return [Entry(*row) for row in await conn.fetch(FEED, tenant, *after, below, limit)]


async def feed_of_one(
    conn: Connection, tenant: TenantId, after: Place, below: int, limit: int, stream: Stream
) -> list[Entry]:
    """The same of one stream, which is the order of its numbers: what others write is not even looked at."""
    first = after[2] if after[1] == stream else 0
    rows = await conn.fetch(FEED_OF_ONE, tenant, *after, below, limit, stream, first)
    return [Entry(*row) for row in rows]


async def feed_of_some(
    conn: Connection, tenant: TenantId, after: Place, below: int, limit: int, streams: Collection[Stream]
) -> list[Entry]:
    """The same of these streams, in the order of feeds. Of who is limited to some accounts."""
    rows = await conn.fetch(FEED_OF_SOME, tenant, *after, below, limit, list(streams))
    return [Entry(*row) for row in rows]


async def hash_at(conn: Connection, tenant: TenantId, place: Place) -> bytes | None:
    """The hash of the entry at a place; None where there is none."""
    found: bytes | None = await conn.fetchval(HASH, tenant, *place)
    return found


async def last(conn: Connection, tenant: TenantId, below: int) -> tuple[Place, bytes] | None:
    """The place and the hash of the last entry below a position."""
    return _ended(await conn.fetchrow(LAST, tenant, below))


async def last_of_some(
    conn: Connection, tenant: TenantId, below: int, streams: Collection[Stream]
) -> tuple[Place, bytes] | None:
    """The same of these streams."""
    return _ended(await conn.fetchrow(LAST_OF_SOME, tenant, below, list(streams)))


def _ended(row: Record | None) -> tuple[Place, bytes] | None:
    return ((row[0], row[1], row[2]), row[3]) if row else None


async def mind_restore(conn: Connection) -> int:
    """See the migration. For an unbound transaction."""
    return int(await conn.fetchval(MIND_RESTORE))


async def one_snapshot(conn: Connection) -> None:
    """Whatever is read in this transaction from here on is of one moment. To be its first statement."""
    await conn.execute(ONE_SNAPSHOT)


async def heads(
    conn: Connection, tenant: TenantId, *, stream: Stream | None = None, page: int = 10_000
) -> AsyncIterator[Head]:
    """The heads of all streams, or of one, by stream."""
    after, more = SMALLEST, True
    while more:
        where = Where(tenant, after, page)
        where.given("stream = $?", stream)
        rows = await conn.fetch(where.into(HEADS), *where.values)
        for row in rows:
            yield Head(*row)
        more = len(rows) == page
        after = rows[-1]["stream"] if rows else after


async def rows(
    conn: Connection, tenant: TenantId, after: Row | None, *, stream: Stream | None, limit: int
) -> list[Row]:
    """Entries as they lie there, by stream, seq and time, behind another one."""
    place = (after["stream"], after["seq"], after["at"] or LATEST) if after else BEGINNING
    where = Where(tenant, *place, limit)
    where.given("stream = $?", stream)
    return list(await conn.fetch(where.into(ROWS), *where.values))


async def lock_seals(conn: Connection, tenant: TenantId) -> None:
    """Wait until nobody else seals this tenant's log; to the end of the transaction."""
    await conn.execute(LOCK_SEALS, tenant)


async def newest_seal(conn: Connection, tenant: TenantId) -> Seal | None:
    row = await conn.fetchrow(NEWEST_SEAL, tenant)
    return Seal(*row) if row else None


async def seals(conn: Connection, tenant: TenantId, *, page: int = 10) -> AsyncIterator[Seal]:
    """All seals, by number. One of ten thousand streams has a megabyte or two."""
    after, more = SMALLEST, True
    while more:
        rows = await conn.fetch(SEALS, tenant, after, page)
        for row in rows:
            yield Seal(*row)
        more = len(rows) == page
        after = rows[-1]["number"] if rows else after


async def not_there(
    conn: Connection, tenant: TenantId, ends: Mapping[int, tuple[int, bytes]]
) -> tuple[int, int] | None:
    """Stream and number of one of these entries that is not in the log under this hash."""
    numbers, hashes = [seq for seq, _ in ends.values()], [digest for _, digest in ends.values()]
    row = await conn.fetchrow(NOT_THERE, tenant, list(ends), numbers, hashes)
    return tuple(row) if row else None


async def add_seal(conn: Connection, tenant: TenantId, seal: Seal) -> None:
    async with as_system(conn):
        await conn.execute(ADD_SEAL, tenant, seal.number, seal.body, seal.signature)


async def is_refused(conn: Connection, tenant: TenantId) -> bool:
    """Whether it was told that the log is sealed no more."""
    return bool(await conn.fetchval(IS_REFUSED, tenant))


async def set_refused(conn: Connection, tenant: TenantId, *, is_refused: bool) -> None:
    """Of a tenant whose own stream has begun."""
    await conn.execute(SET_REFUSED, tenant, is_refused)
