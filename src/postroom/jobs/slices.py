"""Who gives way when every worker is busy. Pure: no clock, no database.

A job that goes on where it stopped has a slice of time to itself. Then it gives way

to a job of another tenant   that has fewer workers here than its own
to a job of its own tenant   that is more urgent: somebody waits for it

It waits again and its next slice is longer, so that it comes through, however many want its place.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from postroom.ids import TenantId

from .model import Job, JobId


@dataclass(frozen=True, slots=True)
class Ran:
    """A job that has run for so long, and whether it would go on where it is stopped."""

    job: Job
    time: timedelta
    resumes: bool


@dataclass(frozen=True, slots=True)
class Waiting:
    """A job that any free worker could take."""

    tenant: TenantId
    job: JobId
    priority: int


def over(running: Sequence[Ran], length: timedelta) -> list[Ran]:
    """Those whose slice is over. `length`: of the first one."""
    return [one for one in running if one.resumes and one.time >= length * (one.job.gave_way + 1)]


def gives_way(
    running: Sequence[Ran], waiting: Sequence[Waiting], length: timedelta
) -> tuple[Ran, Waiting] | None:
    """Who, and to whom: to whose tenant has the fewest workers here, the first of them as they come.

    Of those who may it is one of the tenant that has most; there the least urgent, and then the oldest.
    """
    held = Counter(one.job.tenant_id for one in running)
    done = over(running, length)
    for other in sorted(waiting, key=lambda other: held[other.tenant]):
        if able := [one for one in done if _may(one.job, other, held)]:
            return max(able, key=lambda one: (held[one.job.tenant_id], -one.job.priority, one.time)), other
    return None


def _may(job: Job, other: Waiting, held: Counter[TenantId]) -> bool:
    if job.tenant_id == other.tenant:
        return job.priority < other.priority
    return held[other.tenant] < held[job.tenant_id]
