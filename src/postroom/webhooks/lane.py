"""What of one stream is told to one webhook, in order: what was, and what comes next. Pure."""

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime

from postroom.events.follow import Heard
from postroom.events.model import Stream

from .model import Reached

KEPT = 100
"""Entries that wait in memory; what lies behind them is read when it is their turn."""


@dataclass(eq=False, slots=True)
class Lane:
    stream: Stream
    seq: int  # up to here all were delivered, or are not wanted
    head: int  # the last one that is known to be there
    failures: int = 0  # in a row, of the event behind `seq`
    failing_since: datetime | None = None
    next_at: datetime | None = None
    due: float | None = None  # the same by the loop's clock, while it waits for that
    is_idle: bool = True  # nobody is to look at it before something comes
    queue: deque[Heard] = field(default_factory=deque)  # what follows `seq`, without a gap

    def came(self, heard: Heard) -> None:
        """What was seen before is nothing new."""
        entry = heard.entry
        if entry.seq <= self.head:
            return
        last = self.queue[-1].entry.seq if self.queue else self.seq
        if entry.seq == last + 1 and len(self.queue) < KEPT:
            self.queue.append(heard)
        self.head = entry.seq

    @property
    def is_behind(self) -> bool:
        return self.seq < self.head

    def passed(self) -> None:
        """The first of the queue was delivered, or is not wanted."""
        self._at(self.queue.popleft().entry.seq)

    def missed(self, until: int) -> None:
        """What followed `seq` is not in the log any more."""
        self._at(until)

    def _at(self, seq: int) -> None:
        self.seq, self.failures, self.failing_since, self.next_at = seq, 0, None, None

    def failed(self, at: datetime, again_at: datetime) -> None:
        self.failures += 1
        self.failing_since = self.failing_since or at
        self.next_at = again_at

    @property
    def reached(self) -> Reached:
        return Reached(self.stream, self.seq, self.failures, self.next_at, self.failing_since)
