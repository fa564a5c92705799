"""All SQL of following jobs: what many of them, of one tenant, have to say that is new."""

from collections.abc import Mapping, Sequence

from asyncpg import Connection

from postroom.ids import TenantId
from postroom.jobs.model import Job, JobEvent, JobId, Level

from . import COLUMNS, job_of

ROWS = f"SELECT {COLUMNS} FROM jobs_job WHERE tenant_id = $1 AND id = ANY($2)"  # noqa: S608


async def rows(conn: Connection, tenant: TenantId, jobs: Sequence[JobId]) -> dict[JobId, Job]:
    """These as they stand; without those that are gone."""
    found = [job_of(row) for row in await conn.fetch(ROWS, tenant, jobs)]
    return {job.id: job for job in found}


EVENTS = """
    SELECT w.job_id, e.id, e.at, e.level, e.message, e.data
      FROM unnest($2::bigint[], $3::bigint[]) AS w (job_id, after)
     CROSS JOIN LATERAL (
           SELECT j.id, j.at, j.level, j.message, j.data FROM jobs_event j
            WHERE j.tenant_id = $1 AND j.job_id = w.job_id AND j.id > w.after
            ORDER BY j.id LIMIT $4) AS e
     ORDER BY w.job_id, e.id
"""


async def events(
    conn: Connection, tenant: TenantId, after: Mapping[JobId, int], most: int
) -> dict[JobId, list[JobEvent]]:
    """At most so many events of each of these jobs, from the one behind the number given with it."""
    found: dict[JobId, list[JobEvent]] = {job: [] for job in after}
    for row in await conn.fetch(EVENTS, tenant, list(after), list(after.values()), most):
        event = JobEvent(row["id"], row["at"], Level(row["level"]), row["message"], row["data"])
        found[JobId(row["job_id"])].append(event)
    return found
