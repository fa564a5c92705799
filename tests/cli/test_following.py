"""What whoever follows a job is told, in this process."""

import asyncio
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from servers.tenants import ANNS, ONE, TWO

from postroom.cli.following import PAGE, News, follow, patient
from postroom.cli.installation import Installation
from postroom.db.model import Busy, Unreachable
from postroom.db.pool import open_pool
from postroom.errors import NeedsOwner, PostroomError
from postroom.jobs import store
from postroom.jobs.attempt import Attempt, Handler
from postroom.jobs.model import Job, JobEvent, JobId, NoSuchJob, State, Wish
from postroom.jobs.run import Executor
from postroom.jobs.store import queue as executors
from postroom.jobs.store.queue import End

pytestmark = pytest.mark.usefixtures("tenants")

MANY = PAGE + 5
DROP = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
     WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


async def wanted(house: Installation, wish: Wish) -> JobId:
    async with house.database.transaction(ONE) as conn:
        [one] = await store.enqueue(conn, ONE, [wish])
    return one.id


async def followed(house: Installation, job: JobId, handler: Handler) -> tuple[Job | None, list[News]]:
    heard: list[News] = []
    executor = Executor(house.database, house.hints, {"test.a": handler, "test.b": handler})
    async with asyncio.timeout(30), executor.working(timedelta()):
        return await follow(house, job, told=heard.append), heard


async def test_everything_a_job_says_is_told_once_and_in_order_and_then_its_end(house: Installation) -> None:
    async def talk(attempt: Attempt) -> None:
        for number in range(MANY):
            async with attempt.db.transaction(ONE) as conn:
                await store.say(conn, attempt.job, str(number))
        attempt.progress(processed=3, items_found=1)

    ended, heard = await followed(house, await wanted(house, Wish("test.a")), talk)

    assert [one.message for one in heard if isinstance(one, JobEvent)] == [str(n) for n in range(MANY)]
    assert ended == heard[-1]
    assert ended is not None
    assert (ended.state, ended.progress.processed) == (State.COMPLETED, 3)


async def test_two_that_are_followed_at_once_do_not_mix(house: Installation) -> None:
    async def talk(attempt: Attempt) -> None:
        for number in range(20):
            await attempt.say(f"{attempt.job.kind} {number}")

    one, other = await wanted(house, Wish("test.a")), await wanted(house, Wish("test.b"))
    heard: dict[JobId, list[News]] = {one: [], other: []}
    executor = Executor(house.database, house.hints, {"test.a": talk, "test.b": talk})
    async with asyncio.timeout(30), executor.working(timedelta()), asyncio.TaskGroup() as group:
        for job in heard:
            group.create_task(follow(house, job, told=heard[job].append))

    for job, kind in ((one, "test.a"), (other, "test.b")):
        said = [news.message for news in heard[job] if isinstance(news, JobEvent)]
        assert said == [f"{kind} {number}" for number in range(20)]
        assert {news.id for news in heard[job] if isinstance(news, Job)} == {job}


async def test_how_a_job_failed_is_its_end(house: Installation) -> None:
    async def fail(_attempt: Attempt) -> None:
        raise NeedsOwner("The password is refused.")

    ended, heard = await followed(house, await wanted(house, Wish("test.a", account=ANNS)), fail)

    assert ended is not None
    assert ended.state is State.FAILED
    assert [one.message for one in heard if isinstance(one, JobEvent)] == ["The password is refused."]


async def test_a_job_that_leaves_no_row_has_ended(house: Installation) -> None:
    async def find_nothing(_attempt: Attempt) -> None:
        return

    job = await wanted(house, Wish("test.a", is_kept=False, run_at=datetime.now(UTC) + timedelta(seconds=1)))

    ended, heard = await followed(house, job, find_nothing)

    assert ended is None
    assert isinstance(heard[0], Job)


async def test_a_database_that_drops_every_connection_costs_nothing_of_the_news(
    house: Installation, dsn: str
) -> None:
    number, heard, said = await wanted(house, Wish("test.a")), list[str](), ["0", "1", "2"]

    def hear(news: News) -> None:
        if isinstance(news, JobEvent):
            heard.append(news.message)

    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        following = group.create_task(follow(house, number, told=hear))
        async with open_pool(dsn) as db, db.unbound() as conn:
            [job] = await executors.claim(conn, "somebody", ["test.a"], 1, timedelta(minutes=5), 0)
        for message in said:
            async with open_pool(dsn) as db, db.transaction(ONE) as conn:
                await store.say(conn, job, message)
            while heard[-1:] != [message]:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            await drop_all(dsn)
        async with open_pool(dsn) as db, db.unbound() as conn:
            await executors.finish(conn, [End(job, State.COMPLETED)])

    ended = following.result()
    assert ended is not None
    assert ended.state is State.COMPLETED
    assert heard == said


async def test_a_look_is_repeated_while_the_database_is_away_and_for_no_other_reason() -> None:
    looks: list[PostroomError] = [Unreachable("It is away."), Busy("It is busy.")]

    async def look() -> str:
        if looks:
            raise looks.pop()
        return "seen"

    assert await patient(look) == "seen"
    looks.append(NoSuchJob("It is gone."))
    with pytest.raises(NoSuchJob):
        await patient(look)


async def drop_all(dsn: str) -> None:
    conn = await asyncpg.connect(dsn)
    await conn.execute(DROP)
    await conn.close()


async def test_a_job_of_another_tenant_is_none(house: Installation) -> None:
    async with house.database.transaction(TWO) as conn:
        [foreign] = await store.enqueue(conn, TWO, [Wish("test.a")])

    with pytest.raises(NoSuchJob):
        await follow(house, foreign.id)
