"""Send messages of the jobs that are ready, to a broker that may lose, delay or double them.

      row ready ──> published_at, committed ──> message ──> somebody takes the row, if it is still ready
          ^                                        │
          └──────── lost: after a while ───────────┘

Few messages wait at the broker at any time: so tenants keep taking turns, and what is urgent overtakes.
"""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Protocol

import structlog

from postroom.db.beside import beside
from postroom.db.listen import Hearing, Hints
from postroom.db.model import DATABASE_AWAY
from postroom.db.pool import Database
from postroom.errors import TryLater
from postroom.jobs.model import READY
from postroom.jobs.store import published
from postroom.jobs.store.published import Address

MOST = 200  # messages that wait at the broker; from half of it on none are added
GATHER = timedelta(milliseconds=20)
LOST = timedelta(seconds=5)  # so old is a message that should have been taken, when none waits
LATE = timedelta(minutes=5)  # and so old when others wait, which may be its fellows

logger = structlog.get_logger()


class BrokerAway(TryLater):
    """The broker of messages does not answer. Jobs are kept; they are told of when it is back."""

    code = "executor.broker_away"


class Broker(Protocol):
    """Where messages wait. Both calls block, and raise `BrokerAway`."""

    def waiting(self) -> int:
        """How many messages nobody has taken yet."""

    def send(self, addresses: Sequence[Address]) -> None: ...


class Publisher:
    """Any number of them, in any processes, may work over one database."""

    def __init__(self, db: Database, hints: Hints, kinds: Sequence[str], broker: Broker) -> None:
        self._db, self._hints, self._kinds, self._broker = db, hints, kinds, broker
        self._wake = asyncio.Event()
        self._one = asyncio.Lock()
        self._turn = 0
        self._is_full = True

    async def publish(self) -> int:
        """Send messages of jobs that are ready and not told of, or whose messages are lost; how many.

        Raises `BrokerAway`, and what `db` raises.
        """
        async with self._one:
            waiting = await asyncio.to_thread(self._broker.waiting)
            room = 0 if waiting > MOST // 2 else MOST - waiting
            found = await self._choose(room, LATE if waiting else LOST) if room else []
            self._is_full = len(found) == room
            if found:
                self._turn = found[-1].tenant
                await asyncio.to_thread(self._broker.send, found)
            return len(found)

    async def publishing(self) -> None:
        """Publish whenever a hint says that a job is ready, until cancelled. Hints may be lost: sweep too."""
        with self._hints.hear(READY) as ready:
            async with beside(self._hearing(ready)):
                while True:
                    await self._wake.wait()
                    self._wake.clear()
                    try:
                        await self.publish()
                    except (BrokerAway, *DATABASE_AWAY) as error:
                        logger.warning("executor.not_published", code=error.code)
                    await asyncio.sleep(GATHER.total_seconds())

    def taken(self) -> None:
        """A message has left the broker: there may be room for what had none."""
        if self._is_full:
            self._wake.set()

    async def _hearing(self, ready: Hearing) -> None:
        async for _ in ready:
            self._wake.set()

    async def _choose(self, room: int, again: timedelta) -> list[Address]:
        async with self._db.unbound() as conn:
            return await published.publish(conn, self._kinds, room, again, self._turn)
