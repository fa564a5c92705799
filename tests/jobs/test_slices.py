"""Who has had a worker for long gives way to who has none, and goes on later where it stopped."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from jobs.executing import LIMIT, NOW, claim, executing, job, until, until_state, want
from servers.tenants import ONE, TWO

from postroom.db.pool import Database
from postroom.ids import TenantId
from postroom.jobs import store
from postroom.jobs.attempt import Attempt, Resumes
from postroom.jobs.model import Enqueued, JobId, JobLost, Progress, State, Wish
from postroom.jobs.slices import Ran, Waiting, gives_way, over
from postroom.jobs.store import queue

pytestmark = pytest.mark.usefixtures("tenants")

OFTEN = timedelta(milliseconds=10)  # between two looks
STEPS = 40


class Gate:
    """Jobs that go on when they are let, and remember who runs."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.tries: list[Attempt] = []

    async def wait(self, attempt: Attempt) -> None:
        self.tries.append(attempt)
        await self.open.wait()

    def displaced(self) -> int:
        """How often somebody had to begin again."""
        return len(self.tries) - len({attempt.job.id for attempt in self.tries})


async def quick(_attempt: Attempt) -> None: ...


async def stepwise(attempt: Attempt) -> None:
    """Each step is an event, in the transaction that tells how far it is. Lasts until it gave way twice."""
    for number in range(attempt.job.progress.processed, STEPS):
        if number >= 10 * (attempt.job.gave_way + 1) and attempt.job.gave_way < 2:
            await asyncio.Event().wait()
        async with attempt.db.transaction(attempt.job.tenant_id) as conn:
            await attempt.fence(conn)
            await store.say(conn, attempt.job, "step", data={"number": number})
            await store.progress(conn, attempt.job, Progress(number + 1))


async def running(db: Database, jobs: list[Enqueued], tenant: TenantId = ONE) -> None:
    for one in jobs:
        await until_state(db, one, State.RUNNING, tenant)


async def events(db: Database, one: Enqueued, tenant: TenantId = ONE) -> list[str]:
    async with db.transaction(tenant) as conn:
        return [event.message for event in await store.events(conn, tenant, one.id)]


async def gave_way(db: Database, jobs: list[Enqueued]) -> list[int]:
    return [(await job(db, one)).gave_way for one in jobs]


@pytest.mark.parametrize("workers", [1, 3])
async def test_anothers_job_has_a_worker_after_a_slice_and_who_gave_way_comes_through(
    db: Database, workers: int
) -> None:
    gate = Gate()
    async with executing(db, workers=workers, slice=OFTEN, waits=OFTEN, long=Resumes(gate.wait), quick=quick):
        longs = await want(db, *(Wish("test.long", key=str(n), tries=1) for n in range(workers)))
        await running(db, longs)
        (one,) = await want(db, Wish("test.quick"), tenant=TWO)
        await until_state(db, one, State.COMPLETED, TWO)
        await running(db, longs)
        gate.open.set()
        ended = [await until_state(db, long, State.COMPLETED) for long in longs]

    assert sorted(await gave_way(db, longs)) == [0] * (workers - 1) + [1]
    assert gate.displaced() == 1
    for found, long in zip(ended, longs, strict=True):
        assert (found.attempts, found.failures, found.error) == (1 + found.gave_way, 0, None)
        assert await events(db, long) == ["gave way to others"] * found.gave_way


async def test_what_comes_due_while_all_are_busy_waits_no_longer(db: Database) -> None:
    gate = Gate()
    async with executing(db, workers=1, slice=NOW, waits=OFTEN, long=Resumes(gate.wait), quick=quick):
        await running(db, await want(db, Wish("test.long")))
        soon = datetime.now(UTC) + OFTEN
        (one,) = await want(db, Wish("test.quick", run_at=soon), tenant=TWO)
        await until_state(db, one, State.COMPLETED, TWO)


async def test_nobody_gives_way_to_its_own_tenants_jobs_unless_they_are_more_urgent(db: Database) -> None:
    gate = Gate()
    async with executing(db, workers=2, slice=NOW, waits=OFTEN, long=Resumes(gate.wait), quick=quick):
        longs = await want(db, Wish("test.long"), Wish("test.long", priority=5))
        await running(db, longs)
        others = await want(db, *(Wish("test.long") for _ in range(3)))
        (urgent,) = await want(db, Wish("test.quick", priority=1))
        await until_state(db, urgent, State.COMPLETED)
        await running(db, longs[:1])
        assert await gave_way(db, [*longs, *others]) == [1, 0, 0, 0, 0]
        gate.open.set()
        for one in [*longs, *others]:
            await until_state(db, one, State.COMPLETED)

    assert gate.displaced() == 1


