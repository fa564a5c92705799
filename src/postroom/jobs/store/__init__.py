"""All SQL of jobs for one tenant, in the caller's transaction. What executors do is in `queue`."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import orjson
from asyncpg import Connection, Record

from postroom.db.pool import hint
from postroom.db.sql import Where
from postroom.ids import AccountId, TenantId, new_public_id
from postroom.jobs.model import (
    CHANGED,
    OVER,
    READY,
    STOP,
    Enqueued,
    IsOver,
    Job,
    JobEvent,
    JobId,
    JobLost,
    Level,
    NoSuchJob,
    NotOver,
    Progress,
    Reason,
    State,
    Wish,
)

BEHIND = 2  # the `place` of what waits for its key
COLUMNS = """
    id, public_id, tenant_id, kind, account_id, key, args, priority, tries, limit_seconds, state, run_at,
    place, attempts, failures, holder, cancel_requested, is_kept, gave_way, processed, total_estimate,
    items_found, tally, error_code, error_reason, result, created_at, started_at, finished_at,
    CASE WHEN cut_at = attempts - 1 THEN cuts ELSE 0 END AS cuts
"""
# A row that an upsert has changed, and not made, was locked by this transaction.
ENQUEUE = """
    INSERT INTO jobs_job (tenant_id, public_id, kind, account_id, key, dedupe, args, priority, tries,
                          limit_seconds, run_at, is_kept, place)
    SELECT $1, w.public_id, w.kind, w.account_id, w.key, w.dedupe, w.args, w.priority, w.tries, w.seconds,
           coalesce(greatest(w.run_at, now() + w.wait), now()), w.is_kept,
           CASE WHEN greatest(w.run_at, now() + w.wait) > now() THEN 1 ELSE 0 END
      FROM unnest($2::uuid[], $3::text[], $4::bigint[], $5::text[], $6::text[], $7::jsonb[], $8::smallint[],
                  $9::smallint[], $10::int[], $11::timestamptz[], $12::interval[], $13::boolean[])
        WITH ORDINALITY
        AS w (public_id, kind, account_id, key, dedupe, args, priority, tries, seconds, run_at, wait,
              is_kept, nr)
     ORDER BY w.nr
    ON CONFLICT (tenant_id, dedupe) WHERE state = 'pending' AND dedupe IS NOT NULL DO UPDATE
       SET priority = greatest(jobs_job.priority, excluded.priority),
           run_at = least(jobs_job.run_at, excluded.run_at),
           is_kept = jobs_job.is_kept OR excluded.is_kept,
           place = CASE WHEN jobs_job.place = 1 THEN excluded.place ELSE jobs_job.place END
    RETURNING id, public_id, xmax <> 0 AS merged
"""


async def enqueue(conn: Connection, tenant: TenantId, wishes: Sequence[Wish]) -> list[Enqueued]:
    """Want these done, once the caller's transaction is committed. No two of them with one `dedupe`.

    What waits already under the same `dedupe` is pulled forward: it becomes as urgent, and as early.
    """
    rows = [
        (
            new_public_id(),
            wish.kind,
            wish.account,
            wish.key,
            wish.dedupe,
            orjson.dumps(wish.args),
            wish.priority,
            wish.tries,
            round(wish.limit.total_seconds()),
            wish.run_at,
            wish.wait,
            wish.is_kept,
        )
        for wish in wishes
    ]
    found = await conn.fetch(ENQUEUE, tenant, *zip(*rows, strict=True)) if rows else []
    hint(conn, READY)
    return [Enqueued(JobId(row["id"]), row["public_id"], row["merged"]) for row in found]


GET = f"SELECT {COLUMNS} FROM jobs_job WHERE tenant_id = $1 AND public_id = $2"  # noqa: S608
GET_BY_ID = f"SELECT {COLUMNS} FROM jobs_job WHERE tenant_id = $1 AND id = $2"  # noqa: S608
LOCK = f"SELECT {COLUMNS} FROM jobs_job WHERE tenant_id = $1 AND public_id = $2 FOR NO KEY UPDATE"  # noqa: S608


async def get(conn: Connection, tenant: TenantId, public_id: UUID) -> Job:
    """Raises `NoSuchJob`."""
    return _found(await conn.fetchrow(GET, tenant, public_id))


async def get_by_id(conn: Connection, tenant: TenantId, job: JobId) -> Job:
    """Raises `NoSuchJob`."""
    return _found(await conn.fetchrow(GET_BY_ID, tenant, job))


PAGE = f"""
    SELECT {COLUMNS} FROM jobs_job j WHERE j.tenant_id = $1 AND {{where}} ORDER BY j.id DESC LIMIT $2
