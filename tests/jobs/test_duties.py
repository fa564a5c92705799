"""What recurs is done by one process at a time, again and again, and says how it went."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from postroom.db.beside import beside
from postroom.db.pool import Database
from postroom.errors import Broken
from postroom.jobs import duties
from postroom.jobs.duties import Duty, attend
from postroom.jobs.store import duties as store
from postroom.jobs.store.duties import DutyRow

HOUR = timedelta(hours=1)


async def row(db: Database, name: str) -> DutyRow:
    async with db.unbound() as conn:
        return next(row for row in await store.listed(conn) if row.name == name)


async def until_done(db: Database, name: str) -> DutyRow:
    while True:
        async with db.unbound() as conn:
            found = [row for row in await store.listed(conn) if row.name == name and row.last_at]
        if found and found[0].holder is None:
            return found[0]
        await asyncio.sleep(0.01)


async def attended(db: Database, name: str, *duties: Duty, processes: int = 1) -> DutyRow:
    """As it stands after all of them were done once."""
    tasks = [asyncio.create_task(attend(db, duties)) for _ in range(processes)]
    try:
        async with asyncio.timeout(30):
            for duty in duties:
                await until_done(db, duty.name)
            return await row(db, name)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def test_a_new_duty_is_done_at_once_by_one_process_and_comes_again_after_its_interval(
    db: Database,
) -> None:
    done = []

    async def work() -> None:
        done.append(datetime.now(UTC))
        await asyncio.sleep(0.05)

    found = await attended(db, "test.duty", Duty("test.duty", HOUR, work), processes=5)

    assert len(done) == 1
    assert found.last_at is not None
    assert (found.last_error, found.every) == (None, HOUR)
    assert HOUR * 0.89 < found.next_at - found.last_at < HOUR * 1.11


@pytest.mark.parametrize("error", [Broken("The disk is full."), RuntimeError("a bug")])
async def test_a_duty_that_fails_says_why_and_comes_again_and_others_go_on(
    db: Database, error: Exception
) -> None:
    async def fail() -> None:
        raise error

    async def work() -> None:
        return

    found = await attended(db, "test.bad", Duty("test.bad", HOUR, fail), Duty("test.good", HOUR, work))

    assert found.last_error is not None
    assert found.last_error.endswith("[postroom.broken]" if isinstance(error, Broken) else "[jobs.crashed]")
    assert (await attended(db, "test.good", Duty("test.good", HOUR, work))).last_error is None


FULL_AT_FIRST = """
    CREATE SEQUENCE postroom.written;
    GRANT USAGE ON postroom.written TO PUBLIC;
    CREATE FUNCTION postroom.full_at_first() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF nextval('postroom.written') IN (1, 3) THEN
            RAISE EXCEPTION 'no space left' USING ERRCODE = 'disk_full';
        END IF;
        RETURN NEW;
    END $$;
    CREATE TRIGGER full_at_first BEFORE UPDATE ON postroom.jobs_duty
       FOR EACH ROW EXECUTE FUNCTION postroom.full_at_first();
"""


async def test_duties_outlast_a_full_disk(db: Database, dsn: str) -> None:
    times = 0

    async def work() -> None:
        nonlocal times
        times += 1

    superuser = await asyncpg.connect(dsn)
    await superuser.execute(FULL_AT_FIRST)  # when the duty is first claimed, and when it is done
    async with beside(attend(db, [Duty("test.duty", HOUR, work)])), asyncio.timeout(30):
        while await superuser.fetchval("SELECT last_value FROM postroom.written") < 3:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await superuser.execute("UPDATE postroom.jobs_duty SET lease_until = now()")
        found = await until_done(db, "test.duty")
    await superuser.close()

    assert (times, found.last_error) == (2, None)


async def test_a_duty_whose_process_is_gone_is_anothers(db: Database) -> None:
    async def work() -> None:
        return

    async with db.unbound() as conn:
        await store.plan(conn, ["test.duty"], [HOUR], [timedelta(0)])
        assert await store.claim(conn, "gone", ["test.duty"], timedelta(0), []) == "test.duty"

    assert (await attended(db, "test.duty", Duty("test.duty", HOUR, work))).last_error is None


async def test_a_duty_that_is_cut_off_is_handed_back_at_once(db: Database) -> None:
    began = asyncio.Event()

    async def forever() -> None:
        began.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(attend(db, [Duty("test.duty", HOUR, forever)]))
    await began.wait()
    assert (await row(db, "test.duty")).holder is not None
    task.cancel()
    await asyncio.wait([task])

    assert (await row(db, "test.duty")).holder is None


CUT_OFF_IN_COMMIT = """
    CREATE FUNCTION postroom.hold_up() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM pg_advisory_lock_shared(7);
        PERFORM pg_advisory_unlock_shared(7);
        RETURN NULL;
    END $$;
    CREATE CONSTRAINT TRIGGER hold_up AFTER UPDATE ON postroom.jobs_duty DEFERRABLE INITIALLY DEFERRED
       FOR EACH ROW WHEN ({when}) EXECUTE FUNCTION postroom.hold_up();
