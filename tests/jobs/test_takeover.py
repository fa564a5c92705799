"""What is wanted, cancelled, taken over and ended at one moment: nothing is lost, stuck or done twice."""

import asyncio
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from jobs.executing import A_MOMENT, claim, executing, job, until_state, want
from servers.tenants import ONE, TWO

from postroom.db.pool import Database
from postroom.errors import NeedsOwner
from postroom.ids import TenantId
from postroom.jobs import store
from postroom.jobs.attempt import Attempt
from postroom.jobs.model import JobId, JobLost, Progress, State, Wish
from postroom.jobs.rules import CRASHED
from postroom.jobs.run import LEASE, Executor
from postroom.jobs.store import queue
from postroom.jobs.store.queue import End

pytestmark = pytest.mark.usefixtures("tenants")

SHORT = timedelta(seconds=0.5)
CUT_OFF = "idle_in_transaction_session_timeout"


async def nothing(_attempt: Attempt) -> None: ...


async def test_two_of_one_dedupe_that_wait_again_together_part_their_ways(db: Database) -> None:
    wish = Wish("test.forever", dedupe="d")

    async def forever(_attempt: Attempt) -> None:
        await asyncio.Event().wait()

    async with executing(db, forever=forever):
        made = []
        for _ in range(3):
            made += await want(db, wish)
            await until_state(db, made[-1], State.RUNNING)

    assert {(await job(db, one)).state for one in made} == {State.PENDING}
    assert (await want(db, wish))[0].is_merged


async def test_two_of_one_dedupe_can_be_taken_over_together(db: Database) -> None:
    for _ in range(3):
        await want(db, Wish("test.a", dedupe="d"))
        await claim(db, lease=timedelta(0))

    async with db.unbound() as conn:
        assert await queue.reap(conn, []) == 3
    assert len(await claim(db)) == 3


async def test_kinds_that_nobody_here_knows_do_not_keep_other_tenants_from_theirs(db: Database) -> None:
    strangers = [TenantId(number) for number in range(10, 20)]
    for tenant in strangers:
        await want(db, *(Wish("later.kind") for _ in range(3)), tenant=tenant)
    (one,) = await want(db, Wish("test.nothing"), tenant=TenantId(20))

    async with executing(db, nothing=nothing):
        await until_state(db, one, State.COMPLETED, TenantId(20))


async def test_whoever_cancelled_a_job_need_not_fear_its_next_try(db: Database) -> None:
    (one,) = await want(db, Wish("test.a", key="k"))
    (running,) = await claim(db)
    async with db.transaction(ONE) as conn:
        await store.cancel(conn, ONE, one.public_id)
    async with db.unbound() as conn:
        await queue.finish(conn, [End(running, State.PENDING, counts=True, error=CRASHED)])

    found = await job(db, one)
    assert (found.state, found.finished_at is None) == (State.CANCELLED, False)


async def test_a_job_that_completes_itself_and_finds_nothing_leaves_no_row(db: Database) -> None:
    async def complete(attempt: Attempt) -> None:
        attempt.progress(processed=5, items_found=attempt.job.args["found"])
        async with db.transaction(ONE) as conn:
            await attempt.complete(conn, {"done": True})

    async with executing(db, complete=complete):
        await want(db, Wish("test.complete", {"found": 0}, is_kept=False))
        (found,) = await want(db, Wish("test.complete", {"found": 2}, is_kept=False))
        one = await until_state(db, found, State.COMPLETED)
        while await rows(db) != [found.id]:  # noqa: ASYNC110  no hint says when a row is gone
            await asyncio.sleep(0.01)

    assert (one.progress.processed, one.progress.items_found) == (5, 2)


async def rows(db: Database) -> list[JobId]:
    async with db.transaction(ONE) as conn:
        return [job.id for job in await store.page(conn, ONE, limit=10)]


async def test_a_wish_that_was_rolled_back_leaves_nothing_and_tells_nobody(db: Database) -> None:
    told: list[str] = []
    db.tell = lambda topic, _subject: told.append(topic)

    async def regret() -> None:
        async with db.transaction(ONE) as conn:
            await store.enqueue(conn, ONE, [Wish("test.a")])
            raise NeedsOwner("changed their mind")

    with pytest.raises(NeedsOwner):
        await regret()
    assert (told, await claim(db)) == ([], [])

    await want(db, Wish("test.a"))
    assert told == ["jobs"]
    assert len(await claim(db)) == 1


