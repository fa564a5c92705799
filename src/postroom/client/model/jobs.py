"""Long work, and what it says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from .accounts import Error

State = Literal["pending", "running", "completed", "failed", "cancelled"]


@dataclass(frozen=True, slots=True)
class Progress:
    processed: int
    total_estimate: int | None
    items_found: int


@dataclass(frozen=True, slots=True)
class Job:
    id: UUID
    kind: str
    account: UUID | None
    state: State
    progress: Progress
    error: Error | None
    result: Mapping[str, Any] | None
    cancel_requested: bool
    priority: int
    attempts: int
    failures: int
    tries: int
    worker: str | None
    run_at: datetime
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @property
    def is_over(self) -> bool:
        return self.state in {"completed", "failed", "cancelled"}


@dataclass(frozen=True, slots=True)
class JobPage:
    items: Sequence[Job]
    has_next: bool
    next: str | None


@dataclass(frozen=True, slots=True)
class JobEvent:
    """Something that a job says."""

    id: int
    at: datetime
    level: Literal["info", "warning", "error"]
    message: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class JobStatus(Job):
    """The job, whenever it has changed."""

    is_gone: bool = False  # it left no row; this is what was last known of it


@dataclass(frozen=True, slots=True)
class BatchProgress:
    tool: str
    processed: int
    total_estimate: int | None
    items_found: int
    has_more: bool


@dataclass(frozen=True, slots=True)
class BatchComplete:
    tool: str
    total_items: int
    processed: int
    items: Sequence[Any]
    error: Error | None = None


@dataclass(frozen=True, slots=True)
class Pending:
    ready: int
    later: int
    behind: int


@dataclass(frozen=True, slots=True)
class Worker:
    worker: str
    running: int


@dataclass(frozen=True, slots=True)
class Failed:
    code: str
    jobs: int


@dataclass(frozen=True, slots=True)
class Duty:
    name: str
    every_seconds: float
    is_running: bool
    next_at: datetime
    last_at: datetime | None
    last_seconds: float | None
    last_error: str | None


@dataclass(frozen=True, slots=True)
class Overview:
    pending: Pending
    oldest_ready_at: datetime | None
    oldest_ready_seconds: float | None
    running: int
    workers: Sequence[Worker]
    failed: Sequence[Failed]
    ended_last_hour: Mapping[State, int]
    duties: Sequence[Duty]
