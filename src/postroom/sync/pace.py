"""How often watched accounts are looked at, logged in to, and shared among processes. Pure.

`roll` is a random number from 0 to 1 that the caller throws.
"""

from collections.abc import Mapping
from datetime import timedelta

SWEEP = timedelta(seconds=60)  # of the folders that IDLE does not tell of
SWEEPS = 5.0  # a second in one process, at most
PROBE = timedelta(seconds=40), timedelta(seconds=100)  # of silence; with its patience at most two minutes
PROBES = 50.0  # a second in one process, from which on they are made more seldom
BRIEF = timedelta(minutes=1)  # a session that told for less ended soon
LONGEST = timedelta(minutes=30)  # without a session, where they keep on ending soon
SLACK = 1.1  # times its share that a process may have before it lets go of some


def sweep(every: timedelta, idling: int) -> timedelta:
    """The interval of an account whose server tells of one folder only, if it were polled `every` otherwise.

    `idling` is how many such accounts this process has: with many of them all are looked at more seldom, but
    never more seldom than they would be without being watched.
    """
    return min(every, max(SWEEP, timedelta(seconds=idling / SWEEPS)))


def probe(listening: int) -> timedelta:
    """After how much silence one of so many sessions is asked whether it still listens."""
    soonest, latest = PROBE
    return min(latest, max(soonest, timedelta(seconds=listening / PROBES)))


def back_after(brief: int, roll: float) -> timedelta:
    """How long to wait before an account whose session has ended is polled again: full jitter.

    `brief` counts those in a row that ended soon. A server that restarts ends thousands at once.
    """
    return min(timedelta(seconds=0.5) * (1 << min(brief, 20)), LONGEST) * roll


def again_after(tries: int, roll: float) -> timedelta:
    """How long to wait before an account that somebody else is at is polled: after so many tries in a row."""
    return min(timedelta(seconds=0.5) * (1 << min(tries, 20)), SWEEP) * (0.5 + roll)


def share(accounts: int, of: Mapping[str, int]) -> int:
    """How many of all accounts each of the processes `of` may watch."""
    return -(-accounts // max(1, len(of)))


def surplus(held: int, accounts: int, of: Mapping[str, int]) -> int:
    """How many accounts a process lets go of, because another one has less than its share."""
    fair = share(accounts, of)
    is_wanted = any(theirs < fair / SLACK for theirs in of.values())
    return held - fair if is_wanted and held > fair * SLACK else 0
