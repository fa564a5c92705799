"""What of one stream is told to one webhook, in order: what was, and what comes next. Pure."""

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
    alone: int = 0  # of these failures, those before which the receiver took events of others
    taken: int = 0  # events of all lanes that it had taken when this one failed last
    # What follows `seq`, without a gap. A list: an empty deque is ten times as large, and most are empty.
    queue: list[Heard] = field(default_factory=list)

    def came(self, heard: Heard, most: int = KEPT) -> bool:
        """Whether it was queued, of which there may be so many. What was seen before is nothing new."""
        entry = heard.entry
        if entry.seq <= self.head:
            return False
        last = self.queue[-1].entry.seq if self.queue else self.seq
        is_next = entry.seq == last + 1 and len(self.queue) < most
        if is_next:
            self.queue.append(heard)
        self.head = entry.seq
        return is_next

    @property
    def is_behind(self) -> bool:
        return self.seq < self.head

    def passed(self) -> None:
        """The first of the queue was delivered, or is not wanted."""
        self._at(self.queue.pop(0).entry.seq)

    def missed(self, until: int) -> None:
        """What followed `seq` is not in the log any more."""
        self._at(until)

    def _at(self, seq: int) -> None:
        self.seq, self.failures, self.alone, self.failing_since, self.next_at = seq, 0, 0, None, None

    def failed(self, at: datetime, taken: int) -> None:
        """`taken`: so many events of all lanes the receiver has taken by now.

        What is queued is read again when its time has come: that may be days, and so may many others'.
        """
        self.queue.clear()
        self.alone += self.failures > 0 and taken > self.taken
        self.taken = taken
        self.failures += 1
        self.failing_since = self.failing_since or at

    @property
    def reached(self) -> Reached:
        return Reached(self.stream, self.seq, self.failures, self.next_at, self.failing_since)
