"""Jobs are run, retried, cancelled, taken over and handed back."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from servers.tenants import ONE

from postroom.db.listen import open_hints
from postroom.db.pool import Database
from postroom.errors import Broken, NeedsOwner, TryLater
from postroom.events import log
from postroom.events.model import TENANT
from postroom.jobs import store
from postroom.jobs.attempt import Attempt, Handler
from postroom.jobs.model import Enqueued, Job, JobLost, NotNow, State, Wish
from postroom.jobs.run import Executor

pytestmark = pytest.mark.usefixtures("tenants")

NOW = timedelta(0)


@asynccontextmanager
async def executing(
    db: Database, patience: timedelta = NOW, workers: int = 3, **handlers: Handler
) -> AsyncIterator[Executor]:
    async with open_hints(db) as hints:
        known = {f"test.{name}": handler for name, handler in handlers.items()}
        executor = Executor(db, hints, known, workers=workers)
        async with executor.working(patience):
            yield executor


async def want(db: Database, *wishes: Wish) -> list[Enqueued]:
    async with db.transaction(ONE) as conn:
        return await store.enqueue(conn, ONE, wishes)


async def job(db: Database, one: Enqueued) -> Job:
    async with db.transaction(ONE) as conn:
        return await store.get_by_id(conn, ONE, one.id)


async def until(db: Database, one: Enqueued, is_so: Callable[[Job], bool]) -> Job:
    async with asyncio.timeout(20):
        while not is_so(found := await job(db, one)):  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    return found


async def until_state(db: Database, one: Enqueued, state: State) -> Job:
    return await until(db, one, lambda found: found.state is state)


async def double(attempt: Attempt) -> Mapping[str, Any]:
    return {"twice": 2 * attempt.job.args["number"]}


async def forever(attempt: Attempt) -> None:
    attempt.progress(processed=3, total_estimate=10)
    await asyncio.Event().wait()


def raising(error: Exception) -> Handler:
    async def fail(_attempt: Attempt) -> None:
        raise error

    return fail


async def test_a_job_is_run_and_its_result_kept(db: Database) -> None:
    async with executing(db, double=double):
        (one,) = await want(db, Wish("test.double", {"number": 21}))
        found = await until_state(db, one, State.COMPLETED)

    assert (found.result, found.attempts, found.failures) == ({"twice": 42}, 1, 0)
    assert found.started_at is not None
    assert found.finished_at is not None


async def test_progress_is_written_and_never_gets_smaller(db: Database) -> None:
    async def count(attempt: Attempt) -> None:
        attempt.progress(processed=7, total_estimate=9, items_found=2)
        await attempt.flush()
        attempt.progress(processed=1)

    async with executing(db, count=count):
        (one,) = await want(db, Wish("test.count"))
        found = await until_state(db, one, State.COMPLETED)

    assert (found.progress.processed, found.progress.total_estimate, found.progress.items_found) == (7, 9, 2)


@pytest.mark.parametrize(
    "error", [TryLater("later"), Broken("broken"), RuntimeError("a bug"), TimeoutError()]
)
async def test_what_may_work_later_waits_twice_as_long_each_time_and_fails_in_the_end(
    db: Database, error: Exception
) -> None:
    async with executing(db, fail=raising(error)):
        (one,) = await want(db, Wish("test.fail", dedupe="x"))
        for failures in (1, 2):
            found = await until(db, one, lambda now, n=failures: now.failures == n)  # type: ignore[misc]
            assert found.state is State.PENDING
            wait = (found.run_at - datetime.now(UTC)).total_seconds()
            assert 60 * 2 ** (failures - 1) - 5 < wait < 67 * 2 ** (failures - 1)
            assert (await want(db, Wish("test.fail", dedupe="x")))[0].is_merged
        found = await until_state(db, one, State.FAILED)

    assert found.error is not None
    assert found.attempts == 3


async def test_what_only_its_owner_can_mend_is_not_tried_again(db: Database) -> None:
    async with executing(db, fail=raising(NeedsOwner("a new password"))):
        (one,) = await want(db, Wish("test.fail"))
        found = await until_state(db, one, State.FAILED)

    assert found.error is not None
    assert (found.error.code, found.attempts) == ("postroom.needs_owner", 1)


async def test_what_stands_in_the_way_is_no_failure(db: Database) -> None:
    async with executing(db, fail=raising(NotNow("not now", wait=timedelta(milliseconds=20)))):
        (one,) = await want(db, Wish("test.fail"))
        found = await until(db, one, lambda now: now.attempts > 3)

    assert found.failures == 0


async def test_a_cancelled_job_stops_at_once(db: Database) -> None:
    async with executing(db, forever=forever):
        (one,) = await want(db, Wish("test.forever"))
        await until(db, one, lambda now: now.progress.processed == 3)
        async with db.transaction(ONE) as conn:
            await store.cancel(conn, ONE, one.public_id)
        found = await until_state(db, one, State.CANCELLED)

    assert found.finished_at is not None


async def test_whoever_leaves_hands_back_what_runs(db: Database) -> None:
    async with executing(db, forever=forever):
        (one,) = await want(db, Wish("test.forever"))
        await until_state(db, one, State.RUNNING)

    found = await job(db, one)
    assert (found.state, found.failures) == (State.PENDING, 0)


async def test_whoever_leaves_lets_end_what_ends_soon(db: Database) -> None:
    may_end = asyncio.Event()

    async def waiting(_attempt: Attempt) -> None:
        await may_end.wait()

    async with executing(db, patience=timedelta(seconds=20), waiting=waiting):
        (one,) = await want(db, Wish("test.waiting"))
        await until_state(db, one, State.RUNNING)
        asyncio.get_running_loop().call_later(0.05, may_end.set)

    assert (await job(db, one)).state is State.COMPLETED


async def test_whoever_leaves_in_a_full_queue_takes_no_more_and_keeps_nothing(db: Database) -> None:
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def waiting(_attempt: Attempt) -> None:
        begun.set()
        await may_end.wait()

    async with executing(db, patience=timedelta(seconds=20), workers=4, waiting=waiting) as executor:
        await want(db, *(Wish("test.waiting") for _ in range(30)))
        await begun.wait()
        asyncio.get_running_loop().call_later(0.3, may_end.set)

    assert executor._running == {}
    async with db.transaction(ONE) as conn:
        states = [one.state for one in await store.page(conn, ONE, limit=100)]
    assert State.RUNNING not in states
    assert states.count(State.COMPLETED) <= 8


async def test_a_try_may_take_only_so_long(db: Database) -> None:
    async with executing(db, forever=forever):
        (one,) = await want(db, Wish("test.forever", limit=timedelta(seconds=1), tries=1))
        found = await until_state(db, one, State.FAILED)

    assert found.error is not None
    assert found.error.code == "jobs.took_too_long"


async def test_a_job_whose_executor_is_gone_is_another_ones(db: Database) -> None:
    gone = "this machine 1 1"
    (one,) = await want(db, Wish("test.double", {"number": 1}))
    async with db.unbound() as conn:
        await store.queue.claim(conn, gone, ["test.double"], 1, timedelta(seconds=0), 0)

    async with executing(db, double=double):
        found = await until_state(db, one, State.COMPLETED)

    assert (found.attempts, found.failures) == (2, 1)


async def test_what_was_taken_over_stops_and_records_nothing(db: Database) -> None:
    stopped = asyncio.Event()

    async def work(_attempt: Attempt) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    async with open_hints(db) as hints:
        executor = Executor(db, hints, {"test.work": work}, lease=timedelta(seconds=0.6))
        async with executor.working(NOW):
            (one,) = await want(db, Wish("test.work"))
            await until_state(db, one, State.RUNNING)
            async with db.unbound() as conn:
                await store.queue.reap(conn, [executor.holder])
                (taken,) = await store.queue.claim(conn, "another", ["test.work"], 1, timedelta(minutes=1), 0)
            await asyncio.wait_for(stopped.wait(), 20)
            await asyncio.sleep(0.1)
            found = await job(db, one)

    assert (found.holder, found.attempts) == ("another", taken.attempts)


async def test_what_failed_for_good_is_told_once(db: Database) -> None:
    async with executing(db, fail=raising(NeedsOwner("a new password"))):
        (one,) = await want(db, Wish("test.fail"))
        await until_state(db, one, State.FAILED)

    async with db.transaction(ONE) as conn:
        (entry,) = [e for e in await log.read(conn, ONE, TENANT) if e.kind == "jobs.failed"]
    assert orjson.loads(entry.body)["job"] == str(one.public_id)


async def test_a_job_that_no_executor_survives_fails_and_is_told(db: Database) -> None:
    (one,) = await want(db, Wish("test.poison", tries=2, is_kept=False))
    for _ in range(2):
        async with db.unbound() as conn:
            await store.queue.claim(conn, "this machine 1 1", ["test.poison"], 1, timedelta(0), 0)
            await store.queue.reap(conn, [])

    async with executing(db, other=double):
        found = await until_state(db, one, State.FAILED)

    assert found.error is not None
    assert (found.error.code, found.failures) == ("jobs.executor_lost", 2)


async def test_an_effect_and_its_jobs_end_are_one(db: Database) -> None:
    async def effect(attempt: Attempt) -> None:
        async with db.transaction(ONE) as conn:
            await store.enqueue(conn, ONE, [Wish("test.effect of one", dedupe="effect")])
            await attempt.complete(conn, {"done": True})
        raise RuntimeError("after its end nothing matters any more")

    async with executing(db, effect=effect):
        (one,) = await want(db, Wish("test.effect"))
        found = await until_state(db, one, State.COMPLETED)
        await asyncio.sleep(0.05)

    assert (found.result, (await job(db, one)).state) == ({"done": True}, State.COMPLETED)


async def test_what_is_over_completes_nothing(db: Database) -> None:
    (one,) = await want(db, Wish("test.a"))
    async with db.unbound() as conn:
        (mine,) = await store.queue.claim(conn, "me", ["test.a"], 1, timedelta(0), 0)
        await store.queue.reap(conn, [])

    with pytest.raises(JobLost):
        async with db.transaction(ONE) as conn:
            await Attempt(db, mine).complete(conn)
    with pytest.raises(JobLost):
        await Attempt(db, mine).say("hello")
    assert (await job(db, one)).state is State.PENDING