"""
IN_COMMIT = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 7 AND NOT granted"
OPEN_AGAIN = "SELECT pg_advisory_unlock(7)"


@asynccontextmanager
async def commits_held_up(dsn: str, when: str) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """COMMITs stand still that store a duty's row like that; what is given waits for the first one."""
    superuser = await asyncpg.connect(dsn)
    await superuser.execute(CUT_OFF_IN_COMMIT.format(when=when))
    await superuser.execute("SELECT pg_advisory_lock(7)")

    async def one() -> None:
        while not await superuser.fetchval(IN_COMMIT):  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    yield one
    await superuser.execute(OPEN_AGAIN)
    await superuser.close()


async def nobody_holds(db: Database, name: str) -> None:
    async with asyncio.timeout(duties.LEASE.total_seconds() / 3):
        while (await row(db, name)).holder is not None:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def nothing() -> None:
    return


ENTRANCES: dict[str, Callable[[Database, list[Duty]], Coroutine[None, None, object]]] = {
    "attend": attend,
    "do_one": duties.do_one,
}


@pytest.mark.parametrize("when", ["NEW.holder IS NOT NULL", "NEW.holder IS NULL"], ids=["claim", "end"])
@pytest.mark.parametrize("entrance", ENTRANCES)
async def test_who_is_stopped_in_a_commit_holds_no_duty_whatever_becomes_of_the_commit(
    db: Database, dsn: str, entrance: str, when: str
) -> None:
    await duties.plan(db, [Duty("test.duty", HOUR, nothing)])
    async with commits_held_up(dsn, when) as one:
        task = asyncio.create_task(ENTRANCES[entrance](db, [Duty("test.duty", HOUR, nothing)]))
        async with asyncio.timeout(30):
            await one()
        task.cancel()
        await asyncio.sleep(0)  # it is stopped, and hands back what it may hold, before the COMMIT goes on
    await asyncio.wait([task])

    await nobody_holds(db, "test.duty")


LOST_ANSWER = """
    UPDATE postroom.jobs_duty SET next_at = now(), lease_until = now() + interval '1 hour',
           holder = (SELECT holder FROM postroom.jobs_duty WHERE name = 'test.long')
     WHERE name = 'test.duty'
"""


async def test_a_claim_whose_answer_was_lost_with_the_connection_is_made_again_at_once(
    db: Database, dsn: str
) -> None:
    began, done = asyncio.Event(), asyncio.Event()

    async def long() -> None:
        began.set()
        await asyncio.Event().wait()

    async def work() -> None:
        done.set()

    superuser = await asyncpg.connect(dsn)
    async with beside(attend(db, [Duty("test.duty", HOUR, work), Duty("test.long", HOUR, long)])):
        async with asyncio.timeout(30):
            await began.wait()
            await until_done(db, "test.duty")
            done.clear()
            await superuser.execute(LOST_ANSWER)
            await done.wait()
            assert (await row(db, "test.long")).holder is not None
    await superuser.close()


async def test_nobody_else_does_what_somebody_does(db: Database) -> None:
    async with db.unbound() as conn:
        await store.plan(conn, ["test.duty"], [HOUR], [timedelta(0)])
        assert await store.claim(conn, "me", ["test.duty"], duties.LEASE, []) == "test.duty"
        assert await store.claim(conn, "you", ["test.duty"], duties.LEASE, []) is None
        assert await store.hold(conn, "test.duty", "me", duties.LEASE)
        assert not await store.hold(conn, "test.duty", "you", duties.LEASE)
        assert await store.claim(conn, "you", ["test.duty"], duties.LEASE, ["me"]) == "test.duty"


async def test_a_shorter_interval_takes_effect_now(db: Database) -> None:
    async with db.unbound() as conn:
        await store.plan(conn, ["test.duty"], [HOUR], [HOUR])
        await store.plan(conn, ["test.duty"], [HOUR / 60], [timedelta(0)])

    assert (await row(db, "test.duty")).next_at < datetime.now(UTC) + HOUR / 50
