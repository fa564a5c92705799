"""All SQL of counting jobs: one tenant's, and those of the whole installation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from asyncpg import Connection, Record

from postroom.ids import TenantId
from postroom.jobs.model import OVER


@dataclass(frozen=True, slots=True)
class Overview:
    """How the queue does."""

    ready: int  # these could run now
    later: int  # the time of these has not come
    behind: int  # these wait until another one of their key has ended
    oldest_ready: datetime | None  # since when it could run
    oldest_ready_age: timedelta | None
    running: Mapping[str, int]  # by who runs them
    failed: Mapping[str, int]  # by code: all that there are
    ended: Mapping[str, int] = field(default_factory=dict)  # by state, not long ago


# Each arm names its place, or the planner would not know the partial index for it.
OF_TENANT = """
    SELECT c.*, now() - c.oldest AS age FROM (
    SELECT 'ready' AS what, '' AS label, count(*) AS jobs, min(run_at) AS oldest FROM jobs_job
     WHERE tenant_id = $1 AND state = 'pending' AND place = 0
    UNION ALL
    SELECT 'later', '', count(*), min(run_at) FROM jobs_job
     WHERE tenant_id = $1 AND state = 'pending' AND place = 1
    UNION ALL
    SELECT 'behind', '', count(*), min(run_at) FROM jobs_job
     WHERE tenant_id = $1 AND state = 'pending' AND place = 2
    UNION ALL
    SELECT 'running', holder, count(*), min(started_at) FROM jobs_job
     WHERE tenant_id = $1 AND state = 'running' GROUP BY holder
    UNION ALL
    SELECT 'failed', coalesce(error_code, ''), count(*), min(finished_at) FROM jobs_job
     WHERE tenant_id = $1 AND state = 'failed' GROUP BY error_code
    UNION ALL
    SELECT 'ended', state, count(*), min(finished_at) FROM jobs_job
     WHERE tenant_id = $1 AND finished_at > now() - $2::interval GROUP BY state) AS c
"""


async def of_tenant(conn: Connection, tenant: TenantId, recent: timedelta) -> Overview:
    """A tenant's own jobs; as `ended` those of the `recent` past."""
    return _overview(await conn.fetch(OF_TENANT, tenant, recent))


OF_ALL = "SELECT what, label, jobs, oldest, now() - oldest AS age FROM jobs_overview($1)"


async def of_all(conn: Connection, recent: timedelta) -> Overview:
    """The jobs of all tenants together."""
    return _overview(await conn.fetch(OF_ALL, recent))


def _overview(rows: Sequence[Record]) -> Overview:
    def counted(what: str) -> dict[str, int]:
        return {row["label"]: row["jobs"] for row in rows if row["what"] == what}

    waiting = {row["what"]: row for row in rows if row["label"] == ""}
    return Overview(
        ready=waiting["ready"]["jobs"],
        later=waiting["later"]["jobs"],
        behind=waiting["behind"]["jobs"],
        oldest_ready=waiting["ready"]["oldest"],
        oldest_ready_age=waiting["ready"]["age"],
        running=counted("running"),
        failed=counted("failed"),
        ended={**{str(state): 0 for state in sorted(OVER)}, **counted("ended")},
    )
