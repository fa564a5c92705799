"""Job queues side by side on one PostgreSQL: enqueue, drain, pick-up, and many jobs waiting on one key.

`pip install -e '.[dev,bench]'`, then `python -m bench.jobs -n 20000 -r 3`. PostgreSQL runs with fsync off:
what a disk adds to every commit is left out, in favour of those that commit once or more for each job.
"""

import argparse
import asyncio
import json
import logging
import multiprocessing
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence, Sized
from contextlib import asynccontextmanager, suppress
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path

import asyncpg
import uvloop

from bench.queues import LEFT, SIDES, Queue, install
from bench.report import Table, machine, spread
from postroom.db.embedded.client import running

POSTGRES = ["fsync=off", "max_connections=200"]
AT_ONCE = 10  # enqueues under way
RATE = 50.0  # jobs a second, one by one into an idle queue
LATE = 300  # of them, in each round
COLD = 20  # that come before them, and find connections to open and statements to prepare
WAITING, FREE = 3000, 1000
PATIENCE = 120  # seconds for these; a side that needs longer is shown with what it has done by then
NAMES = count(1)
PARTS = ("drain", "pickup", "key")

Figures = dict[str, defaultdict[str, list[float]]]
"""By side and by what was measured: one figure a round, or the latency of each job."""

SPREADS = {
    "enqueued": ("enqueued one by one, a second", 0),
    "enqueued in bulk": ("enqueued in one call, a second", 0),
    "drained": ("drained, a second", 0),
    "processor": ("processor time of one drained job in that process, us", 0),
    "free": (f"{FREE:,} free jobs behind {WAITING:,} of one key, s", 2),
    "all": ("and all of them, s", 2),
}
LATENCIES = {"pickup": "pick-up in the same process", "pickup elsewhere": "pick-up in another process"}


