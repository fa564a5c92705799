"""How long an account waits for its next sync. Pure: no clock, no dice.

`roll` is a random number from 0 to 1 that the caller throws: without it, accounts that failed together
would come back together.
"""

from datetime import timedelta

FIRST_RETRY = timedelta(minutes=1)
LONGEST_BACKOFF = timedelta(hours=6)
LONGEST_AWAY = timedelta(minutes=15)  # where a server cannot be reached, which may be our network's fault
SPREAD = 0.1  # of an interval, so that accounts connected together drift apart


def after_success(every: timedelta, roll: float) -> timedelta:
    """One interval, give or take a tenth."""
    return every * (1 - SPREAD + 2 * SPREAD * roll)


def after_failure(
    every: timedelta,
    failures: int,
    wait: timedelta | None,
    roll: float,
    longest: timedelta = LONGEST_BACKOFF,
) -> timedelta:
    """Twice as long after each of `failures` in a row (this one included), never before `wait` is over.

    A mailbox that is polled less often than we back off keeps its own interval.
    """
    doubled = FIRST_RETRY * (1 << min(max(failures - 1, 0), 20))
    pause = min(doubled, max(longest, every))
    pause = max(pause, wait or timedelta())
    return pause * (1 + roll / 4)
