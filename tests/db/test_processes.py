import asyncio
import os
import sys
from datetime import timedelta

from postroom.db import process, processes
from postroom.db.pool import Database
from postroom.db.processes import alive, registered

LONG_AGO = "UPDATE db_process SET expires_at = now() - interval '1 day' WHERE identity = $1"
ENDS = "SELECT expires_at FROM db_process WHERE identity = $1"


async def seen(db: Database, kind: str | None = None) -> list[str]:
    async with db.unbound() as conn:
        return await alive(conn, kind)


async def test_a_process_lives_for_as_long_as_its_block(db: Database) -> None:
    async with registered(db, "executor") as one, registered(db, "watcher") as other:
        assert await seen(db) == sorted([one.identity, other.identity])
        assert await seen(db, "watcher") == [other.identity]
    assert await seen(db) == []


async def test_it_is_renewed_and_one_renewal_is_all_that_it_costs(db: Database) -> None:
    renewals = 0
    async with registered(db, "executor", ttl=timedelta(seconds=0.2)) as one:
        ends = None
        async with asyncio.timeout(10):
            while renewals < 4:
                async with db.unbound() as conn:
                    now = await conn.fetchval(ENDS, one.identity)
                renewals += now != ends
                ends = now
        assert not one.lapse.is_set()


async def test_it_is_renewed_while_every_connection_is_lent(db: Database) -> None:
    ttl = timedelta(seconds=0.2)
    async with (
        db.reserved(1) as small,
        registered(small, "executor", ttl=ttl) as one,
        small.unbound() as conn,
    ):
        ends = now = await conn.fetchval(ENDS, one.identity)
        async with asyncio.timeout(10):
            while now == ends:
                now = await conn.fetchval(ENDS, one.identity)


async def test_one_that_is_not_renewed_is_gone(db: Database) -> None:
    identity = "elsewhere 1 5 one"
    async with db.unbound() as conn:
        await conn.execute(processes.RENEW, identity, "executor", "elsewhere", processes.TTL)
    assert await seen(db) == [identity]

    async with db.unbound() as conn:
        await conn.execute(LONG_AGO, identity)

    async with asyncio.timeout(2 * processes.TTL.total_seconds()):  # the server may have started just now
        while await seen(db):
            pass


async def test_one_that_was_taken_for_dead_comes_back_and_is_told(db: Database) -> None:
    async with registered(db, "executor", ttl=timedelta(seconds=0.2)) as one:
        lapse = one.lapse
        async with db.unbound() as conn:
            await conn.execute(processes.END, one.identity)
        async with asyncio.timeout(10):
            await lapse.wait()

        assert await seen(db) == [one.identity]
        assert not one.lapse.is_set()


async def test_one_that_was_killed_here_is_seen_to_be_dead_at_once_and_swept(db: Database) -> None:
    code = "from postroom.db import process; print(process.identity(), flush=True); input()"
    other = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", code),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert other.stdout is not None
    identity = f"{(await other.stdout.readline()).decode().strip()} one"
    async with db.unbound() as conn:
        await conn.execute(processes.RENEW, identity, "executor", "here", processes.TTL)
    assert await seen(db) == [identity]

    other.kill()
    await other.wait()

    assert await seen(db) == []
    async with registered(db, "executor"), db.unbound() as conn:
        assert await conn.fetchval(ENDS, identity) is None


async def test_two_in_one_process_are_two(db: Database) -> None:
    async with registered(db, "executor") as one:
        async with registered(db, "executor") as other:
            assert one.identity != other.identity
        assert await seen(db) == [one.identity]
    assert one.identity.startswith(process.identity())
