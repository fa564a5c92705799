"""What a sync says that it has found is what it has stored, however often it was killed meanwhile."""

import asyncio
import sys
from asyncio.subprocess import PIPE
from datetime import timedelta

import pytest
from servers.tenants import ONE, TWO
from sync.killing import Killer
from sync.lab import assert_equal, connected
from sync.mailboxes import copied, means
from sync.working import EVERY, is_over, running, until, wanted

from postroom.db.pool import Database
from postroom.jobs import store
from postroom.jobs.attempt import Attempt
from postroom.jobs.model import Job, State
from postroom.jobs.store import queue
from postroom.lab.server import serve
from postroom.sync.ask import ACCOUNT
from postroom.sync.jobs import handlers

pytestmark = pytest.mark.usefixtures("tenants", "others")

KILLS = 2  # the third try is the last
HOUR = timedelta(hours=1)


@pytest.fixture
async def others(db: Database) -> None:
    """The tenants' first accounts lead to no server."""
    for tenant in (ONE, TWO):
        async with db.transaction(tenant) as conn:
            await conn.execute("UPDATE accounts_account SET state = 'paused'")


async def claimed(db: Database) -> Job:
    async with db.unbound() as conn:
        (job,) = await queue.claim(conn, "me", [ACCOUNT], 1, HOUR, 0)
    return job


async def test_killed_at_any_statement_a_sync_has_counted_what_it_has_stored(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync = handlers(means(db), EVERY)[ACCOUNT]
    async with serve(messages=8, folder_count=3) as server:
        account = await connected(db, server)
        one = await wanted(db, account)
        async with db.transaction(ONE) as conn:
            await conn.execute("UPDATE jobs_job SET tries = 32000")
        killer, statement, counted = Killer(monkeypatch), 0, set()
        job, killed = await claimed(db), True
        while killed:
            statement += 1
            attempt = Attempt(db, job)
            killed = await killer.until(statement, db, sync(attempt))
            async with db.transaction(ONE) as conn:
                now = await store.get_by_id(conn, ONE, one.id)
            held = len(await copied(db, account))
            assert now.progress.items_found == now.tally.get("added", 0) == held
            counted.add(held)
            if killed:
                async with db.unbound() as conn:
                    await queue.reap(conn, ["me"])
                job = await claimed(db)
        await assert_equal(db, account, server)

    assert len(counted) > 2  # it was killed between two folders, too
    assert attempt.tally["added"] == len(await copied(db, account))


@pytest.mark.slow
async def test_what_several_executors_that_were_killed_have_stored_is_counted_once(db: Database) -> None:
    async with serve(messages=3000, folder_count=1) as server:
        account = await connected(db, server)
        one = await wanted(db, account)
        for _ in range(KILLS):
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "sync.working", db.dsn), stdout=PIPE
            )
            try:
                async with db.transaction(ONE) as conn:
                    before = (await store.get_by_id(conn, ONE, one.id)).progress.items_found
                await until(db, one, lambda job, had=before: job.progress.items_found > had)  # type: ignore[misc]
            finally:
                process.kill()
                await process.wait()
        async with running(db):
            job = await until(db, one, is_over)

        assert (job.state, job.attempts, job.failures) == (State.COMPLETED, 1 + KILLS, KILLS)
        assert job.result is not None
        assert (job.progress.items_found, job.progress.processed, job.result["added"]) == (3000, 3000, 3000)
        assert len(await copied(db, account)) == 3000
