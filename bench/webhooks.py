"""`python -m bench.webhooks`: events posted to 50 receivers by one process.

The process that delivers is one of its own, as an executor has it. Whoever writes the log, and all
receivers, are in this one; a delivery is the time from the return of an event's COMMIT here until its request
is read here.
"""

import argparse
import asyncio
import re
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import cast

import asyncpg
import uvloop

from bench.report import Table, machine
from bench.streams import memory, processor
from postroom.db.embedded.client import running
from postroom.db.listen import open_hints
from postroom.db.migrate import migrate
from postroom.db.pool import Database, open_pool
from postroom.events import log
from postroom.events.model import Event, Stream
from postroom.ids import TenantId
from postroom.net.egress import Egress
from postroom.vault.seal import Key, Vault
from postroom.webhooks import change
from postroom.webhooks.run import delivering

GOAL = 500  # deliveries a second
ACCOUNTS = 20  # streams of each tenant
MATERIAL = b"a secret of this installation"
PLACE = re.compile(rb'"stream":(\d+),"seq":(\d+)')
LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
OK = b"HTTP/1.1 204 No Content\r\n\r\n"
MAKE = """
    INSERT INTO postroom.people_tenant (public_id, name)
    SELECT gen_random_uuid(), 'bench ' || n FROM generate_series(1, 50) AS n
"""
ADDED = Event("mail.added", {"message": "0" * 36, "folder": "0" * 36, "flags": ["\\Seen"]})


@dataclass(slots=True)
class Heard:
    """When each event came to whichever receiver."""

    committed: dict[tuple[int, int], float] = field(default_factory=dict)
    read: list[tuple[tuple[int, int], float]] = field(default_factory=list)
    wanted: int = 0
    all_there: asyncio.Event = field(default_factory=asyncio.Event)

    def came(self, place: tuple[int, int]) -> None:
        if len(self.read) < self.wanted:
            self.read.append((place, time.monotonic()))
        if len(self.read) >= self.wanted:
            self.all_there.set()

    def part(self, share: float) -> float:
        times = sorted(max(0.0, at - self.committed[place]) for place, at in self.read)
        return times[min(len(times) - 1, int(share * len(times)))]


class Receiver(asyncio.Protocol):
    """Says that it has what it is told; a whole server for each would be slower than who delivers."""

    def __init__(self, heard: list[Heard], seen: set[tuple[int, int]]) -> None:
        self._heard, self._seen, self._rest = heard, seen, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)  # uvloop's is none by its class

    def data_received(self, data: bytes) -> None:
        self._rest += data
        head, end, body = self._rest.partition(b"\r\n\r\n")
        if not end or len(body) < int(LENGTH.search(head)[1]):  # type: ignore[index]
            return
        stream, seq = PLACE.search(body).groups()  # type: ignore[union-attr]
        self._rest = b""
        place = int(stream), int(seq)
        if place not in self._seen:  # else it is repeated, by who came after one that was stopped
            self._seen.add(place)
            self._heard[-1].came(place)
        self._transport.write(OK)


async def _run(receivers: int, seconds: float) -> Table:
    heads = ["", "deliveries", "a second", "p50", "p99", "memory", "processor"]
    table = Table(f"{receivers} receivers, one process that delivers", heads)
    with tempfile.TemporaryDirectory() as folder:
        async with running(Path(folder, "data"), []) as dsn:
            await migrate(dsn)
            conn = await asyncpg.connect(dsn)
            await conn.execute(MAKE)
            await conn.close()
            heard = [Heard()]
            loop = asyncio.get_running_loop()
            servers = [
                await loop.create_server(partial(Receiver, heard, set()), "127.0.0.1", 0)
                for _ in range(receivers)
            ]
            async with open_pool(dsn, size=4) as db, open_hints(db):
                await _subscribe(db, [server.sockets[0].getsockname()[1] for server in servers])
                await _catch_up(table, db, dsn, heard, int(seconds * GOAL * 2 / receivers), receivers)
                await _live(table, db, dsn, heard, seconds, receivers)
            for server in servers:
                server.close()
    return table


