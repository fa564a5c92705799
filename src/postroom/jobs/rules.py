"""What the end of a try means for a job. Pure: no clock, no dice.

returned                 completed
NotNow, handed back      waits again, and that was no failure
cancelled by somebody    cancelled
TryLater, Broken, a bug  waits again, twice as long after each failure, until it was tried too often: failed
anything else of ours    failed: trying again would not help

A job that leaves no row where it finds nothing is not tried again for an error that has a name: whoever
schedules it does that.
"""

from datetime import timedelta

from postroom.errors import Broken, PostroomError, TryLater

from .model import Job, Reason

FIRST_RETRY = timedelta(seconds=60)
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
    return max(doubled, wait) * (1 + roll / 10)


def reason(error: BaseException) -> Reason:
    """What its owner is told."""
    return Reason(error.code, error.message) if isinstance(error, PostroomError) else CRASHED
