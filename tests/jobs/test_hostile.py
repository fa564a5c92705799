"""Handlers, results and errors that mean ill, or know no better: one job suffers, and no other."""

import asyncio
import random
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from jobs.executing import A_MOMENT, LIMIT, executing, job, until, until_state, want

from postroom.db.pool import Database, open_pool
from postroom.errors import TryLater
from postroom.jobs.attempt import Attempt, Handler
from postroom.jobs.model import NotNow, State, Wish
from postroom.jobs.rules import CRASHED
from postroom.jobs.store import queue

pytestmark = pytest.mark.usefixtures("tenants")

SHORT = timedelta(seconds=0.5)


async def nothing(_attempt: Attempt) -> None: ...


def raising(error: BaseException) -> Handler:
    async def fail(_attempt: Attempt) -> None:
        raise error

    return fail


def giving(result: Mapping[str, Any]) -> Handler:
    async def give(_attempt: Attempt) -> Mapping[str, Any]:
        return result

    return give


@pytest.mark.parametrize(
    "result",
    [
        {"text": "a\0b"},
        {"a\0b": 1},
        {"text": "\ud800"},
        {"number": 1 << 70},
        {"thing": object()},
        {1: 2},
        ["no mapping"],
    ],
    ids=["NUL", "NUL in a name", "half a character", "too large", "no JSON", "number as name", "list"],
)
async def test_a_result_that_cannot_be_stored_is_a_fault_of_that_job_alone(
    db: Database, result: Mapping[str, Any]
) -> None:
    async with executing(db, give=giving(result), nothing=nothing):
        bad, good = await want(db, Wish("test.give", tries=1), Wish("test.nothing"))
        found = await until_state(db, bad, State.FAILED)
        await until_state(db, good, State.COMPLETED)
        (after,) = await want(db, Wish("test.nothing"))
        await until_state(db, after, State.COMPLETED)

    assert found.error == CRASHED


@pytest.mark.parametrize("message", ["a\0b", "\udcff", "x" * 5_000], ids=["NUL", "half", "huge"])
@pytest.mark.parametrize("tries", [1, 3])
async def test_whatever_an_error_says_can_be_told(db: Database, message: str, tries: int) -> None:
    async with executing(db, fail=raising(TryLater(message))):
        (one,) = await want(db, Wish("test.fail", tries=tries))
        found = await until(db, one, lambda now: now.failures == 1)

    assert found.error is not None
    assert found.error.message.startswith(message[0] if message[0] in "ax" else "?")
    assert len(found.error.message) <= 2000


@pytest.mark.parametrize("error", [TryLater("later", wait=timedelta.max), NotNow("x", wait=timedelta.max)])
async def test_a_wait_of_a_million_years_ends_sooner(db: Database, error: TryLater) -> None:
    async with executing(db, workers=1, fail=raising(error), nothing=nothing):
        (one,) = await want(db, Wish("test.fail"))
        found = await until(db, one, lambda now: now.attempts == 1 and now.state is State.PENDING)
        (after,) = await want(db, Wish("test.nothing"))
        await until_state(db, after, State.COMPLETED)

    assert found.run_at < found.created_at + timedelta(days=2)


async def test_a_cancellation_that_nobody_asked_for_is_a_fault(db: Database) -> None:
    async with executing(db, fail=raising(asyncio.CancelledError())):
        (one,) = await want(db, Wish("test.fail"))
        found = await until(db, one, lambda now: now.failures == 1)

    assert (found.attempts, found.error) == (1, CRASHED)


async def swallow(attempt: Attempt) -> None:
    attempt.progress(processed=1)
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        return


async def test_what_was_stopped_is_not_done_whatever_it_says(db: Database) -> None:
    async with executing(db, swallow=swallow):
        (one,) = await want(db, Wish("test.swallow"))
        await until(db, one, lambda now: now.progress.processed == 1)

    assert (await job(db, one)).state is State.PENDING


async def test_a_try_that_hides_its_time_limit_took_too_long_nevertheless(db: Database) -> None:
    async with executing(db, swallow=swallow):
        (one,) = await want(db, Wish("test.swallow", tries=1, limit=timedelta(seconds=1)))
        found = await until_state(db, one, State.FAILED)

    assert found.error is not None
    assert found.error.code == "jobs.took_too_long"


