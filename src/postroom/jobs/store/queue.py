"""All SQL of executors, over jobs of all tenants, by the functions of the migration."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from asyncpg import Connection

from postroom.db.pool import hint
from postroom.ids import TenantId
from postroom.jobs.model import CHANGED, READY, Job, JobId, Reason, State
from postroom.jobs.slices import Waiting

from . import COLUMNS, job_of

# By name: a column that a later migration adds must not change what a prepared statement gives.
CLAIM = f"SELECT {COLUMNS} FROM jobs_claim($1, $2, $3, $4, $5)"  # noqa: S608


async def claim(
    conn: Connection, holder: str, kinds: Sequence[str], room: int, lease: timedelta, turn: int
) -> list[Job]:
    """At most `room` jobs of these kinds, the holder's for a `lease`; the tenants behind `turn` first."""
    return [job_of(row) for row in await conn.fetch(CLAIM, holder, kinds, room, lease, turn)]


WAITING = "SELECT owner, number, urgency FROM jobs_waiting($1, $2)"


async def waiting(conn: Connection, kinds: Sequence[str], turn: int) -> list[Waiting]:
    """Of each tenant the job of these kinds that it would be given next; the tenants behind `turn` first."""
    rows = await conn.fetch(WAITING, kinds, turn)
    return [Waiting(TenantId(row["owner"]), JobId(row["number"]), row["urgency"]) for row in rows]


PROMISE = """
    UPDATE jobs_job SET promised_until = clock_timestamp() + $3::interval
     WHERE tenant_id = $1 AND id = $2 AND state = 'pending'
       AND (promised_until IS NULL OR promised_until < clock_timestamp())
    RETURNING id
"""


async def promise(conn: Connection, other: Waiting, lasting: timedelta) -> bool:
    """Nobody else gives way to this job for so long. False: somebody does already, or it waits no more.

    The transaction is bound to its tenant.
    """
    return await conn.fetchval(PROMISE, other.tenant, other.job, lasting) is not None


@dataclass(frozen=True, slots=True)
class End:
    """What a try of a job came to."""

    job: Job
    state: State  # pending: it waits again
    counts: bool = False  # as a failure
    gave_way: bool = False  # to others
    kept: bool = True  # the row stays
    wait: timedelta | None = None  # of what waits again: from now on, by the clock of the database
    error: Reason | None = None
    result: Mapping[str, Any] | None = None
    is_cut: bool = False  # the database was away while it ran


FINISH = """
    SELECT jobs_finish($1, $2, $3, $4, $5, $6,
                       (SELECT array_agg(clock_timestamp() + w.wait ORDER BY w.nr)
                          FROM unnest($7::interval[]) WITH ORDINALITY AS w (wait, nr)),
                       $8, $9, $10)
"""
GAVE_WAY = "SELECT jobs_gave_way($1, $2, $3)"
CUT = "SELECT jobs_cut($1, $2, $3)"


async def finish(conn: Connection, ends: Sequence[End]) -> set[JobId]:
    """Record these; the jobs that were still ours. A key that is free now is the next one's; executors hear.

    Raises `asyncpg.UniqueViolationError` when one that waits again is overtaken by one like it in this very
    moment; then the same call works.
    """
    if any(frees(end) for end in ends):
        hint(conn, READY)
    return await record(conn, ends)


def frees(end: End) -> bool:
    """Whether something may be ready because of it."""
    return end.job.key is not None or end.state is State.PENDING


async def record(conn: Connection, ends: Sequence[End]) -> set[JobId]:
    """The same, but no executor is told: for one that claims next in the same transaction."""
    rows = [
        (
            end.job.tenant_id,
            end.job.id,
            end.job.attempts,
            end.state,
            end.counts,
            end.kept or end.state is State.PENDING,
            end.wait,
            end.error.code if end.error else None,
            end.error.message if end.error else None,
            None if end.result is None else dict(end.result),
        )
        for end in ends
    ]
    done = {JobId(row[0]) for row in await conn.fetch(FINISH, *zip(*rows, strict=True))}
    gave = [end.job for end in ends if end.gave_way and end.job.id in done]
    if gave:
        await conn.execute(GAVE_WAY, *_tries(gave))
    if cut := [end.job for end in ends if end.is_cut and end.job.id in done]:
        await conn.execute(CUT, *_tries(cut))
    for job in done:
        hint(conn, CHANGED, str(job))
    return done


BEAT = """
    SELECT id, cancel_requested, set_config('idle_in_transaction_session_timeout', '10s', true)
      FROM jobs_beat($1, $2, $3, $4, $5)
"""


async def beat(conn: Connection, holder: str, jobs: Sequence[Job], lease: timedelta) -> dict[JobId, bool]:
    """Hold these for another `lease`: which of them are still ours, and whether each is asked to stop."""
    rows = await conn.fetch(BEAT, holder, *_tries(jobs), lease)
    return {JobId(row["id"]): row["cancel_requested"] for row in rows}


def _tries(jobs: Sequence[Job]) -> tuple[list[int], list[int], list[int]]:
    """Of which tenant, which job, which try."""
    return [job.tenant_id for job in jobs], [job.id for job in jobs], [job.attempts for job in jobs]


HOLDERS = "SELECT jobs_holders()"
REAP = "SELECT jobs_reap($1)"
LOST = f"SELECT {COLUMNS} FROM jobs_lost($1)"  # noqa: S608


async def holders(conn: Connection) -> list[str]:
    """Who runs jobs, as far as leases tell."""
    return [row[0] for row in await conn.fetch(HOLDERS)]


async def reap(conn: Connection, dead: Sequence[str]) -> int:
    """Let jobs wait again whose holders are `dead` or have let their leases run out; how many.

    Those without another try are left to `lost`.
    """
    found: int = await conn.fetchval(REAP, dead)
    if found:
        hint(conn, READY)
    return found


async def lost(conn: Connection, dead: Sequence[str]) -> list[Job]:
    """Jobs whose holders are gone, and that were tried too often."""
    return [job_of(row) for row in await conn.fetch(LOST, dead)]


SWEEP = "SELECT jobs_sweep()"
CLEAN = "SELECT jobs_clean($1, $2)"


async def sweep(conn: Connection) -> int:
    """Free what waits behind nothing; how many. There is nothing to free unless something went wrong."""
    return int(await conn.fetchval(SWEEP))


async def clean(conn: Connection, age: timedelta, most: int) -> int:
    """Delete jobs that ended so long ago, `most` at once; how many."""
    return int(await conn.fetchval(CLEAN, age, most))
