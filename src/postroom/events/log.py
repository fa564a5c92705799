"""Append to the log, in the transaction of what happened; read a stream back.

Numbers are allocated on the stream's head row, which stays locked until the commit: a stream is dense and in
commit order, and only writers of the same account wait for each other.

An entry's position is its transaction's number, but never less than the position before it in its stream: of
two writers, the one whose transaction began later may come first. That is safe for `feed`, because the number
that is borrowed is that of a transaction which has committed.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

import orjson
from asyncpg import Connection

from postroom.db.pool import hint
from postroom.ids import TenantId

from .chain import link, moment, origin
from .kinds import checked
from .model import APPENDED, Entry, Event, Stream

ALLOCATE = """
    INSERT INTO events_head AS head (tenant_id, stream, seq, hash, position)
    SELECT $1, $2, $3, $4, pg_current_xact_id()::text::bigint
         + coalesce((SELECT max(base) FROM events_restored WHERE tenant_id = $1), 0)
    ON CONFLICT (tenant_id, stream)
    DO UPDATE SET seq = head.seq + $3, position = greatest(head.position, excluded.position)
    RETURNING seq, hash, position
"""
WRITE = """
    WITH advanced AS (UPDATE events_head SET hash = $8 WHERE tenant_id = $1 AND stream = $2)
    INSERT INTO events_event (tenant_id, stream, position, at, seq, kind, body, hash)
    SELECT $1, $2, $3, $4, e.seq, e.kind, e.body, e.hash
      FROM unnest($5::bigint[], $6::text[], $7::text[], $9::bytea[]) AS e (seq, kind, body, hash)
"""
READ = """
    SELECT tenant_id, stream, seq, position, at, kind, body, hash FROM events_event
     WHERE tenant_id = $1 AND stream = $2 AND seq > $3
     ORDER BY seq LIMIT $4
"""


async def append(conn: Connection, tenant: TenantId, stream: Stream, events: Sequence[Event]) -> int | None:
    """Record `events` in the caller's transaction; return the last number given, None for none.

    Do it late in the transaction: the stream's other writers wait from here to the commit. The hint
    `APPENDED` is told after that. Raises `ValueError` for a kind or payload that `kinds` does not know.
    """
    if not events:
        return None
    bodies = [orjson.dumps(checked(event), option=orjson.OPT_SORT_KEYS).decode() for event in events]
    head = await conn.fetchrow(ALLOCATE, tenant, stream, len(events), origin(tenant, stream))
    assert head is not None  # RETURNING after an upsert always yields a row
    last, previous, position = head
    numbers = range(last - len(events) + 1, last + 1)
    now = datetime.now(UTC)
    at = moment(now)
    hashes = []
    for seq, event, body in zip(numbers, events, bodies, strict=True):
        previous = link(previous, seq, position, at, event.kind, body)
        hashes.append(previous)
    kinds = [event.kind for event in events]
    await conn.execute(WRITE, tenant, stream, position, now, numbers, kinds, bodies, previous, hashes)
    hint(conn, APPENDED, str(tenant))
    return int(last)


async def read(
    conn: Connection, tenant: TenantId, stream: Stream, *, after: int = 0, limit: int = 1000
) -> list[Entry]:
    """Entries of one stream in order, from the number after `after`."""
    return [Entry(*row) for row in await conn.fetch(READ, tenant, stream, after, limit)]
