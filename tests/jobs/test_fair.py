"""Nobody waits for those who want much, and of two who reach for one key only one has it."""

import asyncio
from datetime import timedelta

import pytest
from jobs.executing import claim, want
from servers.tenants import TWO

from postroom.db.pool import Database
from postroom.ids import TenantId
from postroom.jobs.model import State, Wish
from postroom.jobs.store import queue
from postroom.jobs.store.queue import End

pytestmark = pytest.mark.usefixtures("tenants")

LEASE = timedelta(minutes=1)


async def test_five_jobs_are_through_before_as_many_of_who_wants_ten_thousand(db: Database) -> None:
    await want(db, *(Wish("test.a", priority=9, key=str(n % 300)) for n in range(10_000)))
    await want(db, *(Wish("test.a") for _ in range(5)), tenant=TWO)

    turn, taken = 0, list[TenantId]()
    while taken.count(TWO) < 5:
        async with db.unbound() as conn:
            jobs = await queue.claim(conn, "me", ["test.a"], 3, LEASE, turn)
            await queue.finish(conn, [End(job, State.COMPLETED) for job in jobs])
        taken += [job.tenant_id for job in jobs]
        turn = jobs[-1].tenant_id
    assert len(taken) <= 12


@pytest.mark.slow
async def test_of_two_who_race_for_one_key_a_thousand_times_never_both_have_it(db: Database) -> None:
    await want(db, *(Wish("test.a", key="k") for _ in range(1000)))
    having: set[str] = set()
    rounds = 0

    async def race(holder: str) -> None:
        nonlocal rounds
        while rounds < 1000:
            jobs = await claim(db, holder)
            assert len(jobs) <= 1
            for job in jobs:
                assert not having
                having.add(holder)
                await asyncio.sleep(0)
                having.remove(holder)
                rounds += 1
                async with db.unbound() as conn:
                    assert await queue.finish(conn, [End(job, State.COMPLETED)]) == {job.id}

    async with asyncio.timeout(120), asyncio.TaskGroup() as group:
        for holder in ("x", "y"):
            group.create_task(race(holder))
    assert await claim(db) == []