async def test_who_does_not_stop_when_asked_keeps_nobody_from_leaving(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("postroom.jobs.run.HAND_BACK", timedelta(seconds=0.2))
    may_end = asyncio.Event()

    async def deaf(_attempt: Attempt) -> None:
        while not may_end.is_set():
            try:
                await may_end.wait()
            except asyncio.CancelledError:
                continue

    async with asyncio.timeout(20):
        async with executing(db, deaf=deaf):
            (one,) = await want(db, Wish("test.deaf"))
            await until_state(db, one, State.RUNNING)
    may_end.set()
    await asyncio.sleep(0)

    assert (await job(db, one)).state is State.RUNNING  # until its lease runs out


async def test_an_executor_that_takes_its_own_lost_job_again_runs_it_and_stops_the_old_try(
    db: Database,
) -> None:
    began, stopped, may_stop = asyncio.Queue[int](), asyncio.Queue[int](), asyncio.Event()

    async def work(attempt: Attempt) -> Mapping[str, Any]:
        began.put_nowait(attempt.job.attempts)
        if attempt.job.attempts == 1:
            try:
                await asyncio.Event().wait()
            finally:
                stopped.put_nowait(attempt.job.attempts)
                await may_stop.wait()
        await may_stop.wait()
        await asyncio.sleep(0.05)
        return {"attempt": attempt.job.attempts}

    async with executing(db, work=work) as executor:
        (one,) = await want(db, Wish("test.work"))
        assert await asyncio.wait_for(began.get(), 20) == 1
        async with db.unbound() as conn:
            await queue.reap(conn, [executor.holder])
        assert await asyncio.wait_for(began.get(), 20) == 2
        assert await asyncio.wait_for(stopped.get(), 20) == 1
        may_stop.set()
        found = await until_state(db, one, State.COMPLETED)
        (after,) = await want(db, Wish("test.work"))
        may_stop.set()
        await until_state(db, after, State.RUNNING)

    assert (found.attempts, found.result) == (2, {"attempt": 2})


async def test_a_job_whose_row_is_gone_is_stopped(db: Database, dsn: str) -> None:
    stopped = asyncio.Event()

    async def forever(_attempt: Attempt) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    async with executing(db, lease=timedelta(seconds=1), forever=forever, nothing=nothing):
        (one,) = await want(db, Wish("test.forever"))
        await until_state(db, one, State.RUNNING)
        superuser = await asyncpg.connect(dsn)
        await superuser.execute("DELETE FROM postroom.jobs_job")
        await superuser.close()
        await asyncio.wait_for(stopped.wait(), 20)
        (after,) = await want(db, Wish("test.nothing"))
        await until_state(db, after, State.COMPLETED)


CUT_OFF = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
     WHERE application_name = 'postroom' AND datname = current_database()
"""
OVER = "SELECT count(*) FROM postroom.jobs_job WHERE state = 'completed'"


async def test_connections_cut_off_at_any_moment_cost_no_job(db: Database, dsn: str) -> None:
    superuser, dice = await asyncpg.connect(dsn), random.Random(1)
    made = await want(db, *(Wish("test.nothing", key=str(n % 7), tries=100) for n in range(200)))
    async with open_pool(dsn) as mortal, executing(mortal, workers=5, lease=SHORT, nothing=nothing):
        async with asyncio.timeout(LIMIT):
            for _ in range(6):
                await superuser.execute(CUT_OFF)
                await asyncio.sleep(dice.uniform(0, 1))
            while await superuser.fetchval(OVER) < len(made):  # noqa: ASYNC110
                await asyncio.sleep(A_MOMENT)
    await superuser.close()


async def test_a_full_disk_is_waited_for(db: Database, dsn: str) -> None:
    superuser = await asyncpg.connect(dsn)
    await superuser.execute(
        """
        CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql
            AS $$ BEGIN RAISE EXCEPTION USING ERRCODE = 'disk_full'; END $$;
        CREATE TRIGGER full_disk BEFORE UPDATE ON postroom.jobs_job
            FOR EACH ROW EXECUTE FUNCTION full_disk()
        """
    )
    async with executing(db, lease=timedelta(seconds=0.3), nothing=nothing):
        (one,) = await want(db, Wish("test.nothing"))
        await asyncio.sleep(1)
        await superuser.execute("DROP TRIGGER full_disk ON postroom.jobs_job")
        await until_state(db, one, State.COMPLETED)
    await superuser.close()
