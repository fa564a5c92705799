"""How far readers have come: rows of `events_consumer`."""

from asyncpg import Connection, Record

from postroom.events.model import Consumer
from postroom.ids import TenantId

SET = """
    INSERT INTO events_consumer (tenant_id, name, cursor) VALUES ($1, $2, $3)
    ON CONFLICT (tenant_id, name) DO UPDATE SET cursor = excluded.cursor, moved_at = now()
    RETURNING name, cursor, created_at, moved_at
"""
BEGIN = """
    INSERT INTO events_consumer AS c (tenant_id, name, cursor) VALUES ($1, $2, $3)
    ON CONFLICT (tenant_id, name) DO UPDATE SET cursor = excluded.cursor, moved_at = now()
     WHERE c.cursor = $4
    RETURNING name, cursor, created_at, moved_at
"""
MOVE = """
    UPDATE events_consumer SET cursor = $3, moved_at = now()
     WHERE tenant_id = $1 AND name = $2 AND cursor = $4
    RETURNING name, cursor, created_at, moved_at
"""
FIND = "SELECT name, cursor, created_at, moved_at FROM events_consumer WHERE tenant_id = $1 AND name = $2"
ALL = "SELECT name, cursor, created_at, moved_at FROM events_consumer WHERE tenant_id = $1 ORDER BY name"
REMOVE = "DELETE FROM events_consumer WHERE tenant_id = $1 AND name = $2 RETURNING true"


async def put(conn: Connection, tenant: TenantId, name: str, cursor: str) -> Consumer:
    """Let it stand there, wherever it stood."""
    found = _consumer(await conn.fetchrow(SET, tenant, name, cursor))
    assert found is not None  # RETURNING after an upsert always yields a row
    return found


async def begin(
    conn: Connection, tenant: TenantId, name: str, cursor: str, beginning: str
) -> Consumer | None:
    """The same if there is none yet, or it stands at the beginning; else None."""
    return _consumer(await conn.fetchrow(BEGIN, tenant, name, cursor, beginning))


async def move(conn: Connection, tenant: TenantId, name: str, cursor: str, before: str) -> Consumer | None:
    """The same if it stands at `before`; else None. Of two who try, one does."""
    return _consumer(await conn.fetchrow(MOVE, tenant, name, cursor, before))


async def find(conn: Connection, tenant: TenantId, name: str) -> Consumer | None:
    return _consumer(await conn.fetchrow(FIND, tenant, name))


async def every(conn: Connection, tenant: TenantId) -> list[Consumer]:
    """By name."""
    return [Consumer(*row) for row in await conn.fetch(ALL, tenant)]


async def remove(conn: Connection, tenant: TenantId, name: str) -> bool:
    """Whether there was one."""
    return bool(await conn.fetchval(REMOVE, tenant, name))


def _consumer(row: Record | None) -> Consumer | None:
    return Consumer(*row) if row else None