class Bench:
    """Each measurement of each side has a fresh database of one server."""

    def __init__(self, dsn: str, jobs: int) -> None:
        self.dsn, self.jobs = dsn, jobs
        self.found: Figures = {name: defaultdict(list) for name in SIDES}
        self.notes: list[str] = []

    async def round(self, only: Sequence[str]) -> None:
        for part, measure in (("drain", self._drain), ("pickup", self._pickup), ("key", self._key)):
            for name in SIDES:
                if part in only:
                    async with self._database(name) as dsn, SIDES[name](dsn) as queue:
                        await measure(name, dsn, queue)
                    print(f"{part}: {name}", file=sys.stderr)

    @asynccontextmanager
    async def _database(self, name: str) -> AsyncIterator[str]:
        called = f"bench_{next(NAMES)}"
        conn = await asyncpg.connect(self.dsn)
        await conn.execute(f"CREATE DATABASE {called}")
        dsn = self.dsn.replace("@/postgres?", f"@/{called}?")
        try:
            await install(name, dsn)
            yield dsn
        finally:
            await conn.execute(f"DROP DATABASE {called} WITH (FORCE)")
            await conn.close()

    async def _drain(self, name: str, dsn: str, queue: Queue) -> None:
        """Enqueue one by one, some at once; then the rest in one call; then run them all."""
        note = self.found[name]
        one_by_one, rest = range(self.jobs // 4), range(self.jobs // 4, self.jobs)
        numbers = iter(one_by_one)

        async def some() -> None:
            for number in numbers:
                await queue.enqueue(number)

        began = time.perf_counter()
        await asyncio.gather(*(some() for _ in range(AT_ONCE)))
        note["enqueued"].append(len(one_by_one) / (time.perf_counter() - began))
        began = time.perf_counter()
        await queue.enqueue_all(rest)
        note["enqueued in bulk"].append(len(rest) / (time.perf_counter() - began))
        await _analyze(dsn)
        ran: list[int] = []
        began, used = time.perf_counter(), time.process_time()
        async with queue.working(ran.append):
            await _until_done(name, dsn, ran, self.jobs)
            note["drained"].append(self.jobs / (time.perf_counter() - began))
            note["processor"].append((time.process_time() - used) / self.jobs * 1e6)
        assert sorted(ran) == list(range(self.jobs)), f"{name}: not every job ran exactly once"

    async def _pickup(self, name: str, dsn: str, queue: Queue) -> None:
        """From before the call that enqueues to the handler's first line."""
        ran: dict[int, float] = {}
        async with queue.working(lambda number: ran.update({number: time.perf_counter()})):
            asked = await _one_by_one(queue)
            await _until_done(name, dsn, ran, len(asked))
        self.found[name]["pickup"] += [ran[number] - asked[number] for number in range(LATE)]
        spawn = multiprocessing.get_context("spawn")
        here, there = spawn.Pipe()
        other = spawn.Process(target=_work, args=(name, dsn, there))
        other.start()
        await asyncio.to_thread(here.recv)
        asked = await _one_by_one(queue)
        await _until_done(name, dsn, (), 0)
        here.send("enough")
        ran = await asyncio.to_thread(here.recv)
        await asyncio.to_thread(other.join)
        self.found[name]["pickup elsewhere"] += [ran[number] - asked[number] for number in range(LATE)]

    async def _key(self, name: str, dsn: str, queue: Queue) -> None:
        """Many jobs of one key, enqueued before some free ones."""
        await queue.enqueue_all(range(WAITING), one_key=True)
        await queue.enqueue_all(range(WAITING, WAITING + FREE))
        await _analyze(dsn)
        ran: dict[int, float] = {}
        began = time.perf_counter()
        async with queue.working(lambda number: ran.update({number: time.perf_counter()})):
            with suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    await _until_done(name, dsn, ran, WAITING + FREE)
            self.found[name]["all"].append(time.perf_counter() - began)
            done = dict(ran)
        free = [when for number, when in done.items() if number >= WAITING]
        self.found[name]["free"].append(max(free) - began if len(free) == FREE else PATIENCE)
        if len(done) < WAITING + FREE:
            self.notes.append(
                f"{name} was stopped after {PATIENCE} s: {len(free):,} of {FREE:,} free jobs were through, "
                f"{len(done) - len(free):,} of the {WAITING:,}.\n"
            )


async def _one_by_one(queue: Queue) -> dict[int, float]:
    """When each job was asked for."""
    asked: dict[int, float] = {}
    began = time.perf_counter()
    for turn, number in enumerate(range(-COLD, LATE)):
        await asyncio.sleep(max(0.0, began + turn / RATE - time.perf_counter()))
        asked[number] = time.perf_counter()
        await queue.enqueue(number)
    return asked


def _work(name: str, dsn: str, pipe: Connection) -> None:
    """The other process: run jobs until told that it is enough, then tell when each of them came."""
    logging.disable(logging.WARNING)
    pipe.send(uvloop.run(_working(name, dsn, pipe)))


async def _working(name: str, dsn: str, pipe: Connection) -> dict[int, float]:
    ran: dict[int, float] = {}
    async with (
        SIDES[name](dsn) as queue,
        queue.working(lambda number: ran.update({number: time.perf_counter()})),
    ):
        await asyncio.sleep(1)  # until it listens; what comes too early is among the cold ones
        pipe.send("works")
        await asyncio.to_thread(pipe.recv)
    return ran  # the clock is one for all processes


async def _until_done(name: str, dsn: str, ran: Sized, jobs: int) -> None:
    """All of them ran, and the database says so."""
    conn = await asyncpg.connect(dsn)
    while len(ran) < jobs or await conn.fetchval(LEFT[name]):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    await conn.close()


async def _analyze(dsn: str) -> None:
    conn = await asyncpg.connect(dsn)
    await conn.execute("VACUUM ANALYZE")
    await conn.close()


def table(found: Figures, jobs: int) -> Table:
    result = Table(f"Job queues, one process each, {jobs:,} jobs", ["", *found])
    for what, (title, digits) in SPREADS.items():
        if all(what in figures for figures in found.values()):
            result.add(title, *(spread(figures[what], digits) for figures in found.values()))
    for what, title in LATENCIES.items():
        if all(what in figures for figures in found.values()):
            for title_of, part in (("p50", 0.5), ("p99", 0.99)):
                cells = [f"{_at(figures[what], part) * 1000:.1f}" for figures in found.values()]
                result.add(f"{title}, {title_of}, ms", *cells)
    for name, side in SIDES.items():
        result.note(f"{name}: {side.settings}.\n")
    return result


def _at(values: Sequence[float], part: float) -> float:
    return sorted(values)[int(part * len(values))]


async def _run(jobs: int, rounds: int, only: Sequence[str]) -> tuple[Figures, list[str]]:
    with tempfile.TemporaryDirectory() as folder:
        async with running(Path(folder, "data"), POSTGRES) as dsn:
            bench = Bench(dsn, jobs)
            for _ in range(rounds):
                await bench.round(only)
            return bench.found, bench.notes


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("only", nargs="*", help=f"{', '.join(PARTS)}; by default all")
    options.add_argument("-n", "--jobs", type=int, default=10_000)
    options.add_argument("-r", "--rounds", type=int, default=3)
    options.add_argument("--json", type=Path, help="write the figures there as well")
    chosen = options.parse_args()
    logging.disable(logging.WARNING)
    load = os.getloadavg()[0]
    found, notes = uvloop.run(_run(chosen.jobs, chosen.rounds, chosen.only or PARTS))
    result = table(found, chosen.jobs)
    result.notes += notes
    print(f"{machine()}; load before {load:.1f}, after {os.getloadavg()[0]:.1f}\n\n{result}")
    if chosen.json:
        chosen.json.write_text(
            json.dumps({"machine": machine(), "load": load, "figures": found, "notes": notes})
        )


if __name__ == "__main__":
    main()