"""  # noqa: S608


async def page(
    conn: Connection,
    tenant: TenantId,
    *,
    limit: int,
    before: JobId | None = None,
    state: State | None = None,
    kind: str | None = None,
    account: AccountId | None = None,
) -> list[Job]:
    """Jobs, the latest first, from the one made before `before`."""
    where = Where(tenant, limit)
    where.given("j.id < $?", before)
    where.given("j.state = $?", state)
    where.given("j.kind = $?", kind)
    where.given("j.account_id = $?", account)
    return [job_of(row) for row in await conn.fetch(where.into(PAGE), *where.values)]


# The lock of the key comes before that of the row, as everywhere.
LOCK_KEY = """
    SELECT pg_advisory_xact_lock(jobs_lock(tenant_id, key)) FROM jobs_job
     WHERE tenant_id = $1 AND public_id = $2 AND key IS NOT NULL
"""


async def lock_key(conn: Connection, tenant: TenantId, public_id: UUID) -> None:
    """Before the first lock of a row, in a transaction that may free the key of this job."""
    await conn.execute(LOCK_KEY, tenant, public_id)


CANCEL = """
    UPDATE jobs_job SET state = 'cancelled', finished_at = clock_timestamp() WHERE tenant_id = $1 AND id = $2
"""
ASK_TO_STOP = "UPDATE jobs_job SET cancel_requested = true WHERE tenant_id = $1 AND id = $2"
PROMOTE = "SELECT jobs_promote(ARRAY[$1::bigint], ARRAY[$2::text])"


async def cancel(conn: Connection, tenant: TenantId, public_id: UUID) -> Job:
    """A job that waits is cancelled, one that runs is asked to stop. Raises `NoSuchJob`, `IsOver`."""
    await lock_key(conn, tenant, public_id)
    job = _found(await conn.fetchrow(LOCK, tenant, public_id))
    if job.state in OVER:
        raise IsOver(f"The job is {job.state}.")
    if job.state is State.RUNNING:
        await conn.execute(ASK_TO_STOP, tenant, job.id)
        hint(conn, STOP, str(job.id))
    else:
        await conn.execute(CANCEL, tenant, job.id)
        if job.key is not None:
            await conn.execute(PROMOTE, tenant, job.key)
            hint(conn, READY)
    hint(conn, CHANGED, str(job.id))
    return await get_by_id(conn, tenant, job.id)


REQUEUE = """
    UPDATE jobs_job
       SET state = 'pending', place = 0, run_at = now(), failures = 0, is_kept = true,
           cancel_requested = false,
           error_code = NULL, error_reason = NULL, result = NULL, finished_at = NULL,
           dedupe = CASE WHEN NOT EXISTS (
                        SELECT FROM jobs_job o WHERE o.tenant_id = $1 AND o.dedupe = jobs_job.dedupe
                                                 AND o.state = 'pending') THEN dedupe END
     WHERE tenant_id = $1 AND id = $2
"""


async def requeue(conn: Connection, tenant: TenantId, public_id: UUID) -> Job:
    """What failed or was cancelled waits again, with all its tries. Raises `NoSuchJob`, `NotOver`."""
    job = _found(await conn.fetchrow(LOCK, tenant, public_id))
    if job.state not in {State.FAILED, State.CANCELLED}:
        raise NotOver(f"The job is {job.state}.")
    await conn.execute(REQUEUE, tenant, job.id)
    hint(conn, READY)
    hint(conn, CHANGED, str(job.id))
    return await get_by_id(conn, tenant, job.id)


# Whoever takes over passes by what somebody has in hand, but not for longer than a lease lasts: a process
# that is stopped in mid-transaction is cut off by then. So it is with what follows, and with the heartbeat.
FENCE = """
    SELECT set_config('idle_in_transaction_session_timeout', '10s', true) FROM jobs_job
     WHERE tenant_id = $1 AND id = $2 AND attempts = $3 AND state = 'running' FOR KEY SHARE
