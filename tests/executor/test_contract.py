"""What every way to run jobs promises: postroom's own executor, and Celery's workers with a real Redis."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta

import pytest
from executor.celery_app import opening
from executor.runners import Runners, running
from servers.tenants import ONE

from postroom.db.listen import open_hints
from postroom.db.pool import Database, open_pool
from postroom.executor.tasks import Messages, make_app
from postroom.jobs import store
from postroom.jobs.model import Enqueued, Job, JobEvent, State, Wish
from postroom.jobs.store.published import Address

PATIENCE = 20  # seconds


@pytest.fixture(scope="module", params=["plain", "celery"])
def runners(
    request: pytest.FixtureRequest, postgres: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Runners]:
    redis = request.getfixturevalue("redis") if request.param == "celery" else None
    with running(postgres, tmp_path_factory.mktemp(request.param), redis) as found:
        yield found


@pytest.fixture
async def db(runners: Runners) -> AsyncIterator[Database]:
    async with open_pool(runners.dsn) as database, open_hints(database):
        yield database


@pytest.fixture
def messages(runners: Runners) -> Messages:
    if runners.redis is None:
        pytest.skip("there are no messages")
    return Messages(make_app(runners.redis.url, opening))


async def want(db: Database, *wishes: Wish) -> list[Enqueued]:
    async with db.transaction(ONE) as conn:
        return await store.enqueue(conn, ONE, wishes)


async def job(db: Database, one: Enqueued) -> Job:
    async with db.transaction(ONE) as conn:
        return await store.get_by_id(conn, ONE, one.id)


async def until(db: Database, one: Enqueued, is_so: Callable[[Job], bool]) -> Job:
    async with asyncio.timeout(PATIENCE):
        while not is_so(found := await job(db, one)):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return found


async def until_state(db: Database, one: Enqueued, state: State) -> Job:
    return await until(db, one, lambda found: found.state is state)


async def until_it_hangs(db: Database, one: Enqueued) -> Job:
    return await until(db, one, lambda found: found.progress.processed == 3)


async def until_waiting(messages: Messages, *, is_empty: bool) -> None:
    async with asyncio.timeout(PATIENCE):
        while (await asyncio.to_thread(messages.waiting) == 0) is not is_empty:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def cancel(db: Database, one: Enqueued) -> None:
    async with db.transaction(ONE) as conn:
        await store.cancel(conn, ONE, one.public_id)


async def said(db: Database, one: Enqueued) -> list[JobEvent]:
    async with db.transaction(ONE) as conn:
        return await store.events(conn, ONE, one.id)


async def test_a_job_is_run_and_its_result_kept(db: Database) -> None:
    (one,) = await want(db, Wish("test.double", {"number": 21}))
    found = await until_state(db, one, State.COMPLETED)

    assert (found.result, found.attempts, found.failures) == ({"twice": 42}, 1, 0)


async def test_progress_shows_while_it_runs_and_a_cancelled_job_stops(db: Database) -> None:
    (one,) = await want(db, Wish("test.hold"))
    found = await until_it_hangs(db, one)
    assert (found.state, found.progress.total_estimate, found.progress.items_found) == (State.RUNNING, 10, 1)

    await cancel(db, one)
    found = await until_state(db, one, State.CANCELLED)
    assert found.attempts == 1


async def test_what_may_work_later_is_tried_again_and_is_dead_in_the_end(db: Database) -> None:
    wish = Wish("test.break", dedupe="break")
    (one,) = await want(db, wish)
    for failures in (1, 2):
        found = await until(db, one, lambda now, n=failures: now.failures == n)  # type: ignore[misc]
        assert found.state is State.PENDING
        assert found.run_at - found.created_at > timedelta(seconds=55) * failures
        assert (await want(db, wish))[0].is_merged  # which pulls it forward
    found = await until_state(db, one, State.FAILED)

    assert found.error is not None
    assert (found.attempts, found.error.code) == (3, "postroom.broken")


async def test_what_only_its_owner_can_mend_is_not_tried_again(db: Database) -> None:
    (one,) = await want(db, Wish("test.owner"))
    found = await until_state(db, one, State.FAILED)

    assert found.error is not None
    assert (found.error.code, found.attempts) == ("postroom.needs_owner", 1)


async def test_a_try_may_take_only_so_long(db: Database) -> None:
    (one,) = await want(db, Wish("test.hold", limit=timedelta(seconds=1), tries=1))
    found = await until_state(db, one, State.FAILED)

    assert found.error is not None
    assert found.error.code == "jobs.took_too_long"


async def test_of_one_key_one_runs_at_a_time(db: Database) -> None:
    made = await want(db, *(Wish("test.turn", key="turn") for _ in range(12)))
    for one in made:
        await until_state(db, one, State.COMPLETED)

    events = sorted([event for one in made for event in await said(db, one)], key=lambda event: event.id)
    assert [event.message for event in events] == ["begins", "ends"] * 12


async def test_a_job_whose_process_is_killed_is_taken_over_and_ends_once(
    db: Database, runners: Runners
) -> None:
    (one,) = await want(db, Wish("test.once"))
    found = await until_it_hangs(db, one)
    assert found.holder is not None
    runners.kill(int(found.holder.split(" ")[1]))

    found = await until_state(db, one, State.COMPLETED)
    assert (found.attempts, found.failures) == (2, 1)
    assert [event.message for event in await said(db, one)].count("ran") == 2


async def test_a_process_that_is_stopped_hands_back_what_it_runs(db: Database, runners: Runners) -> None:
    another = runners.start()
    made = await want(db, *(Wish("test.hold") for _ in range(runners.slots)))
    for one in made:
        await until_it_hangs(db, one)
    another.terminate()
    await asyncio.to_thread(another.wait, PATIENCE)

    found = [await job(db, one) for one in made]
    assert [now.failures for now in found if now.state is State.PENDING] == [0, 0]
    for one in made:
        await cancel(db, one)
        await until_state(db, one, State.CANCELLED)


async def test_a_job_whose_message_redis_lost_is_done_nevertheless(
    db: Database, runners: Runners, messages: Messages
) -> None:
    """All hands are busy, so that the message waits in Redis until everything there is gone."""
    assert runners.redis is not None
    holding = await want(db, Wish("test.hold"), Wish("test.hold"))
    for one in holding:
        await until_it_hangs(db, one)
    (lost,) = await want(db, Wish("test.double", {"number": 1}))
    await until_waiting(messages, is_empty=False)

    assert runners.redis.ask("FLUSHALL") == b"+OK\r\n"
    for one in holding:
        await cancel(db, one)

    found = await until_state(db, lost, State.COMPLETED)
    assert found.attempts == 1


async def test_a_message_that_comes_often_does_nothing_more(db: Database, messages: Messages) -> None:
    (one,) = await want(db, Wish("test.turn"))
    await asyncio.to_thread(messages.send, [Address(ONE, one.id)] * 5)
    await until_state(db, one, State.COMPLETED)
    await until_waiting(messages, is_empty=True)
    (last,) = await want(db, Wish("test.turn"))
    found = await until_state(db, last, State.COMPLETED)

    assert found.attempts == 1
    assert [event.message for event in await said(db, one)] == ["begins", "ends"]
