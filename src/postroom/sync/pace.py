"""How often watched accounts are looked at, logged in to, and shared among processes. Pure.

`roll` is a random number from 0 to 1 that the caller throws.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from postroom.providers.kept import ANSWER

SWEEPS = 5.0  # a second in one process, at most
PROBES = 50.0  # a second in one process, from which on they are made more seldom
TICK = timedelta(seconds=0.5)  # between two looks at what is due
BRIEF = timedelta(minutes=1)  # a session that told for less ended soon
BUSY = timedelta(minutes=1)  # at most, before an account that somebody else is at is tried again
LONGEST = timedelta(minutes=5)  # without a session, where they keep on ending soon
CANNOT = timedelta(minutes=30)  # before a server that does not tell is asked again
SLACK = 1.1  # times its share that a process may have before it lets go of some


@dataclass(frozen=True, slots=True)
class Pace:
    """As the installation's settings have it."""

    swept: timedelta = timedelta(seconds=60)  # so often the folders that IDLE does not tell of
    silence: timedelta = timedelta(minutes=2)  # in which a dead session is noticed; a minute at least

    def sweep(self, every: timedelta, idling: int) -> timedelta:
        """The interval of an account whose server tells of one folder only, if it were polled `every` else.

        `idling` is how many such accounts this process has: with many of them all are looked at more seldom,
        but never more seldom than they would be without being watched.
        """
        return min(every, max(self.swept, timedelta(seconds=idling / SWEEPS)))

    def probe(self, listening: int) -> timedelta:
        """After how much silence one of so many sessions is asked whether it still listens."""
        return min(self.silence * 3 / 4, max(self.silence / 3, timedelta(seconds=listening / PROBES)))

    def probes(self, accounts: int) -> int:
        """How many sessions to ask in a tick, at most, where a process has so many.

        If all fell silent in one moment, each has still been asked, and had its time to answer, within
        `silence`: what is left of that after `probe` is shared among them.
        """
        left = self.silence / 4 - timedelta(seconds=ANSWER) - 2 * TICK
        return math.ceil(accounts / max(1.0, left / TICK))


def back_after(brief: int, roll: float) -> timedelta:
    """How long to wait before an account whose session has ended is polled again: full jitter.

    `brief` counts those in a row that ended soon. A server that restarts ends thousands at once.
    """
    return min(timedelta(seconds=0.5) * (1 << min(brief, 20)), LONGEST) * roll


def again_after(tries: int, roll: float) -> timedelta:
    """How long to wait before an account that somebody else is at is polled: after so many tries in a row."""
    return min(timedelta(seconds=0.5) * (1 << min(tries, 20)), BUSY) * (0.5 + roll)


def share(accounts: int, of: Mapping[str, int]) -> int:
    """How many of all accounts each of the processes `of` may watch."""
    return -(-accounts // max(1, len(of)))


def surplus(held: int, accounts: int, of: Mapping[str, int]) -> int:
    """How many accounts a process lets go of, because another one has less than its share."""
    fair = share(accounts, of)
    is_wanted = any(theirs < fair / SLACK for theirs in of.values())
    return held - fair if is_wanted and held > fair * SLACK else 0