async def _subscribe(db: Database, ports: list[int]) -> None:
    vault = Vault([Key.derived(MATERIAL)])
    for port in ports:
        await change.create(db, vault, TenantId(1), url=f"http://127.0.0.1:{port}/", types=["mail.*"])


async def _catch_up(
    table: Table, db: Database, dsn: str, heard: list[Heard], events: int, receivers: int
) -> None:
    """All that was logged while nobody delivered: as quickly as it goes."""
    heard.append(Heard(wanted=events * receivers))
    for number in range(events):
        await _append(db, heard[-1], 1 + number % ACCOUNTS)
    async with deliverer(dsn) as process:
        await heard[-1].all_there.wait()
        _tell(table, "after an outage", heard[-1], process, processor(process), with_delay=False)


async def _live(
    table: Table, db: Database, dsn: str, heard: list[Heard], seconds: float, receivers: int
) -> None:
    """As many as are the goal, while they happen."""
    count = int(seconds * GOAL / receivers)
    async with deliverer(dsn) as process:
        heard.append(Heard(wanted=receivers))
        await _append(db, heard[-1], 1)
        await heard[-1].all_there.wait()  # all connections stand
        heard.append(Heard(wanted=count * receivers))
        used, at = processor(process), time.monotonic()
        for number in range(count):
            await asyncio.sleep(at + number * receivers / GOAL - time.monotonic())
            await _append(db, heard[-1], 1 + number % ACCOUNTS)
        await heard[-1].all_there.wait()
        used = processor(process) - used
        _tell(table, f"{GOAL} a second as they happen", heard[-1], process, used, with_delay=True)


async def _append(db: Database, heard: Heard, stream: int) -> None:
    async with db.transaction(TenantId(1)) as conn:
        seq = await log.append(conn, TenantId(1), Stream(stream), [ADDED])
    heard.committed[stream, seq or 0] = time.monotonic()


def _tell(table: Table, title: str, heard: Heard, process: int, used: float, *, with_delay: bool) -> None:
    times = [at for _, at in heard.read]
    rate = len(times) / (max(times) - min(times))
    delays = [f"{heard.part(share) * 1000:.0f} ms" if with_delay else "" for share in (0.5, 0.99)]
    cost = f"{used / len(times) * 1000:.2f} ms each"
    size = f"{memory(process) / 2**20:.0f} MB"
    table.add(title, f"{len(times):,}", f"{rate:,.0f}", *delays, size, cost)
    if not with_delay:
        verdict = "reached" if rate >= GOAL else "missed"
        table.note(f"{title.capitalize()}: {rate:,.0f} a second (goal {GOAL}, {verdict}).")


@asynccontextmanager
async def deliverer(dsn: str) -> AsyncIterator[int]:
    """The number of its process."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.webhooks", "--deliver", dsn), stdin=asyncio.subprocess.PIPE
    )
    assert process.stdin is not None
    try:
        yield process.pid
    finally:
        process.stdin.close()  # by which it knows that it shall end
        await process.wait()


async def deliver(dsn: str) -> None:
    vault, allowed = Vault([Key.derived(MATERIAL)]), Egress(private_allowed=True)
    async with open_pool(dsn) as db, open_hints(db) as hints, delivering(db, hints, vault, allowed):
        await asyncio.to_thread(sys.stdin.read)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("-n", "--receivers", type=int, default=50)
    options.add_argument("-s", "--seconds", type=float, default=20)
    options.add_argument("--deliver", metavar="DSN", help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.deliver:
        uvloop.run(deliver(chosen.deliver))
        return
    print(f"{machine()}\n", flush=True)
    print(uvloop.run(_run(chosen.receivers, chosen.seconds)), flush=True)


if __name__ == "__main__":
    main()
