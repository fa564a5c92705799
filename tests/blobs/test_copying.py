"""COPY when the server goes away in the middle."""

import asyncio
import gc
from collections.abc import Iterator

import asyncpg
import pytest

from postroom.blobs.copying import copy_rows

TABLE = """
    CREATE TABLE pages (data bytea);
    CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NEW; END
    $$;
    CREATE TRIGGER stop BEFORE INSERT ON pages FOR EACH ROW EXECUTE FUNCTION stop();
"""
WAITS = "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = $1"


async def test_a_connection_that_is_lost_while_the_server_does_not_read_ends_a_copy(empty_dsn: str) -> None:
    conn, other = await asyncpg.connect(empty_dsn), await asyncpg.connect(empty_dsn)
    given = 0
    unheard: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unheard.append(context))

    def rows() -> Iterator[tuple[bytes]]:
        nonlocal given
        for _ in range(200):
            given += 1
            yield (bytes(1 << 20),)

    await conn.execute(TABLE)
    pid = conn.get_server_pid()
    async with other.transaction():
        await other.execute("SELECT pg_advisory_xact_lock(1)")
        copying = asyncio.create_task(copy_rows(conn, "pages", ["data"], rows()))
        before = -1
        while before != given or not await other.fetchval(WAITS, pid):
            before = given
            await other.execute("SELECT pg_sleep(0.05)")
        await other.execute("SELECT pg_terminate_backend($1)", pid)
        with pytest.raises(asyncpg.ConnectionDoesNotExistError):
            async with asyncio.timeout(20):
                await copying

    del copying
    gc.collect()
    assert 0 < given < 200
    assert unheard == []
    await other.close()
