"""`python -m bench.streams`: streams of jobs from one server process, and how soon each tells what is said.

The server is a process of its own, as `postroom up` runs it. Whoever says things, and all who listen, are in
this one; a delivery is the time from the return of an event's COMMIT here to the reading of its line here.
"""

import argparse
import asyncio
import random
import re
import secrets
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import asyncpg
import uvloop

from bench.report import Table, machine
from postroom.api.app import create_app
from postroom.api.live import live
from postroom.cli.listening import listening
from postroom.cli.serving import serving
from postroom.cli.settled import settled
from postroom.db.beside import beside
from postroom.db.embedded.client import running
from postroom.db.listen import open_hints
from postroom.db.migrate import migrate
from postroom.db.pool import Database, open_pool
from postroom.ids import TenantId
from postroom.jobs import store
from postroom.jobs.model import Job, Progress, Wish
from postroom.jobs.store import queue
from postroom.net.egress import Egress
from postroom.people import keys
from postroom.providers.registry import Registry
from postroom.settings import Settings
from postroom.vault.seal import Key, Vault

TENANT = TenantId(1)
KIND = "bench.speak"
GOAL = 0.1  # seconds, of 99 deliveries in a hundred
SETTLE = 2.0  # seconds before anything is measured
STATUS, ID = b"event: job_status", re.compile(rb"\nid: (\d+)\n")
MAKE = "INSERT INTO postroom.people_tenant (public_id, name) VALUES (gen_random_uuid(), 'bench')"


@dataclass(slots=True)
class Heard:
    """When events were committed, and how long each took to each stream."""

    committed: dict[int, float] = field(default_factory=dict)
    early: dict[int, list[float]] = field(default_factory=dict)  # read before COMMIT had returned to us
    times: list[float] = field(default_factory=list)

    def commit(self, number: int, at: float) -> None:
        self.committed[number] = at
        self.times += [max(0.0, read - at) for read in self.early.pop(number, ())]

    def read(self, number: int, at: float) -> None:
        if number in self.committed:
            self.times.append(at - self.committed[number])
        else:
            self.early.setdefault(number, []).append(at)

    def part(self, share: float) -> float:
        return sorted(self.times)[min(len(self.times) - 1, int(share * len(self.times)))]


def run(streams: int, seconds: float) -> Table:
    """So many streams, each of its own job and then all of one."""
    return uvloop.run(_run(streams, seconds))


async def _run(streams: int, seconds: float) -> Table:
    heads = ["", "deliveries", "p50", "p99", "most", "server: memory before", "with them", "processor"]
    table = Table(f"{streams:,} streams from one process", heads)
    with tempfile.TemporaryDirectory() as folder:
        async with running(Path(folder, "data"), ["fsync=off"]) as dsn:
            await migrate(dsn)
            conn = await asyncpg.connect(dsn)
            await conn.execute(MAKE)
            await conn.close()
            async with open_pool(dsn, size=4) as db, open_hints(db):
                jobs = await _jobs(db, streams)
                _, key = await keys.create(db, TENANT, "bench")
                for title, followed, rate in (
                    ("each of its own job, 200 events a second", jobs, 200.0),
                    ("all of one job, 5 events a second", jobs[:1] * streams, 5.0),
                ):
                    async with server(dsn) as (process, port):
                        await _measure(table, title, db, followed, rate, seconds, process, port, key)
    return table


async def _jobs(db: Database, count: int) -> list[Job]:
    async with db.transaction(TENANT) as conn:
        await store.enqueue(conn, TENANT, [Wish(KIND) for _ in range(count)])
    async with db.unbound() as conn:
        return await queue.claim(conn, "bench 1 1", [KIND], count, timedelta(hours=1), 0)


