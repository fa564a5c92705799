"""What a query counts for Prometheus."""

import asyncio

from postroom.db.gauges import Gauges
from postroom.db.pool import Connection, Database


class Counter:
    """Counts how often it was asked; `shown` is what Prometheus would see."""

    def __init__(self) -> None:
        self.asked = 0
        self.shown: int | None = 7  # of an earlier time
        self.gauges = Gauges("test", self._clear, self._read, self._put)

    async def _read(self, conn: Connection) -> int:
        self.asked += int(await conn.fetchval("SELECT 1"))
        return self.asked

    def _clear(self) -> None:
        self.shown = None

    def _put(self, found: int) -> None:
        self.shown = found


async def test_whoever_asks_without_end_does_not_keep_the_database_busy(db: Database) -> None:
    counter = Counter()
    await asyncio.gather(*(counter.gauges.refresh(db) for _ in range(10)))

    assert (counter.asked, counter.shown) == (1, 1)


async def test_without_a_database_there_are_no_values_rather_than_old_ones() -> None:
    counter = Counter()
    await counter.gauges.refresh(Database("postgresql://nobody@/db?host=/nowhere", size=1, role=None))

    assert counter.shown is None
