"""Whoever follows a job hears all of it, once, in order, and nothing of any other."""

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, closing, suppress
from datetime import timedelta

import asyncpg
import pytest
from servers.tenants import ONE, TWO

from postroom.db.beside import beside
from postroom.db.listen import open_hints
from postroom.db.pool import Connection, Database, open_pool
from postroom.db.roles import APP
from postroom.ids import TenantId
from postroom.jobs.follow import PAGE, Follower, Following, News, following
from postroom.jobs.model import Job, State

from .speaking import end, get_on, said, say, started

pytestmark = pytest.mark.usefixtures("tenants")

TIMES = 20
SOON, NEVER = timedelta(seconds=0.02), timedelta(hours=1)


@asynccontextmanager
async def hub(db: Database, every: timedelta = NEVER) -> AsyncIterator[Following]:
    """By default only hints tell it anything."""
    async with open_hints(db) as hints, following(db, hints, every) as found:
        yield found


async def everything(follower: Follower) -> list[News]:
    """All that it hears, to the end."""
    async with asyncio.timeout(20):
        heard = []
        while (news := await follower.next()) is not None:
            heard.append(news)
    return heard


def numbers(heard: list[News]) -> list[int]:
    return [event.id for news in heard for event in news.events]


async def test_what_was_said_before_comes_first_and_the_end_comes_last(db: Database) -> None:
    job = await started(db)
    await say(db, job, "one", "two")
    async with hub(db) as here, asyncio.TaskGroup() as group:
        with closing(here.follower(job, 0)) as follower:
            first = await follower.next()
            assert first is not None
            listening = group.create_task(everything(follower))
            await get_on(db, job, 5)
            await say(db, job, "three")
            await end(db, job, result={"a": 1})
            heard = [first, *await listening]

    assert [event.message for news in heard for event in news.events] == ["one", "two", "three"]
    assert [news.is_last for news in heard] == [False] * (len(heard) - 1) + [True]
    last = heard[-1].job
    assert last is not None
    assert (last.state, last.result, last.progress.processed) == (State.COMPLETED, {"a": 1}, 5)


async def test_a_job_that_is_over_is_told_from_where_one_stopped(db: Database) -> None:
    job = await started(db)
    saids = await say(db, job, *map(str, range(2 * PAGE + 10)))
    await end(db, job)
    async with hub(db) as here:
        for at in (0, 1, PAGE, PAGE + 10, 2 * PAGE + 9, 2 * PAGE + 10):
            heard = await everything(here.follower(job, saids[at - 1] if at else 0))
            assert numbers(heard) == saids[at:]
            assert [news.is_last for news in heard][-1]
            assert max(len(news.events) for news in heard) <= PAGE


async def talk(db: Database, job: Job, rng: random.Random, times: int) -> None:
    """Say something now and then, at times very much, and end."""
    for n in range(times):
        await say(db, job, *["x"] * rng.choice([1, 1, 1, 2, 7, PAGE, 2 * PAGE + 1]))
        await get_on(db, job, n + 1)
        await asyncio.sleep(rng.choice([0, 0, 0.001, 0.01]))
    await end(db, job)


async def pieces(here: Following, job: Job, rng: random.Random) -> AsyncGenerator[News]:
    """What somebody hears who is cut off again and again, in the middle of anything, and comes again."""
    after, is_over = 0, False
    while not is_over:
        with closing(here.follower(job, after)) as follower:
            for _ in range(rng.randrange(4)):
                with suppress(TimeoutError):
                    async with asyncio.timeout(rng.choice([0.0001, 0.001, 0.01, 5])):
                        news = await follower.next()
                        assert news is not None
                        after = news.events[-1].id if news.events else after
                        is_over = news.is_last
                        yield news
                if is_over:
                    break


@pytest.mark.parametrize("seed", range(5))
async def test_a_stream_that_is_cut_and_resumed_shows_every_event_once(db: Database, seed: int) -> None:
    rng = random.Random(seed)
    job = await started(db)
    async with (
        hub(db, SOON) as here,
        asyncio.timeout(60),
        beside(talk(db, job, rng, TIMES)),
        aclosing(pieces(here, job, rng)) as cut,
    ):
        heard = [news async for news in cut]

    assert numbers(heard) == await said(db, job)
    processed = [news.job.progress.processed for news in heard if news.job is not None]
    assert processed == sorted(processed)
    assert processed[-1] == TIMES


