"""What waits, who gets it, and in which order."""

from datetime import UTC, datetime, timedelta

import pytest
from servers.tenants import ONE, TWO

from postroom.db.pool import Database
from postroom.ids import TenantId
from postroom.jobs import store
from postroom.jobs.model import Enqueued, Job, JobId, Level, Reason, State, Wish
from postroom.jobs.store import queue
from postroom.jobs.store.queue import End

pytestmark = pytest.mark.usefixtures("tenants")

LEASE = timedelta(seconds=10)


async def claimed(db: Database, room: int = 10, turn: int = 0) -> list[Job]:
    async with db.unbound() as conn:
        return await queue.claim(conn, "me", ["test.a", "test.b"], room, LEASE, turn)


async def wanted(db: Database, *wishes: Wish, tenant: TenantId = ONE) -> list[Enqueued]:
    async with db.transaction(tenant) as conn:
        return await store.enqueue(conn, tenant, wishes)


async def finished(db: Database, *ends: End) -> set[JobId]:
    async with db.unbound() as conn:
        return await queue.finish(conn, ends)


async def test_the_most_urgent_comes_first_then_the_oldest(db: Database) -> None:
    first, second, urgent = await wanted(db, Wish("test.a"), Wish("test.a"), Wish("test.a", priority=5))

    assert [job.id for job in await claimed(db, 2)] == [urgent.id, first.id]
    assert [job.id for job in await claimed(db)] == [second.id]
    assert await claimed(db) == []


async def test_of_one_key_only_one_runs_and_the_next_follows_when_it_ends(db: Database) -> None:
    made = await wanted(
        db, *(Wish("test.a", key="k") for _ in range(300)), *(Wish("test.a") for _ in range(5))
    )

    jobs = await claimed(db)
    assert {job.id for job in jobs} == {made[0].id, *(one.id for one in made[-5:])}
    assert await claimed(db) == []

    for expected in made[1:4]:
        (running,) = [job for job in jobs if job.key]
        assert await finished(db, End(running, State.COMPLETED)) == {running.id}
        jobs = await claimed(db)
        assert [job.id for job in jobs] == [expected.id]


async def test_tenants_take_turns(db: Database) -> None:
    await wanted(db, *(Wish("test.a") for _ in range(50)))
    await wanted(db, *(Wish("test.a") for _ in range(3)), tenant=TWO)

    assert [job.tenant_id for job in await claimed(db, 4)].count(TWO) == 2
    assert [job.tenant_id for job in await claimed(db, 1, turn=ONE)] == [TWO]


async def test_a_wish_is_merged_with_one_that_waits(db: Database) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    (first,) = await wanted(db, Wish("test.a", dedupe="d", run_at=later))
    assert await claimed(db) == []

    (again,) = await wanted(db, Wish("test.a", dedupe="d", priority=3))

    assert (again.id, again.is_merged) == (first.id, True)
    (job,) = await claimed(db)
    assert (job.id, job.priority) == (first.id, 3)
    (another,) = await wanted(db, Wish("test.a", dedupe="d"))
    assert not another.is_merged


async def test_what_was_taken_over_can_no_more_be_ended_by_who_had_it(db: Database) -> None:
    await wanted(db, Wish("test.a"))
    (late,) = await claimed(db)
    async with db.unbound() as conn:
        assert await queue.reap(conn, ["me"]) == 1
    (now,) = await claimed(db)

    assert now.attempts == late.attempts + 1
    assert await finished(db, End(late, State.COMPLETED)) == set()
    assert await finished(db, End(now, State.COMPLETED)) == {now.id}


async def test_what_waits_for_nothing_to_tell_leaves_no_row(db: Database) -> None:
    made = await wanted(db, *(Wish("test.a", is_kept=False, key=str(n)) for n in range(2)), Wish("test.a"))
    jobs = {job.id: job for job in await claimed(db)}
    ends = [
        End(jobs[made[0].id], State.COMPLETED, kept=False),
        End(jobs[made[1].id], State.COMPLETED),
        End(jobs[made[2].id], State.COMPLETED),
    ]

    assert await finished(db, *ends) == {one.id for one in made}
    async with db.transaction(ONE) as conn:
        assert [job.id for job in await store.page(conn, ONE, limit=10)] == [made[2].id, made[1].id]


async def test_old_jobs_go_with_what_they_said(db: Database) -> None:
    await wanted(db, Wish("test.a"), Wish("test.a"), Wish("test.a"))
    first, second, third = await claimed(db)
    async with db.transaction(ONE) as conn:
        await store.say(conn, first, "hello")
    await finished(db, End(first, State.COMPLETED), End(second, State.COMPLETED))

    async with db.unbound() as conn:
        assert await queue.clean(conn, timedelta(hours=1), 100) == 0
        assert await queue.clean(conn, timedelta(0), 1) == 1
        assert await queue.clean(conn, timedelta(0), 100) == 1

    async with db.transaction(ONE) as conn:
        assert [job.id for job in await store.page(conn, ONE, limit=10)] == [third.id]
        assert await store.events(conn, ONE, first.id) == []


async def test_what_is_said_of_failures_stands_in_the_jobs_events(db: Database) -> None:
    await wanted(db, Wish("test.a"))
    (job,) = await claimed(db)
    await finished(db, End(job, State.FAILED, counts=True, error=Reason("a.b", "It is broken.")))

    async with db.transaction(ONE) as conn:
        (event,) = await store.events(conn, ONE, job.id)
    assert (event.level, event.message) == (Level.ERROR, "It is broken.")
    assert event.data == {"code": "a.b", "failures": 1, "tries": 3, "again_at": None}
