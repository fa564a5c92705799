"""All SQL of jobs whose executors are told by messages which to take. See the migration `celery`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from asyncpg import Connection

from postroom.ids import TenantId
from postroom.jobs.model import Job, JobId

from . import COLUMNS, job_of


@dataclass(frozen=True, slots=True)
class Address:
    """Where a job lies: all that a message says."""

    tenant: TenantId
    job: JobId


PUBLISH = "SELECT owner, number FROM jobs_publish($1, $2, $3, $4)"


async def publish(
    conn: Connection, kinds: Sequence[str], room: int, again: timedelta, turn: int
) -> list[Address]:
    """At most `room` ready jobs of these kinds to send messages of, the tenants behind `turn` first.

    Each once; and once more when it has been ready for `again` since, for then its message is lost.
    """
    rows = await conn.fetch(PUBLISH, kinds, room, again, turn)
    return [Address(TenantId(row["owner"]), JobId(row["number"])) for row in rows]


TAKE = f"SELECT {COLUMNS} FROM jobs_take($1, $2, $3, $4, $5)"  # noqa: S608


async def take(
    conn: Connection, holder: str, kinds: Sequence[str], tenant: TenantId, number: JobId, lease: timedelta
) -> Job | None:
    """This job, the holder's for a `lease`; None where it is over, runs, must wait, or is of another kind."""
    row = await conn.fetchrow(TAKE, holder, kinds, tenant, number, lease)
    return None if row is None else job_of(row)
