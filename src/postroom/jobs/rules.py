"""What the end of a try means for a job. Pure: no clock, no dice.

returned                 completed
NotNow, handed back      waits again, and that was no failure
the database was away    the same, unless that has happened too often in a row: it may be the job that does it
cancelled by somebody    cancelled
TryLater, Broken, a bug  waits again, twice as long after each failure, until it was tried too often: failed
anything else of ours    failed: trying again would not help

A job that leaves no row where it finds nothing is not tried again for an error that has a name: whoever
schedules it does that.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import orjson

from postroom.db.model import DATABASE_AWAY
from postroom.errors import Broken, PostroomError, TryLater

from .model import Job, Reason

FIRST_RETRY = timedelta(seconds=60)
CUTS = 5  # in a row, that count for nothing
AFTER_CUT = timedelta(seconds=1)
SLOW = timedelta(seconds=0.25)  # for a statement that takes a few milliseconds
LONGEST_REST = timedelta(seconds=10)
LONGEST_WAIT = timedelta(days=1)  # whatever a server says
LONGEST_MESSAGE = 2000  # characters
LARGEST_RESULT = 16 << 20  # bytes of JSON
LOST = Reason("jobs.executor_lost", "The process that ran it is gone.")
CRASHED = Reason("jobs.crashed", "A fault of postroom ended it; the log of the executor tells more.")


def retry_after(job: Job, error: BaseException, roll: float) -> timedelta | None:
    """How long a job that failed waits for its next try; None when there is none. `roll`: from 0 to 1."""
    is_known = isinstance(error, PostroomError)
    if is_known and not (job.is_kept and isinstance(error, TryLater | Broken)):
        return None
    if job.failures + 1 >= job.tries:
        return None
    doubled = FIRST_RETRY * (1 << min(job.failures, 20))
    wait = error.wait if isinstance(error, TryLater) else timedelta()
    return bounded(max(doubled, wait)) * (1 + roll / 10)


def after_cut(job: Job, error: BaseException) -> timedelta | None:
    """How long a job waits under which the database was away; None: it was not, or too often in a row."""
    if not isinstance(error, DATABASE_AWAY) or job.cuts >= CUTS:
        return None
    wait = error.wait if isinstance(error, TryLater) else timedelta()
    return max(AFTER_CUT * (1 << job.cuts), wait)


def rest(took: timedelta) -> timedelta:
    """How long no more jobs are taken after the database took so long to give some: it has enough to do."""
    return timedelta() if took < SLOW else min(2 * took, LONGEST_REST)


def bounded(wait: timedelta) -> timedelta:
    return min(wait, LONGEST_WAIT)


def reason(error: BaseException) -> Reason:
    """What its owner is told, in characters that PostgreSQL can store."""
    if not isinstance(error, PostroomError):
        return CRASHED
    message = error.message[:LONGEST_MESSAGE].replace("\0", "\ufffd")
    return Reason(error.code, message.encode("utf-8", "replace").decode())


def storable(result: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """The result, when PostgreSQL can hold it. Raises `TypeError` or `ValueError`: a fault of who gave it."""
    if result is None:
        return None
    written = orjson.dumps(dict(result))
    if len(written) > LARGEST_RESULT:
        raise ValueError("the result is too large")
    if b"\\u0000" in written.replace(rb"\\", b""):  # what is left of backslashes escapes something
        raise ValueError("the result holds a NUL character")
    return result


def worker_named(holder: str) -> str:
    """A holder for people: enough of its machine to tell it from others, and its process."""
    match holder.split(" "):
        case [machine, process, _]:
            return f"{machine[:8]}.{process}"
    return holder
