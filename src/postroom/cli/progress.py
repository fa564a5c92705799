"""How far syncs are: a bar for each account on a terminal, a line now and then anywhere else.

Both go to standard error, so that standard output holds results only.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, nullcontext
from time import monotonic

from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from postroom.cli import screen
from postroom.db.beside import beside
from postroom.sync.model import Counts

REFRESH_SECONDS = 0.2
LINE_SECONDS = 5.0


class Pace:
    """Messages a second of late, so that the time left follows a change of speed."""

    def __init__(self) -> None:
        self._seen: tuple[float, int] | None = None
        self.rate = 0.0

    def update(self, done: int, now: float) -> None:
        if self._seen is None:
            self._seen = (now, done)
        elif (passed := now - self._seen[0]) >= 1:
            fresh = (done - self._seen[1]) / passed
            self.rate = fresh if not self.rate else 0.7 * self.rate + 0.3 * fresh
            self._seen = (now, done)


def told(counts: Counts, rate: float) -> str:
    """`1,200/20,000 messages  33.1 MB  250/s  1:15 left`."""
    parts = [f"{counts.done:,}/{counts.total:,} messages", screen.amount(counts.bytes)]
    return "  ".join(parts + paced(counts.total - counts.done, rate))


def paced(left: int, rate: float) -> list[str]:
    """`250/s` and `1:15 left`, as far as there is anything to say of them."""
    if rate < 1:
        return []
    return [f"{rate:,.0f}/s", *([f"{screen.duration(left / rate)} left"] if left > 0 else [])]


class _Told(ProgressColumn):
    """The numbers beside a bar."""

    def __init__(self, syncs: Mapping[str, Counts], paces: Mapping[str, Pace]) -> None:
        super().__init__()
        self._syncs, self._paces = syncs, paces

    def render(self, task: Task) -> Text:
        return Text(told(self._syncs[task.description], self._paces[task.description].rate))


@asynccontextmanager
async def shown(syncs: Mapping[str, Counts], *, quiet: bool = False) -> AsyncIterator[None]:
    """Show how far these syncs are, by address, while the block runs; each Counts is watched as it grows."""
    paces = {address: Pace() for address in syncs}
    showing = _bars if sys.stderr.isatty() else _lines
    async with nullcontext() if quiet else beside(showing(syncs, paces)):
        yield


async def _bars(syncs: Mapping[str, Counts], paces: Mapping[str, Pace]) -> None:
    columns = (TextColumn("{task.description}", markup=False), BarColumn(24), _Told(syncs, paces))
    with Progress(*columns, console=screen.console(stderr=True), auto_refresh=False, transient=True) as bars:
        tasks = {address: bars.add_task(address, total=None) for address in syncs}
        while True:
            for address, counts in syncs.items():
                paces[address].update(counts.done, monotonic())
                bars.update(tasks[address], completed=counts.done, total=counts.total or None)
            bars.refresh()
            await asyncio.sleep(REFRESH_SECONDS)


async def _lines(syncs: Mapping[str, Counts], paces: Mapping[str, Pace]) -> None:
    shown_at = monotonic()
    while True:
        await asyncio.sleep(1)
        now = monotonic()
        for address, counts in syncs.items():
            paces[address].update(counts.done, now)
        if now - shown_at >= LINE_SECONDS:
            shown_at = now
            for address, counts in syncs.items():
                if counts.done < counts.total:
                    screen.warn(f"{screen.line(address)}: {told(counts, paces[address].rate)}")
