"""An executor holds its jobs and records their ends whatever their handlers do with the pool."""

import asyncio
from datetime import timedelta

import asyncpg
import pytest
from jobs.executing import LIMIT, executing, job, until, until_state, want
from servers.tenants import ONE

from postroom.db.pool import Database, open_pool
from postroom.jobs.attempt import Attempt
from postroom.jobs.model import State, Wish
from postroom.jobs.run import RESERVED

pytestmark = pytest.mark.usefixtures("tenants")

LEASE = timedelta(seconds=0.6)
LEASES_PASSED = "SELECT clock_timestamp() - max(started_at) > 4 * $1::interval FROM postroom.jobs_job"
CONNECTIONS = """
    SELECT count(*) FROM pg_stat_activity
     WHERE application_name = 'postroom' AND datname = current_database()
"""


async def nothing(_attempt: Attempt) -> None: ...


async def test_handlers_that_hold_every_connection_for_leases_on_end_keep_their_jobs(
    db: Database, dsn: str
) -> None:
    places, may_go = 2, asyncio.Event()
    superuser = await asyncpg.connect(dsn)

    async def hold(attempt: Attempt) -> None:
        async with attempt.db.transaction(ONE):
            await may_go.wait()

    async with (
        open_pool(dsn, size=places) as small,
        executing(small, workers=places + 1, lease=LEASE, hold=hold, nothing=nothing),
    ):
        holding = await want(db, *(Wish("test.hold", tries=1) for _ in range(places)))
        for one in holding:
            await until_state(db, one, State.RUNNING)
        (other,) = await want(db, Wish("test.nothing"))
        await until_state(db, other, State.COMPLETED)
        async with asyncio.timeout(LIMIT):
            while not await superuser.fetchval(LEASES_PASSED, LEASE):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert [(await job(db, one)).state for one in holding] == [State.RUNNING] * places
        may_go.set()
        ended = [await until_state(db, one, State.COMPLETED) for one in holding]
    await superuser.close()

    assert [(one.attempts, one.failures) for one in ended] == [(1, 0)] * places


async def test_an_executor_opens_no_more_connections_than_it_says_and_leaves_none(
    db: Database, dsn: str
) -> None:
    superuser = await asyncpg.connect(dsn)
    async with db.unbound():
        before = await superuser.fetchval(CONNECTIONS)
    async with open_pool(dsn, size=1) as small:
        async with executing(small, workers=5, nothing=nothing):
            made = await want(db, *(Wish("test.nothing", key=str(number)) for number in range(50)))
            for one in made:
                await until(db, one, lambda found: found.state is State.COMPLETED)
            most = await superuser.fetchval(CONNECTIONS)
        async with asyncio.timeout(LIMIT):
            while await superuser.fetchval(CONNECTIONS) > before + 1:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    await superuser.close()

    assert most <= before + 1 + 1 + RESERVED  # the pool, the one that hears hints, and its own