async def test_jobs_that_are_followed_at_once_never_mix(db: Database) -> None:
    rng = random.Random(1)
    jobs = [await started(db), await started(db), await started(db, TWO)]
    async with hub(db, SOON) as here, asyncio.timeout(60):
        followers = [here.follower(job, 0) for job in jobs for _ in range(3)]
        async with beside(*(talk(db, job, rng, 20) for job in jobs)):
            heard = await asyncio.gather(*map(everything, followers))

    for number, one in enumerate(heard):
        job = jobs[number // 3]
        assert numbers(one) == await said(db, job)
        assert {event.data["job"] for news in one for event in news.events} == {job.id}
        assert {news.job.id for news in one if news.job is not None} == {job.id}


class Counted(Database):
    """Counts transactions."""

    count = 0

    @asynccontextmanager
    async def transaction(
        self, tenant: TenantId, *, lasting_plans: bool = False
    ) -> AsyncIterator[Connection]:
        self.count += 1
        async with super().transaction(tenant, lasting_plans=lasting_plans) as conn:
            yield conn


async def test_those_who_follow_one_job_share_what_is_read(db: Database, dsn: str) -> None:
    job = await started(db)
    counted = Counted(dsn, size=2, role=APP)
    async with hub(db) as here:
        here.db = counted
        followers = [here.follower(job, 0) for _ in range(50)]
        for follower in followers:
            assert await follower.next() is not None
        waiting = [asyncio.ensure_future(follower.next()) for follower in followers]
        await get_on(db, job, 1)
        await asyncio.gather(*waiting)
        before = counted.count
        waiting = [asyncio.ensure_future(follower.next()) for follower in followers]
        await say(db, job, "hello")
        heard = await asyncio.gather(*waiting)
        looks = counted.count - before
    await counted._close()

    assert all(news is not None and news.events[0].message == "hello" for news in heard)
    assert looks <= 3


async def test_who_was_too_slow_for_a_look_misses_nothing(db: Database) -> None:
    job = await started(db)
    async with hub(db, SOON) as here:
        quick, slow = here.follower(job, 0), here.follower(job, 0)
        assert await slow.next() is not None
        async with beside(talk(db, job, random.Random(2), 12)):
            all_of_it = numbers(await everything(quick))
        heard = await everything(slow)

    assert numbers(heard) == all_of_it == await said(db, job)
    assert max(len(news.events) for news in heard) <= PAGE


async def test_a_hint_that_was_never_told_costs_nothing_but_time(db: Database, dsn: str) -> None:
    job = await started(db)
    async with hub(db, SOON) as here, open_pool(dsn) as silent:
        follower = here.follower(job, 0)
        assert await follower.next() is not None
        await say(silent, job, "hello")
        await end(silent, job)
        heard = await everything(follower)

    assert numbers(heard) == await said(db, job)


async def test_a_database_that_was_away_costs_nothing_but_time(db: Database, dsn: str) -> None:
    job = await started(db)
    async with hub(db, SOON) as here:
        follower = here.follower(job, 0)
        assert await follower.next() is not None
        conn = await asyncpg.connect(dsn)
        await conn.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        await conn.close()
        async with open_pool(dsn) as other:
            await say(other, job, "hello")
            await end(other, job)
        heard = await everything(follower)

    assert [event.message for news in heard for event in news.events] == ["hello"]


@pytest.mark.parametrize("how", ["while it is followed", "before"])
async def test_a_row_that_goes_ends_its_stream(db: Database, how: str) -> None:
    job = await started(db, is_kept=False)
    async with hub(db) as here:
        follower = here.follower(job, 0)
        if how != "before":
            assert await follower.next() is not None
        await end(db, job, kept=False)
        (last,) = await everything(follower)

    assert (last.is_last, last.is_gone, list(last.events)) == (True, True, [])
    assert last.job is not None
    assert last.job.id == job.id


async def test_whoever_leaves_is_forgotten(db: Database) -> None:
    jobs = [await started(db), await started(db, TWO)]
    async with hub(db, SOON) as here:
        followers = [here.follower(job, 0) for job in jobs for _ in range(2)]
        for follower in followers:
            await follower.next()
            follower.close()
            assert await follower.next() is None
        assert not here._watches


async def test_at_the_end_everybody_is_told_so(db: Database) -> None:
    job = await started(db)
    async with asyncio.timeout(20), asyncio.TaskGroup() as group, hub(db) as here:
        follower, late = here.follower(job, 0), here.follower(job, 0)
        assert await follower.next() is not None
        waiting = group.create_task(follower.next())
        await asyncio.sleep(0)
    assert waiting.result() is None
    assert await late.next() is not None
    assert await late.next() is None


async def test_another_tenants_number_shows_nothing(db: Database) -> None:
    job = await started(db, TWO)
    await say(db, job, "hello")
    stolen = Job(**{**{name: getattr(job, name) for name in job.__slots__}, "tenant_id": ONE})
    async with hub(db) as here:
        (heard,) = await everything(here.follower(stolen, 0))

    assert (list(heard.events), heard.is_gone) == ([], True)


async def test_a_watch_that_was_left_takes_nothing_from_the_next_one_of_its_job(db: Database) -> None:
    job = await started(db)
    async with open_hints(db) as hints:
        here = Following(db, hints)
        with closing(here.follower(job, 0)) as follower:
            await follower.next()
            left = follower._watch
        with closing(here.follower(job, 0)) as follower:
            await follower.next()
            watch = follower._watch
            assert left is not None
            assert watch is not None
            numbers = await say(db, job, "one", "two")
            left.top = numbers[0]  # it had read that far

            await here._look_at_some(ONE, [watch, left])

            news = await follower.next()
            assert news is not None
            assert [event.id for event in news.events] == numbers
