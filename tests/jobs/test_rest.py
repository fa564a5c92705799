"""No more jobs are taken for a while where the database takes long to give some."""

import asyncio
from datetime import timedelta
from time import monotonic

import pytest
from jobs.executing import executing
from servers.tenants import ONE

from postroom.db.pool import Database
from postroom.jobs.attempt import Attempt
from postroom.jobs.model import Wish
from postroom.jobs.rules import LONGEST_REST, SLOW, rest
from postroom.jobs.store import enqueue

pytestmark = pytest.mark.usefixtures("tenants")

HELD_UP = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 'jobs_job'::regclass)"


def test_who_was_held_up_rests_for_twice_as_long_but_not_for_ever() -> None:
    assert rest(SLOW * 0.9) == timedelta()
    assert rest(SLOW) == 2 * SLOW
    assert rest(timedelta(hours=1)) == LONGEST_REST


async def test_what_is_ready_waits_until_a_slow_database_has_had_its_rest(db: Database) -> None:
    began: list[float] = []
    both = asyncio.Event()

    async def note(_attempt: Attempt) -> None:
        began.append(monotonic())
        if len(began) == 2:
            both.set()

    async with executing(db, workers=1, note=note):
        other = await db.separate()
        await other.execute("RESET ROLE; BEGIN; LOCK TABLE jobs_job; SET LOCAL postroom.tenant = 1")
        await enqueue(other, ONE, [Wish("test.note"), Wish("test.note")])
        async with asyncio.timeout(20):
            while not await other.fetchval(HELD_UP):
                pass
        held = monotonic()
        await other.execute("SELECT pg_sleep(0.5)")
        held = monotonic() - held
        await other.execute("COMMIT")
        await other.close()
        async with asyncio.timeout(20):
            await both.wait()
    assert began[1] - began[0] > held
