"""Messages say which job to take; the row says whether it may be taken."""

from datetime import UTC, datetime, timedelta

import pytest
from servers.tenants import ONE, TWO

from postroom.db.pool import Database
from postroom.ids import TenantId
from postroom.jobs import store
from postroom.jobs.model import Enqueued, Job, JobId, State, Wish
from postroom.jobs.store import published, queue
from postroom.jobs.store.published import Address
from postroom.jobs.store.queue import End

pytestmark = pytest.mark.usefixtures("tenants")

LEASE = timedelta(seconds=10)
NEVER, AT_ONCE = timedelta(hours=1), timedelta(0)
KINDS = ["test.a", "test.b"]


async def wanted(db: Database, *wishes: Wish, tenant: TenantId = ONE) -> list[Enqueued]:
    async with db.transaction(tenant) as conn:
        return await store.enqueue(conn, tenant, wishes)


async def sent(db: Database, room: int = 10, again: timedelta = NEVER, turn: int = 0) -> list[Address]:
    async with db.unbound() as conn:
        return await published.publish(conn, KINDS, room, again, turn)


async def numbers(db: Database, room: int = 10, again: timedelta = NEVER) -> list[JobId]:
    return [address.job for address in await sent(db, room, again)]


async def taken(db: Database, number: JobId, tenant: TenantId = ONE, by: str = "me") -> Job | None:
    async with db.unbound() as conn:
        return await published.take(conn, by, KINDS, tenant, number, LEASE)


async def ended(db: Database, job: Job | None, state: State = State.COMPLETED) -> None:
    assert job is not None
    wait = timedelta() if state is State.PENDING else None
    async with db.unbound() as conn:
        assert await queue.finish(conn, [End(job, state, wait=wait)])


async def test_a_ready_job_is_sent_once_and_once_more_when_nothing_came_of_it(db: Database) -> None:
    (one,) = await wanted(db, Wish("test.a"))

    assert await sent(db) == [Address(ONE, one.id)]
    assert await sent(db) == []
    assert await numbers(db, again=AT_ONCE) == [one.id]


async def test_the_most_urgent_goes_first_and_tenants_take_turns(db: Database) -> None:
    mine = await wanted(db, *(Wish("test.a") for _ in range(3)), Wish("test.a", priority=5))
    (theirs,) = await wanted(db, Wish("test.a"), tenant=TWO)

    assert await sent(db, 3) == [Address(ONE, mine[3].id), Address(TWO, theirs.id), Address(ONE, mine[0].id)]
    assert await numbers(db) == [mine[1].id, mine[2].id]


async def test_what_is_not_yet_due_or_of_another_kind_is_not_sent(db: Database) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    one, _ = await wanted(db, Wish("test.a", run_at=later), Wish("test.unknown"))

    assert await sent(db) == []
    assert await taken(db, one.id) is None


async def test_a_message_may_come_twice(db: Database) -> None:
    (one,) = await wanted(db, Wish("test.a"))

    job = await taken(db, one.id)
    assert job is not None
    assert (job.attempts, job.holder, job.state) == (1, "me", State.RUNNING)
    assert await taken(db, one.id, by="another") is None
    await ended(db, job)
    assert await taken(db, one.id) is None


async def test_what_was_handed_back_is_sent_anew_at_once(db: Database) -> None:
    (one,) = await wanted(db, Wish("test.a"))
    assert await numbers(db) == [one.id]
    await ended(db, await taken(db, one.id), State.PENDING)

    assert await numbers(db) == [one.id]


async def test_what_an_executor_without_messages_handed_back_is_sent_anew_at_once(db: Database) -> None:
    (one,) = await wanted(db, Wish("test.a"))
    assert await numbers(db) == [one.id]
    async with db.unbound() as conn:
        (job,) = await queue.claim(conn, "me", KINDS, 1, LEASE, 0)
    await ended(db, job, State.PENDING)

    assert await numbers(db) == [one.id]


async def test_of_one_key_only_the_first_is_sent_and_the_next_when_it_has_ended(db: Database) -> None:
    made = await wanted(db, *(Wish("test.a", key="k") for _ in range(300)), Wish("test.a"))

    assert await numbers(db) == [made[0].id, made[-1].id]
    assert await sent(db) == []
    for number in range(3):
        await ended(db, await taken(db, made[number].id))
        assert await numbers(db) == [made[number + 1].id]


async def test_of_one_key_only_one_can_be_taken(db: Database) -> None:
    first, second = await wanted(db, Wish("test.a", key="k"), Wish("test.b", key="k"))
    job = await taken(db, first.id)

    assert await taken(db, second.id) is None
    assert await sent(db) == []
    await ended(db, job)
    assert await numbers(db) == [second.id]
    assert await taken(db, second.id) is not None


async def test_two_of_one_key_whose_messages_are_lost_do_not_wait_for_each_other(db: Database) -> None:
    (first,) = await wanted(db, Wish("test.a", key="k"))
    assert await numbers(db) == [first.id]
    (urgent,) = await wanted(db, Wish("test.a", key="k", priority=1))
    assert await sent(db) == []

    await ended(db, await taken(db, first.id))
    assert await numbers(db) == [urgent.id]
    assert await numbers(db, again=AT_ONCE) == [urgent.id]


async def test_what_waits_behind_a_sent_one_that_is_cancelled_is_sent_next(db: Database) -> None:
    first, second = await wanted(db, Wish("test.a", key="k"), Wish("test.a", key="k"))
    assert await numbers(db) == [first.id]
    async with db.transaction(ONE) as conn:
        await store.cancel(conn, ONE, first.public_id)

    assert await numbers(db) == [second.id]


async def test_a_job_is_taken_only_under_its_own_tenant(db: Database) -> None:
    (one,) = await wanted(db, Wish("test.a"))

    assert await taken(db, one.id, TWO) is None
