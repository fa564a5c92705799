"""Executors in processes of their own, whose jobs leave traces that show what happened, and in which order.

    python -m jobs.effects      a nursery of them

`test.once` writes its effect in the transaction that ends the job. `test.fenced` writes it under the fence
only, and is ended by the executor afterwards.
"""

import asyncio
import random
from datetime import timedelta

from servers.nursery import forking

from postroom.db.listen import open_hints
from postroom.db.model import Busy, Unreachable
from postroom.db.pool import Connection, Database
from postroom.db.roles import APP
from postroom.jobs.attempt import Attempt
from postroom.jobs.model import NotNow
from postroom.jobs.run import Executor

ONCE, FENCED = "test.once", "test.fenced"
LEASE = timedelta(seconds=1.5)
WORKERS = 6
WORK = (0.0, 0.02)  # seconds
A_MOMENT = timedelta(seconds=0.02)

# Numbers are given when a statement runs, not when it is committed: who is first holds the fence already.
TABLES = """
    CREATE TABLE postroom.chaos_trace (
        nr      bigint GENERATED ALWAYS AS IDENTITY,
        job     bigint NOT NULL,
        attempt int    NOT NULL,
        key     text   NOT NULL,
        what    text   NOT NULL
    );
    GRANT INSERT ON postroom.chaos_trace TO postroom_app;
    CREATE TABLE postroom.chaos_end (job bigint NOT NULL);
    CREATE FUNCTION postroom.chaos_ended() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
        AS $$ BEGIN INSERT INTO postroom.chaos_end VALUES (NEW.id); RETURN NULL; END $$;
    CREATE TRIGGER chaos_ended AFTER UPDATE ON postroom.jobs_job FOR EACH ROW
        WHEN (NEW.finished_at IS DISTINCT FROM OLD.finished_at) EXECUTE FUNCTION postroom.chaos_ended()
"""
TRACE = "INSERT INTO chaos_trace (job, attempt, key, what) VALUES ($1, $2, $3, $4)"


async def execute(dsn: str) -> None:
    """For ever, whatever becomes of PostgreSQL."""
    db = Database(dsn, size=10, role=APP)
    async with open_hints(db) as hints:
        executor = Executor(db, hints, {ONCE: once, FENCED: fenced}, workers=WORKERS, lease=LEASE)
        async with executor.working(timedelta()):
            await asyncio.Event().wait()


async def once(attempt: Attempt) -> None:
    await work(attempt, completes=True)


async def fenced(attempt: Attempt) -> None:
    await work(attempt, completes=False)


async def work(attempt: Attempt, *, completes: bool) -> None:
    try:
        await _begin(attempt)
        await asyncio.sleep(random.uniform(*WORK))
        async with attempt.db.transaction(attempt.job.tenant_id) as conn:
            await attempt.fence(conn)
            await asyncio.sleep(random.uniform(*WORK))
            await _trace(conn, attempt, "effect")
            if completes:
                await attempt.complete(conn)
    except (Unreachable, Busy) as error:  # no fault of the job, and a minute would be long
        raise NotNow("PostgreSQL was away.", wait=A_MOMENT) from error


async def _begin(attempt: Attempt) -> None:
    async with attempt.db.transaction(attempt.job.tenant_id) as conn:
        await attempt.fence(conn)
        await _trace(conn, attempt, "begin")


async def _trace(conn: Connection, attempt: Attempt, what: str) -> None:
    await conn.execute(TRACE, attempt.job.id, attempt.job.attempts, attempt.job.key, what)


if __name__ == "__main__":
    forking(execute)