"""


async def fence(conn: Connection, job: Job) -> None:
    """Let this transaction write only while this try of the job is the current one. Raises `JobLost`.

    Until the transaction ends, nobody else can take the job.
    """
    if await conn.fetchrow(FENCE, job.tenant_id, job.id, job.attempts) is None:
        raise lost(job)


PROGRESS = """
    UPDATE jobs_job
       SET processed = greatest(processed, $4), items_found = greatest(items_found, $6),
           total_estimate = greatest(total_estimate, $5)
     WHERE tenant_id = $1 AND id = $2 AND attempts = $3 AND state = 'running'
    RETURNING id, set_config('idle_in_transaction_session_timeout', '10s', true)
"""


async def progress(conn: Connection, job: Job, now: Progress) -> None:
    """Say how far a job is; nothing of it ever gets smaller. Raises `JobLost`."""
    given = (now.processed, now.total_estimate, now.items_found)
    if await conn.fetchval(PROGRESS, job.tenant_id, job.id, job.attempts, *given) is None:
        raise lost(job)
    hint(conn, CHANGED, str(job.id))


# Whoever speaks holds the row: numbers are given in the order in which they can be seen.
SAY = """
    WITH mine AS (
        SELECT tenant_id, id FROM jobs_job
         WHERE tenant_id = $1 AND id = $2 AND attempts = $3 AND state = 'running' FOR NO KEY UPDATE
    )
    INSERT INTO jobs_event (tenant_id, job_id, level, message, data)
    SELECT tenant_id, id, $4, $5, $6 FROM mine
    RETURNING id, set_config('idle_in_transaction_session_timeout', '10s', true)
"""


async def say(
    conn: Connection,
    job: Job,
    message: str,
    *,
    level: Level = Level.INFO,
    data: Mapping[str, Any] | None = None,
) -> int:
    """Tell whoever follows the job; the event's number. Raises `JobLost`."""
    given = (job.attempts, level, message, dict(data or {}))
    number: int | None = await conn.fetchval(SAY, job.tenant_id, job.id, *given)
    if number is None:
        raise lost(job)
    hint(conn, CHANGED, str(job.id))
    return number


EVENTS = """
    SELECT id, at, level, message, data FROM jobs_event
     WHERE tenant_id = $1 AND job_id = $2 AND id > $3 ORDER BY id LIMIT $4
"""


async def events(
    conn: Connection, tenant: TenantId, job: JobId, *, after: int = 0, limit: int = 1000
) -> list[JobEvent]:
    """What a job had to say, from the event behind `after`."""
    rows = await conn.fetch(EVENTS, tenant, job, after, limit)
    return [JobEvent(row["id"], row["at"], Level(row["level"]), row["message"], row["data"]) for row in rows]


FORGET = """
    DELETE FROM jobs_job
     WHERE tenant_id = $1 AND account_id = $2 AND state <> 'running' AND NOT (kind = $3 AND is_kept)
"""


async def forget(conn: Connection, tenant: TenantId, account: AccountId, removing: str) -> None:
    """The account is going. What runs stays to its own end, and so does a job of the kind `removing` that
    somebody may follow.
    """
    await conn.execute(FORGET, tenant, account, removing)


def lost(job: Job) -> JobLost:
    return JobLost("This try is over: another executor has taken the job.", job=str(job.public_id))


def _found(row: Record | None) -> Job:
    if row is None:
        raise NoSuchJob("There is no such job.")
    return job_of(row)


def job_of(row: Record) -> Job:
    error = row["error_code"]
    return Job(
        id=JobId(row["id"]),
        public_id=row["public_id"],
        tenant_id=TenantId(row["tenant_id"]),
        kind=row["kind"],
        account_id=row["account_id"],
        key=row["key"],
        args=row["args"],
        priority=row["priority"],
        tries=row["tries"],
        limit=timedelta(seconds=row["limit_seconds"]),
        state=State(row["state"]),
        run_at=row["run_at"],
        is_behind=row["state"] == State.PENDING and row["place"] == BEHIND,
        attempts=row["attempts"],
        failures=row["failures"],
        holder=row["holder"],
        cancel_requested=row["cancel_requested"],
        is_kept=row["is_kept"],
        gave_way=row["gave_way"],
        progress=Progress(row["processed"], row["total_estimate"], row["items_found"]),
        tally=row["tally"],
        error=None if error is None else Reason(error, row["error_reason"]),
        result=row["result"],
        created_at=row["created_at"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        cuts=row["cuts"],
    )