@pytest.mark.parametrize(
    "wish", [{"priority": 40_000}, {"tries": 1 << 20}, {"limit": timedelta(days=99_999)}]
)
async def test_numbers_out_of_range_are_refused_before_anything_is_written(
    db: Database, wish: dict[str, Any]
) -> None:
    with pytest.raises(asyncpg.DataError, match="out of int"):
        await want(db, Wish("test.a", **wish))
    assert await claim(db) == []


async def test_a_key_stays_taken_while_a_try_that_was_lost_can_still_write(db: Database) -> None:
    await want(db, Wish("test.a", key="k"), Wish("test.b", key="k"))
    (stale,) = await claim(db, lease=timedelta(0))
    async with db.transaction(ONE) as writing:
        await store.fence(writing, stale)
        async with asyncio.timeout(10):
            async with db.unbound() as conn:
                await queue.reap(conn, [])
            assert await claim(db) == []
    async with db.unbound() as conn:
        assert await queue.reap(conn, []) == 1
    assert len(await claim(db)) == 1


async def test_nobody_waits_for_a_process_that_stands_still_while_it_ends_a_job(db: Database) -> None:
    await want(db, Wish("test.a", key="k"), Wish("test.b", key="other"))
    stale, other = await claim(db, lease=timedelta(0))
    async with db.transaction(ONE) as writing:
        await Attempt(db, stale).complete(writing)
        async with asyncio.timeout(10):
            async with db.unbound() as conn:
                assert await queue.reap(conn, []) == 1
            assert [job.id for job in await claim(db)] == [other.id]


@pytest.mark.parametrize("in_hand", ["fence", "progress", "say", "beat"])
async def test_who_stands_still_with_a_job_in_hand_keeps_it_no_longer_than_its_lease(
    db: Database, in_hand: str
) -> None:
    await want(db, Wish("test.a"))
    (running,) = await claim(db)

    async with db.transaction(ONE) as conn:
        match in_hand:
            case "fence":
                await store.fence(conn, running)
            case "progress":
                await store.progress(conn, running, Progress(1))
            case "say":
                await store.say(conn, running, "hello")
            case _:
                await queue.beat(conn, "me", [running], LEASE)
        seconds = await conn.fetchval("SELECT extract(epoch FROM current_setting($1)::interval)", CUT_OFF)

    assert timedelta(seconds=int(seconds)) <= LEASE


async def test_what_is_said_by_who_lost_the_job_is_refused(db: Database) -> None:
    await want(db, Wish("test.a"), tenant=TWO)
    (stale,) = await claim(db, lease=timedelta(0))
    async with db.unbound() as conn:
        await queue.reap(conn, [])
    await claim(db)
    attempt = Attempt(db, stale)
    attempt.progress(processed=7)
    for writing in (attempt.say("hello"), attempt.flush()):
        with pytest.raises(JobLost):
            await writing


HOLD_UP = """
    CREATE FUNCTION hold_up() RETURNS trigger LANGUAGE plpgsql
        AS $$ BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NEW; END $$;
    CREATE TRIGGER hold_up BEFORE UPDATE ON postroom.jobs_job FOR EACH ROW
        WHEN (NEW.state = 'running' AND OLD.state = 'pending') EXECUTE FUNCTION hold_up();
    SELECT pg_advisory_lock(1)
"""
IS_HELD_UP = "SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"


async def test_what_is_taken_while_its_executor_leaves_is_handed_back(db: Database, dsn: str) -> None:
    superuser = await asyncpg.connect(dsn)
    await superuser.execute(HOLD_UP)

    async def forever(_attempt: Attempt) -> None:
        await asyncio.Event().wait()

    async with asyncio.TaskGroup() as group, executing(db, forever=forever) as executor:
        (one,) = await want(db, Wish("test.forever"))
        while not await superuser.fetchval(IS_HELD_UP):  # noqa: ASYNC110
            await asyncio.sleep(A_MOMENT)
        group.create_task(let_on(superuser, executor))

    found = await job(db, one)
    assert (found.state, found.attempts, found.failures) == (State.PENDING, 1, 0)
    await superuser.close()


async def let_on(superuser: asyncpg.Connection, executor: Executor) -> None:
    """Once it leaves."""
    while not executor._leaves:  # noqa: ASYNC110
        await asyncio.sleep(A_MOMENT)
    await asyncio.sleep(0.1)
    await superuser.execute("SELECT pg_advisory_unlock(1)")