async def _measure(
    table: Table,
    title: str,
    db: Database,
    followed: list[Job],
    rate: float,
    seconds: float,
    process: int,
    port: int,
    key: str,
) -> None:
    heard, opened = Heard(), asyncio.Semaphore(0)
    before = memory(process)
    listening = [_listen(port, key, job, heard, opened.release) for job in followed]
    async with beside(*listening):
        for _ in followed:
            await opened.acquire()
        await asyncio.sleep(SETTLE)
        began, used = time.monotonic(), processor(process)
        await _speak(db, list({job.id: job for job in followed}.values()), rate, seconds, heard)
        share = (processor(process) - used) / (time.monotonic() - began)
        await asyncio.sleep(1)
        after = memory(process)
    p99 = heard.part(0.99)
    expected = len(heard.committed) * (len(followed) // len({job.id for job in followed}))
    assert len(heard.times) == expected, f"{len(heard.times)} of {expected} were delivered"
    times = [f"{value * 1000:.1f} ms" for value in (heard.part(0.5), p99, max(heard.times))]
    sizes = [f"{before / 2**20:.0f} MB", f"{after / 2**20:.0f} MB"]
    table.add(title, f"{len(heard.times):,}", *times, *sizes, f"{share:.0%} of a core")
    verdict = "reached" if p99 < GOAL else "missed"
    table.note(f"{title.capitalize()}: p99 {p99 * 1000:.1f} ms (goal {GOAL * 1000:.0f} ms, {verdict}).")


async def _speak(db: Database, jobs: list[Job], rate: float, seconds: float, heard: Heard) -> None:
    """At random moments, `rate` times a second on average, a random one of these jobs says something."""
    rng, at = random.Random(1), time.monotonic()
    until = at + seconds
    async with asyncio.TaskGroup() as group:
        while (at := at + rng.expovariate(rate)) < until:
            await asyncio.sleep(at - time.monotonic())
            group.create_task(_say(db, rng.choice(jobs), heard))


async def _say(db: Database, job: Job, heard: Heard) -> None:
    async with db.transaction(TENANT) as conn:
        number = await store.say(
            conn, job, "Copied a batch of messages.", data={"folder": "INBOX", "added": 50}
        )
        await store.progress(conn, job, Progress(number, 1_000_000, number))
    heard.commit(number, time.monotonic())


class Listener(asyncio.Protocol):
    """Reads the ids of one stream; a whole client for each would be slower than the server."""

    def __init__(self, heard: Heard, opened: Callable[[], None]) -> None:
        self._heard, self._opened, self._is_open, self._rest = heard, opened, False, b""
        self.ended = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        at, self._rest = time.monotonic(), self._rest + data
        if not self._is_open:
            if STATUS in self._rest:
                self._is_open, self._rest = True, b""
                self._opened()
            return
        end = 0
        for found in ID.finditer(self._rest):
            end = found.end() - 1
            self._heard.read(int(found[1]), at)
        self._rest = self._rest[end:][-100:]

    def connection_lost(self, _error: Exception | None) -> None:
        self.ended.set()


async def _listen(port: int, key: str, job: Job, heard: Heard, opened: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    transport, listener = await loop.create_connection(lambda: Listener(heard, opened), "127.0.0.1", port)
    try:
        head = f"GET /v1/jobs/{job.public_id}/events HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {key}"
        transport.write(f"{head}\r\n\r\n".encode("ascii"))
        await listener.ended.wait()
        raise EOFError("the server has ended a stream")
    finally:
        transport.close()


@asynccontextmanager
async def server(
    dsn: str, flag: str = "--serve", module: str = "bench.streams"
) -> AsyncIterator[tuple[int, int]]:
    """The numbers of its process and its port."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        flag,
        dsn,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        port = int(await process.stdout.readline())
        async with beside(_pass_over(process.stdout)):
            yield process.pid, port
    finally:
        process.stdin.close()  # by which it knows that it shall end
        await process.wait()


async def _pass_over(lines: asyncio.StreamReader) -> None:
    """Its log: it would wait for somebody to read that."""
    while await lines.read(1 << 16):
        pass


async def serve(dsn: str) -> None:
    async with open_pool(dsn) as db, open_hints(db) as hints, live(db, hints) as news:
        vault = Vault([Key.derived(secrets.token_bytes(32))])
        unlimited = Settings(rate_limit_per_minute=0)
        app = create_app(db, unlimited, vault, Registry(Egress(private_allowed=True)), news)
        with listening("127.0.0.1", 0) as listener, settled():
            async with serving(app, listener):
                print(listener.getsockname()[1], flush=True)
                await asyncio.to_thread(sys.stdin.read)


def memory(process: int) -> int:
    """Bytes that it has in memory."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) * 1024


def processor(process: int) -> float:
    """Seconds of processor time that it has used."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("-n", "--streams", type=int, default=500)
    options.add_argument("-s", "--seconds", type=float, default=20)
    options.add_argument("--serve", metavar="DSN", help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.serve:
        uvloop.run(serve(chosen.serve))
        return
    print(f"{machine()}\n", flush=True)
    print(run(chosen.streams, chosen.seconds), flush=True)


if __name__ == "__main__":
    main()
