"""An executor goes on under the schema of a release that came after it began."""

import asyncio
from datetime import timedelta

import asyncpg
from servers.tenants import MAKE, ONE

from postroom.db.listen import open_hints
from postroom.db.migrate import Migration, migrate, migrations
from postroom.db.pool import Database, open_pool
from postroom.jobs import store
from postroom.jobs.attempt import Attempt
from postroom.jobs.model import State, Wish
from postroom.jobs.run import Executor

JOBS = 22  # the migration that this executor knows
KNOWN = [one for one in migrations() if one.number <= JOBS]
NEXT = [  # each locks one table: an executor that works has both, in either order
    Migration(
        9998,
        "of_the_next_release",
        """
        ALTER TABLE postroom.jobs_job ADD COLUMN colour text NOT NULL DEFAULT 'red';
        CREATE INDEX jobs_job_colour ON postroom.jobs_job (tenant_id, colour);
        """,
    ),
    Migration(9999, "and_more_of_it", "ALTER TABLE postroom.jobs_event ADD COLUMN colour text"),
]


async def work(attempt: Attempt) -> None:
    attempt.progress(processed=1)
    await attempt.say("hello")
    if attempt.job.failures == 0 and attempt.job.args["fails"]:
        raise ZeroDivisionError


async def wanted(db: Database, name: str) -> None:
    """Jobs of all sorts: free ones, of one key, one that may be merged, and one that fails."""
    wishes = [Wish("test.work", {"fails": False}, key=name if n % 2 else None) for n in range(20)]
    wishes += [Wish("test.work", {"fails": False}, dedupe=name), Wish("test.work", {"fails": True}, tries=1)]
    async with db.transaction(ONE) as conn:
        await store.enqueue(conn, ONE, wishes)


async def ended(db: Database, state: State, count: int) -> None:
    async with asyncio.timeout(30):
        while True:
            async with db.transaction(ONE) as conn:
                if len(await store.page(conn, ONE, limit=1000, state=state)) == count:
                    return
            await asyncio.sleep(0.01)


async def test_the_previous_migrations_executor_works_beside_the_new_schema(empty_dsn: str) -> None:
    await migrate(empty_dsn, KNOWN)
    owner = await asyncpg.connect(empty_dsn)
    await owner.execute(MAKE)
    await owner.close()
    async with (
        open_pool(empty_dsn) as db,
        open_hints(db) as hints,
        Executor(db, hints, {"test.work": work}).working(timedelta(seconds=20)),
    ):
        await wanted(db, "before")
        await ended(db, State.COMPLETED, 21)  # every statement is prepared now

        await wanted(db, "while it comes")
        later = [one for one in migrations() if one.number > JOBS] + NEXT
        assert await migrate(empty_dsn, [*migrations(), *NEXT]) == [one.name for one in later]
        await wanted(db, "after")

        await ended(db, State.COMPLETED, 63)
        await ended(db, State.FAILED, 3)
