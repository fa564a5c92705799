"""All SQL upon jobs that run: they are asked to stop, joined, and count what they store."""

from collections.abc import Mapping

from asyncpg import Connection

from postroom.db.pool import hint
from postroom.ids import AccountId, TenantId
from postroom.jobs.model import CHANGED, READY, STOP, Enqueued, Job, JobId, Wish

from . import PROMOTE, lost

LOCK_KEY = "SELECT pg_advisory_xact_lock(jobs_lock($1, $2))"
ASK_TO_STOP = """
    UPDATE jobs_job SET cancel_requested = true
     WHERE tenant_id = $1 AND key = $2 AND kind = $3 AND state = 'running'
    RETURNING id
"""


async def stop(conn: Connection, tenant: TenantId, key: str, kind: str) -> None:
    """Ask the job of this kind that runs with this key, if there is one, to stop. It ends as cancelled."""
    await conn.execute(LOCK_KEY, tenant, key)
    for row in await conn.fetch(ASK_TO_STOP, tenant, key, kind):
        hint(conn, STOP, str(row["id"]))
        hint(conn, CHANGED, str(row["id"]))


IS_RUNNING = "SELECT EXISTS (SELECT FROM jobs_job WHERE tenant_id = $1 AND key = $2 AND state = 'running')"


async def is_running(conn: Connection, tenant: TenantId, key: str) -> bool:
    """Whether a job with this key runs; that stays so until the end of the transaction."""
    await conn.execute(LOCK_KEY, tenant, key)
    return bool(await conn.fetchval(IS_RUNNING, tenant, key))


# What leaves no row where it finds nothing leaves none here.
CALL_OFF = """
    WITH waiting AS (
        SELECT tenant_id, id, is_kept FROM jobs_job
         WHERE tenant_id = $1 AND account_id = $2 AND key = $3 AND kind = $4 AND state = 'pending'
           FOR NO KEY UPDATE
    ), gone AS (
        DELETE FROM jobs_job j USING waiting w
         WHERE j.tenant_id = w.tenant_id AND j.id = w.id AND NOT w.is_kept
        RETURNING j.id
    ), cancelled AS (
        UPDATE jobs_job j SET state = 'cancelled', finished_at = clock_timestamp() FROM waiting w
         WHERE j.tenant_id = w.tenant_id AND j.id = w.id AND w.is_kept
        RETURNING j.id
    )
    SELECT id FROM gone UNION ALL SELECT id FROM cancelled
"""


async def call_off(conn: Connection, tenant: TenantId, account: AccountId, key: str, kind: str) -> None:
    """The same, and what waits of this kind for the account is cancelled."""
    await stop(conn, tenant, key, kind)
    for row in await conn.fetch(CALL_OFF, tenant, account, key, kind):
        hint(conn, CHANGED, str(row["id"]))
    await conn.execute(PROMOTE, tenant, key)
    hint(conn, READY)


# Whoever ends the job in this moment waits for this row, or has it no more running.
JOIN = """
    UPDATE jobs_job SET is_kept = true, is_joined = true, priority = greatest(priority, $4)
     WHERE tenant_id = $1 AND key = $2 AND dedupe = $3 AND state = 'running' AND NOT cancel_requested
       AND (is_joined OR NOT is_kept)
    RETURNING id, public_id
"""


async def join(conn: Connection, tenant: TenantId, wish: Wish) -> Enqueued | None:
    """The job that does just this now without anybody having asked for it becomes the wish's.

    It may have passed what is wanted. So when this try ends, however it does, the job waits again.
    """
    row = await conn.fetchrow(JOIN, tenant, wish.key, wish.dedupe, wish.priority)
    if row is None:
        return None
    hint(conn, CHANGED, str(row["id"]))
    return Enqueued(JobId(row["id"]), row["public_id"], is_merged=True)


COUNT = """
    UPDATE jobs_job
       SET processed = processed + $4, items_found = items_found + $5,
           tally = tally || (SELECT jsonb_object_agg(n.name, coalesce((tally ->> n.name)::bigint, 0) + n.more)
                               FROM unnest($6::text[], $7::bigint[]) AS n (name, more))
     WHERE tenant_id = $1 AND id = $2 AND attempts = $3 AND state = 'running'
    RETURNING tally, set_config('idle_in_transaction_session_timeout', '10s', true)
"""


async def count(
    conn: Connection, job: Job, tally: Mapping[str, int], *, processed: int, items_found: int
) -> Mapping[str, int]:
    """Add what this transaction stores; returned is what all tries together have. Raises `JobLost`."""
    given = (processed, items_found, list(tally), list(tally.values()))
    row = await conn.fetchrow(COUNT, job.tenant_id, job.id, job.attempts, *given)
    if row is None:
        raise lost(job)
    now: Mapping[str, int] = row["tally"]
    return now
