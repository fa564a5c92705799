"""When an account is synced next. Pure: no clock, no dice.

`roll` is a random number from 0 to 1 that the caller throws: without it, accounts that failed together
would come back together.
"""

from datetime import datetime, timedelta

FIRST_RETRY = timedelta(minutes=1)
LONGEST_BACKOFF = timedelta(hours=6)
SPREAD = 0.1  # of an interval, so that accounts connected together drift apart


def after_success(now: datetime, every: timedelta, roll: float) -> datetime:
    """One interval later, give or take a tenth."""
    return now + every * (1 - SPREAD + 2 * SPREAD * roll)


def after_failure(
    now: datetime, every: timedelta, failures: int, wait: timedelta | None, roll: float
) -> datetime:
    """Twice as long after each of `failures` in a row (this one included), never before `wait` is over.

    A mailbox that is polled less often than we back off keeps its own interval.
    """
    doubled = FIRST_RETRY * (1 << min(max(failures - 1, 0), 20))
    pause = min(doubled, max(LONGEST_BACKOFF, every))
    pause = max(pause, wait or timedelta())
    return now + pause * (1 + roll / 4)
