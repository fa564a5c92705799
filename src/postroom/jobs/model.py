"""The nouns of jobs: what is wanted, what waits, what runs, and what became of it.

             ┌ retry, gave way, handed back, executor lost ┐
             v                                             │
enqueue ─> pending ──────────────claim──────────────> running ──> completed
             │                                             ├────> failed, when tried too often or in vain
             └────────────────cancel──────────> cancelled <┘
failed, cancelled ─requeue─> pending
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NewType
from uuid import UUID

from postroom import errors
from postroom.ids import AccountId, TenantId

JobId = NewType("JobId", int)

READY, CHANGED, STOP = "jobs", "job", "stop"  # hints: one may run; this one has news; this one shall stop
TRIES = 3
LIMIT = timedelta(hours=1)


class State(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


OVER = frozenset({State.COMPLETED, State.FAILED, State.CANCELLED})


class Level(StrEnum):
    """How much an event of a job matters to whoever follows it."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Wish:
    """A job that is wanted."""

    kind: str  # its room, a dot, what is done
    args: Mapping[str, Any] = field(default_factory=dict)  # what JSON can hold
    account: AccountId | None = None
    key: str | None = None  # of two jobs with one key only one runs at a time
    dedupe: str | None = None  # where one with the same waits already, this one is merged with it
    priority: int = 0  # the higher, the sooner, among those of one tenant
    run_at: datetime | None = None  # not before; as soon as may be
    tries: int = TRIES
    limit: timedelta = LIMIT  # how long one try may take
    is_kept: bool = True  # False: where it finds nothing its row goes, and its trouble is told elsewhere
    wait: timedelta | None = None  # not before so long has passed, by the clock of the database

    def __post_init__(self) -> None:
        if "." not in self.kind:
            raise ValueError(f"{self.kind!r} names no room")


@dataclass(frozen=True, slots=True)
class Enqueued:
    """What a wish became: a job of its own, or one that waited already."""

    id: JobId
    public_id: UUID
    is_merged: bool


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is. None of these ever gets smaller."""

    processed: int = 0
    total_estimate: int | None = None
    items_found: int = 0


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a job failed, or is tried again."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it stands. `attempts` is its fence: it grows each time that somebody takes it.

    `is_behind`: it waits because another one of its key runs. `cuts`: under how many tries in a
    row, up to the one before this, the database was away.
    """

    id: JobId
    public_id: UUID
    tenant_id: TenantId
    kind: str
    account_id: AccountId | None
    key: str | None
    args: Mapping[str, Any]
    priority: int
    tries: int
    limit: timedelta
    state: State
    run_at: datetime
    is_behind: bool
    attempts: int
    failures: int
    holder: str | None
    cancel_requested: bool
    is_kept: bool
    gave_way: int  # so often, to let others have their turn
    progress: Progress
    tally: Mapping[str, int]  # what its tries have stored, by name
    error: Reason | None
    result: Mapping[str, Any] | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    cuts: int


@dataclass(frozen=True, slots=True)
class JobEvent:
    """Something that a job had to say. Its number grows along a job."""

    id: int
    at: datetime
    level: Level
    message: str
    data: Mapping[str, Any]


class NoSuchJob(errors.NotFound):
    code = "jobs.not_found"


class Ambiguous(errors.Invalid):
    """More than one job's id begins like this."""

    code = "jobs.ambiguous"


class IsOver(errors.Conflict):
    """It has ended already; there is nothing to cancel."""

    code = "jobs.is_over"


class NotOver(errors.Conflict):
    """It waits or runs; there is nothing to do again."""

    code = "jobs.not_over"


class JobLost(errors.TryLater):
    """Somebody else has taken the job, or it was cancelled: what this try wants to write is refused."""

    code = "jobs.lost"


class NotNow(errors.TryLater):
    """Something is in the way; the job waits for `wait` once more, and that is no failure of its."""

    code = "jobs.not_now"


class TookTooLong(errors.TryLater):
    """One try of a job took longer than it may."""

    code = "jobs.took_too_long"
