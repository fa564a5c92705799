"""How a webhook does: since when it fails and with which code, and whether that is to be told. No I/O.

    a lane fails        from an event that the receiver does not take, until it does
    its courier stops   from the first time, until one has run for as long as it takes to be told of

The second is no receiver's: a secret that cannot be opened, a fault of ours. It outlives the courier, so that
a webhook whose couriers stop one after the other fails all the time.
"""

import random
from datetime import UTC, datetime, timedelta
from time import monotonic

from postroom import telemetry

from .lane import Lane
from .model import GONE, Webhook
from .pace import Pace


class Health:
    """Of one webhook, as it was under one fence."""

    def __init__(self, pace: Pace) -> None:
        self.is_told = False  # that it fails
        self.delivered_at: datetime | None = None
        self._pace = pace
        self._lanes: set[Lane] = set()  # that fail
        self._refused: str | None = None  # the code that a lane failed with last
        self._begun: float | None = None  # a courier, by a clock that nobody sets; None: it has stopped
        self._stops = 0  # one after the other
        self._stopped: str | None = None  # the code that a courier stopped with last
        self._stopped_since: datetime | None = None
        self._known_since: datetime | None = None  # that it failed, when a courier found it
        self._counted = 0

    def begins(self) -> None:
        """A courier that has all it needs, and is yet to find out which lanes fail."""
        self._lanes.clear()
        self._begun = monotonic()

    def found(self, webhook: Webhook) -> None:
        """As it is stored; a courier has read it."""
        self.is_told, self._refused = webhook.told_at is not None, webhook.failure
        self._known_since = webhook.failing_since

    def stops(self, code: str | None) -> timedelta:
        """Its courier; how long to wait before another begins. `code` None: for nothing of the webhook's."""
        if self._runs_well():
            self._stops, self._stopped_since, self._known_since = 0, None, None
        self._begun = None
        self._stops += 1
        if code is not None:
            self._stopped = code
            self._stopped_since = self._stopped_since or self._known_since or datetime.now(UTC)
        return self._pace.anew_after(self._stops, random.random())

    def fails(self, lane: Lane, code: str | None = None) -> None:
        """`code` None: it did so before."""
        self._lanes.add(lane)
        self._refused = code or self._refused

    def is_well(self, lane: Lane) -> None:
        self._lanes.discard(lane)

    @property
    def failing_since(self) -> datetime | None:
        since = [lane.failing_since for lane in self._lanes]
        if self._has_stopped():
            since.append(self._stopped_since)
        return min(filter(None, since), default=None)

    @property
    def failure(self) -> str | None:
        """The code of what fails; None: nothing does."""
        if self._has_stopped():
            return self._stopped
        return self._refused if self._lanes else None

    def is_to_be_told(self) -> bool:
        """Whether it counts as failing: for long enough, or by its own word; until it delivers, or until
        nothing has failed for as long.
        """
        since = self.failing_since
        if self.is_told:
            return since is not None or (self.delivered_at is None and not self._runs_well())
        if since is None or (not self._lanes and self._begun is not None):
            return False  # a courier that runs may have stopped for the last time
        return self.failure == GONE or datetime.now(UTC) - since >= self._pace.tell_after

    def count(self, *, is_over: bool = False) -> None:
        """Into the metric of the process. `is_over`: it delivers this webhook no more."""
        count = 0 if is_over else len(self._lanes) + self._has_stopped()
        telemetry.WEBHOOKS_FAILING.inc(count - self._counted)
        self._counted = count

    def _has_stopped(self) -> bool:
        return self._stopped_since is not None and not self._runs_well()

    def _runs_well(self) -> bool:
        return self._begun is not None and monotonic() - self._begun >= self._pace.tell_after.total_seconds()
