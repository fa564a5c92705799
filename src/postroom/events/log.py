"""Append to the log, in the transaction of what happened; read a stream back.

Numbers are allocated on the stream's head row, which stays locked until the commit: a stream is dense and in
commit order, and only writers of the same account wait for each other.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

import orjson
from asyncpg import Connection

from postroom.ids import TenantId

from .chain import ORIGIN, link
from .model import Entry, Event, Stream

ALLOCATE = """
    INSERT INTO events_head (tenant_id, stream, seq, hash) VALUES ($1, $2, $3, $4)
    ON CONFLICT (tenant_id, stream) DO UPDATE SET seq = events_head.seq + $3
    RETURNING seq, hash
"""
WRITE = """
    WITH advanced AS (UPDATE events_head SET hash = $8 WHERE tenant_id = $1 AND stream = $2)
    INSERT INTO events_event (tenant_id, stream, seq, at, kind, body, hash)
    SELECT $1, $2, e.seq, $3, e.kind, e.body, e.hash
      FROM unnest($4::bigint[], $5::text[], $6::text[], $7::bytea[]) AS e (seq, kind, body, hash)
"""
READ = """
    SELECT stream, seq, at, kind, body, hash FROM events_event
     WHERE tenant_id = $1 AND stream = $2 AND seq > $3
     ORDER BY seq LIMIT $4
"""


async def append(conn: Connection, tenant: TenantId, stream: Stream, events: Sequence[Event]) -> int | None:
    """Record `events` in the caller's transaction; return the last number given, None for none.

    Do it late in the transaction: the stream's other writers wait from here to the commit.
    """
    if not events:
        return None
    head = await conn.fetchrow(ALLOCATE, tenant, stream, len(events), ORIGIN)
    assert head is not None  # RETURNING after an upsert always yields a row
    previous = head["hash"]
    now = datetime.now(UTC)
    rows = []
    for seq, event in enumerate(events, head["seq"] - len(events) + 1):
        body = orjson.dumps(event.data, option=orjson.OPT_SORT_KEYS).decode()
        previous = link(previous, seq, now, event.kind, body)
        rows.append((seq, event.kind, body, previous))
    await conn.execute(WRITE, tenant, stream, now, *zip(*rows, strict=True), previous)
    return int(head["seq"])


async def read(
    conn: Connection, tenant: TenantId, stream: Stream, *, after: int = 0, limit: int = 1000
) -> list[Entry]:
    """Entries of one stream in order, from the number after `after`."""
    return [Entry(*row) for row in await conn.fetch(READ, tenant, stream, after, limit)]