async def test_who_cannot_go_on_where_it_stopped_is_never_stopped(db: Database) -> None:
    gate, plain = Gate(), Gate()
    async with executing(
        db, workers=2, slice=NOW, waits=OFTEN, plain=plain.wait, long=Resumes(gate.wait), quick=quick
    ):
        longer = await want(db, Wish("test.plain"))
        await running(db, longer)
        longs = await want(db, Wish("test.long"))
        await running(db, longs)
        (one,) = await want(db, Wish("test.quick"), tenant=TWO)
        await until_state(db, one, State.COMPLETED, TWO)
        await running(db, longs)

    assert (len(plain.tries), len(gate.tries)) == (1, 2)


async def test_two_who_share_one_worker_both_come_through_and_do_nothing_twice(db: Database) -> None:
    slices = timedelta(milliseconds=20)
    async with executing(db, workers=1, slice=slices, waits=OFTEN, steps=Resumes(stepwise)):
        (mine,) = await want(db, Wish("test.steps", tries=1))
        (theirs,) = await want(db, Wish("test.steps", tries=1), tenant=TWO)
        ended = [
            await until_state(db, mine, State.COMPLETED),
            await until_state(db, theirs, State.COMPLETED, TWO),
        ]

    assert all(one.gave_way >= 2 for one in ended)
    for one, found, tenant in zip((mine, theirs), ended, (ONE, TWO), strict=True):
        async with db.transaction(tenant) as conn:
            told = await store.events(conn, tenant, one.id)
        assert [event.data["number"] for event in told if event.message == "step"] == list(range(STEPS))
        assert (found.attempts, found.failures) == (1 + found.gave_way, 0)


async def test_the_try_that_gave_way_can_write_no_more(db: Database) -> None:
    gate = Gate()
    async with executing(db, workers=1, slice=NOW, waits=OFTEN, long=Resumes(gate.wait), quick=quick):
        (long,) = await want(db, Wish("test.long"))
        await running(db, [long])
        (one,) = await want(db, Wish("test.quick"), tenant=TWO)
        await until_state(db, one, State.COMPLETED, TWO)
        await until(db, long, lambda found: found.attempts == 2)

        with pytest.raises(JobLost):
            async with db.transaction(ONE) as conn:
                await gate.tries[0].fence(conn)


async def test_what_fails_while_it_gives_way_has_not_failed(db: Database) -> None:
    gate = Gate()

    async def fails(attempt: Attempt) -> None:
        try:
            await gate.wait(attempt)
        except asyncio.CancelledError:
            raise ZeroDivisionError from None

    async with executing(db, workers=1, slice=NOW, waits=OFTEN, long=Resumes(fails), quick=quick):
        (long,) = await want(db, Wish("test.long", tries=1))
        await running(db, [long])
        (one,) = await want(db, Wish("test.quick"), tenant=TWO)
        await until_state(db, one, State.COMPLETED, TWO)
        gate.open.set()
        found = await until_state(db, long, State.COMPLETED)

    assert (found.attempts, found.failures) == (2, 0)


async def test_nobody_gives_way_where_another_executor_has_a_worker_free(db: Database) -> None:
    gate = Gate()
    async with (
        executing(db, workers=1, slice=NOW, long=Resumes(gate.wait), quick=quick),
        asyncio.timeout(LIMIT),
    ):
        longs = await want(db, Wish("test.long"))
        await running(db, longs)
        async with executing(db, workers=1, slice=NOW, quick=quick):
            for _ in range(20):
                (one,) = await want(db, Wish("test.quick"), tenant=TWO)
                await until_state(db, one, State.COMPLETED, TWO)

    assert gate.displaced() == 0


async def test_two_executors_do_not_both_make_room_for_one_job(db: Database) -> None:
    gate, leave, told = Gate(), asyncio.Event(), asyncio.Event()

    async def slow(attempt: Attempt) -> None:
        try:
            await gate.wait(attempt)
        except asyncio.CancelledError:
            told.set()
            await leave.wait()
            raise

    long = Resumes(slow)
    async with (
        asyncio.timeout(LIMIT),
        executing(db, workers=1, slice=NOW, waits=OFTEN, long=long, quick=quick),
        executing(db, workers=1, slice=NOW, waits=OFTEN, long=long, quick=quick),
    ):
        longs = await want(db, Wish("test.long"), Wish("test.long"))
        await running(db, longs)
        (one,) = await want(db, Wish("test.quick"), tenant=TWO)
        await told.wait()
        for _ in range(100):  # the other looks a few times meanwhile
            await running(db, longs)
        leave.set()
        await until_state(db, one, State.COMPLETED, TWO)
        await running(db, longs)

    assert gate.displaced() == 1


