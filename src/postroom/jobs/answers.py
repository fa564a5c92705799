"""How jobs look from outside: the models of the routes, and of the events in a stream."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field

from .model import Job, JobEvent, Level, State
from .rules import worker_named
from .store.duties import DutyRow
from .store.overview import Overview


class ErrorOut(BaseModel, from_attributes=True):
    code: str
    message: str


class ProgressOut(BaseModel, from_attributes=True):
    """None of these ever gets smaller."""

    processed: int
    total_estimate: int | None
    items_found: int


class JobOut(BaseModel):
    id: UUID
    kind: str = Field(description="What is done: a room, a dot, a verb.")
    account: UUID | None = Field(description="Null where it is none's, and when that is gone.")
    state: State
    progress: ProgressOut
    error: ErrorOut | None = Field(description="Why it failed, or is tried again.")
    result: dict[str, Any] | None
    cancel_requested: bool
    priority: int
    attempts: int = Field(description="How often somebody has taken it.")
    failures: int = Field(description="How many of these were failures; `tries` may be.")
    tries: int
    worker: str | None = Field(description="The process that runs it.")
    run_at: datetime = Field(description="It does not run before.")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class JobPage(BaseModel):
    items: list[JobOut]
    has_next: bool
    next: str | None = Field(description="The `cursor` of the next page.")


class EventOut(BaseModel, from_attributes=True):
    id: int
    at: datetime
    level: Level
    message: str
    data: Mapping[str, Any]


class PendingOut(BaseModel, from_attributes=True):
    ready: int = Field(description="Could run now.")
    later: int = Field(description="Their time has not come.")
    behind: int = Field(description="Wait until another of their key has ended.")


class WorkerOut(BaseModel):
    worker: str
    running: int


class FailedOut(BaseModel):
    code: str
    jobs: int


class DutyOut(BaseModel):
    """Something that recurs for the whole installation."""

    name: str
    every_seconds: float
    is_running: bool
    next_at: datetime
    last_at: datetime | None
    last_seconds: float | None
    last_error: str | None = Field(description="Its code; the operator finds more in the log.")


class OverviewOut(BaseModel):
    pending: PendingOut
    oldest_ready_at: datetime | None = Field(description="Since when the oldest one could run.")
    oldest_ready_seconds: float | None
    running: int
    workers: list[WorkerOut]
    failed: list[FailedOut] = Field(description="What failed for good and is still there, by code.")
    ended_last_hour: dict[State, int]
    duties: list[DutyOut]


def job_out(job: Job, account: UUID | None) -> JobOut:
    return JobOut(
        id=job.public_id,
        kind=job.kind,
        account=account,
        state=job.state,
        progress=ProgressOut.model_validate(job.progress),
        error=None if job.error is None else ErrorOut.model_validate(job.error),
        result=None if job.result is None else dict(job.result),
        cancel_requested=job.cancel_requested,
        priority=job.priority,
        attempts=job.attempts,
        failures=job.failures,
        tries=job.tries,
        worker=None if job.holder is None else worker_named(job.holder),
        run_at=job.run_at,
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
    )


def event_out(event: JobEvent) -> EventOut:
    return EventOut.model_validate(event)


def overview_out(found: Overview, duties: Sequence[DutyRow]) -> OverviewOut:
    age = found.oldest_ready_age
    return OverviewOut(
        pending=PendingOut.model_validate(found),
        oldest_ready_at=found.oldest_ready,
        oldest_ready_seconds=None if age is None else max(0.0, age.total_seconds()),
        running=sum(found.running.values()),
        workers=[
            WorkerOut(worker=worker_named(holder), running=jobs) for holder, jobs in found.running.items()
        ],
        failed=[FailedOut(code=code, jobs=jobs) for code, jobs in found.failed.items()],
        ended_last_hour={State(state): jobs for state, jobs in found.ended.items()},
        duties=[_duty_out(duty) for duty in duties],
    )


def _duty_out(duty: DutyRow) -> DutyOut:
    return DutyOut(
        name=duty.name,
        every_seconds=duty.every.total_seconds(),
        is_running=duty.holder is not None,
        next_at=duty.next_at,
        last_at=duty.last_at,
        last_seconds=duty.last_seconds,
        last_error=None if duty.last_error is None else duty.last_error.rpartition("[")[2].rstrip("]"),
    )