async def test_the_worker_is_given_to_whom_it_was_freed_for(db: Database) -> None:
    gate = Gate()
    async with executing(db, workers=3, slice=NOW, waits=OFTEN, long=Resumes(gate.wait), quick=quick):
        mine = await want(db, Wish("test.long"), Wish("test.long"))
        await running(db, mine)
        theirs = await want(db, Wish("test.long"), tenant=TWO)
        await running(db, theirs, TWO)  # so that it is the turn of ONE
        (one,) = await want(db, Wish("test.quick", priority=-1), tenant=TWO)
        await until_state(db, one, State.COMPLETED, TWO)
        await running(db, mine)

    assert gate.displaced() == 1


async def waiting(db: Database, turn: int = 0) -> list[tuple[TenantId, int]]:
    async with db.unbound() as conn:
        return [(one.tenant, one.job) for one in await queue.waiting(conn, ["test.a", "test.b"], turn)]


async def test_what_waits_is_of_each_tenant_what_it_would_be_given_next(db: Database) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    mine = await want(
        db, Wish("test.a"), Wish("test.c", priority=9), Wish("test.b", priority=1), Wish("test.a", priority=1)
    )
    theirs = await want(db, Wish("test.a", priority=5, run_at=later), Wish("test.b"), tenant=TWO)

    assert await waiting(db) == [(ONE, mine[2].id), (TWO, theirs[1].id)]
    assert await waiting(db, ONE) == [(TWO, theirs[1].id), (ONE, mine[2].id)]


async def test_what_waits_for_its_key_waits_for_no_worker(db: Database) -> None:
    await want(db, Wish("test.a", key="k"))
    await claim(db)
    await want(db, *(Wish("test.a", key="k", priority=9) for _ in range(5)))
    assert await waiting(db) == []

    (free,) = await want(db, Wish("test.a", key="l"))
    assert await waiting(db) == [(ONE, free.id)]


async def test_each_slice_is_longer_than_the_one_before(db: Database) -> None:
    await want(db, Wish("test.a"))
    (one,) = await claim(db)
    for times in range(5):
        one = replace(one, gave_way=times)
        first = timedelta(seconds=20)
        for ran, gives in ((times * first, False), ((times + 1) * first, True)):
            assert bool(over([Ran(one, ran, resumes=True)], first)) is gives


Judged = Callable[[list[tuple[TenantId, int, int]], list[tuple[TenantId, int]]], Awaitable[int | None]]


@pytest.fixture
async def judged(db: Database) -> Judged:
    """Which of those that run, by tenant, priority and seconds, gives way to these that wait."""

    async def judge(runs: list[tuple[TenantId, int, int]], waits: list[tuple[TenantId, int]]) -> int | None:
        for tenant, priority, _ in runs:
            await want(db, Wish("test.a", priority=priority), tenant=tenant)
        jobs = {(found.tenant_id, found.priority, found.id): found for found in await claim(db, room=100)}
        ran = []
        for tenant, priority, seconds in runs:
            key = min(key for key in jobs if key[:2] == (tenant, priority))
            ran.append(Ran(jobs.pop(key), timedelta(seconds=seconds), resumes=True))
        others = [Waiting(tenant, JobId(-nr), priority) for nr, (tenant, priority) in enumerate(waits)]
        pair = gives_way(ran, others, timedelta(seconds=20))
        return None if pair is None else ran.index(pair[0])

    return judge


@pytest.mark.parametrize(
    ("runs", "waits", "who"),
    [
        ([(ONE, 0, 19)], [(TWO, 0)], None),
        ([(ONE, 0, 20)], [(TWO, 0)], 0),
        ([(ONE, 0, 25), (ONE, 0, 30)], [(TWO, 0)], 1),
        ([(ONE, 9, 30), (ONE, 0, 25)], [(TWO, 0)], 1),
        ([(ONE, 0, 90), (TWO, 0, 90)], [(ONE, 0), (TWO, 0)], None),
        ([(ONE, 0, 90), (ONE, 0, 30), (TWO, 0, 99)], [(TWO, 0), (ONE, 0)], 0),
        ([(ONE, 0, 30)], [(ONE, 0)], None),
        ([(ONE, 0, 30)], [(ONE, 10)], 0),
        ([(ONE, 10, 30)], [(ONE, 10)], None),
        ([(ONE, 0, 10), (ONE, 0, 15), (TWO, 0, 30)], [(TWO, 10)], 2),
    ],
)
async def test_of_the_tenant_with_most_workers_the_one_that_runs_longest_gives_way(
    judged: Judged, runs: list[tuple[TenantId, int, int]], waits: list[tuple[TenantId, int]], who: int | None
) -> None:
    assert await judged(runs, waits) == who
