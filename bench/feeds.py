"""`make bench ARGS=feeds`: one event to hundreds who follow a tenant's log, and how soon each reads it.

The server is a process of its own, as `postroom serve` runs it. Whoever appends, and all who follow, are in
this one; a delivery is the time from the return of the COMMIT here to the reading of the event's bytes here.
The floor is a process that does the least: it hears the same hint and writes a line of the same length to all
connections, without a database, keys, filters, HTTP or limits.
"""

import argparse
import asyncio
import base64
import json
import secrets
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

import asyncpg
import uvloop

from bench.report import Table, machine
from bench.streams import GOAL, MAKE, SETTLE, TENANT, memory, processor, serve, server
from postroom.db.beside import beside
from postroom.db.embedded.client import running
from postroom.db.listen import open_hints
from postroom.db.migrate import migrate
from postroom.db.pool import Database, open_pool
from postroom.events import log
from postroom.events.model import APPENDED, Event, Stream
from postroom.people import keys

MARKS = {
    "floor": (b"", b"event: mail.removed"),
    "SSE": (b"event: ready", b"event: mail.removed"),
    "WebSocket": (b'"ready"', b'"kind":"mail.removed"'),
}
WAYS = tuple(MARKS)
LINE = b"event: mail.removed " + b"x" * 330 + b"\n"
EVENT = Event("mail.removed", {"message": "0197a3b0-0000-7000-8000-000000000000"})
READERS, EVENTS = 500, 50
EVERY = 0.2  # seconds between events
PATIENCE = 30.0


class Reader(asyncio.Protocol):
    """Counts the events of one connection; a whole client for each would be slower than the server."""

    def __init__(self, way: str, opened: Callable[[], None], read: Callable[[int, float], None]) -> None:
        self._began, self._mark = MARKS[way]
        self._opened, self._read = opened, read
        self._is_open, self._rest, self._count = not self._began, b"", 0
        self._next = _first_message() if way == "WebSocket" else b""  # once it is one
        self._transport: asyncio.Transport | None = None
        if self._is_open:
            opened()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        at, self._rest = time.monotonic(), self._rest + data
        if not self._is_open:
            if self._next and b"\r\n\r\n" in self._rest and self._transport is not None:
                self._transport.write(self._next)
                self._next = b""
            if self._began in self._rest:
                self._is_open, self._rest = True, b""
                self._opened()
            return
        for _ in range(self._rest.count(self._mark)):
            self._read(self._count, at)
            self._count += 1
        self._rest = self._rest[1 - len(self._mark) :]


def run(readers: int, events: int, rounds: int) -> Table:
    return uvloop.run(_run(readers, events, rounds))


async def _run(readers: int, events: int, rounds: int) -> Table:
    heads = ["", "deliveries", "p50", "p99", "most", "the server's memory for each", "its processor, each"]
    table = Table(f"one event to {readers:,} who follow a log, {events} events, {rounds} rounds", heads)
    with tempfile.TemporaryDirectory() as folder:
        async with running(Path(folder, "data"), ["fsync=off"]) as dsn:
            await migrate(dsn)
            conn = await asyncpg.connect(dsn)
            await conn.execute(MAKE)
            await conn.close()
            async with open_pool(dsn, size=4) as db, open_hints(db):
                _, key = await keys.create(db, TENANT, "bench")
                times: dict[str, list[float]] = {way: [] for way in WAYS}
                costs: dict[str, tuple[float, float]] = {}
                for _ in range(rounds):
                    for way in WAYS:
                        found, costs[way] = await _round(way, dsn, db, key, readers, events)
                        times[way] += found
    for way in WAYS:
        _tell(table, way, times[way], *costs[way])
    return table


def _tell(table: Table, way: str, times: list[float], size: float, used: float) -> None:
    ordered = sorted(times)
    p50, p99 = (ordered[int(share * len(ordered))] for share in (0.5, 0.99))
    shown = [f"{value * 1000:.1f} ms" for value in (p50, p99, ordered[-1])]
    table.add(way, f"{len(times):,}", *shown, f"{size / 1024:.1f} KB", f"{used * 1e6:.0f} us")
    if way != "floor":
        verdict = "reached" if p99 < GOAL else "missed"
        table.note(f"{way}: p99 {p99 * 1000:.1f} ms (goal {GOAL * 1000:.0f} ms, {verdict}).")


async def _round(
    way: str, dsn: str, db: Database, key: str, readers: int, events: int
) -> tuple[list[float], tuple[float, float]]:
    """How long each delivery took; bytes of memory for each connection, and processor time of a delivery."""
    committed: list[float] = []
    read: list[tuple[int, float]] = []
    opened, all_read = asyncio.Semaphore(0), asyncio.Event()

    def note(number: int, at: float) -> None:
        read.append((number, at))
        if len(read) == readers * events:
            all_read.set()

    flag = "--floor" if way == "floor" else "--serve"
    async with server(dsn, flag, "bench.feeds") as (process, port):
        before = memory(process)
        async with beside(*(_follow(way, port, key, opened.release, note) for _ in range(readers))):
            for _ in range(readers):
                await opened.acquire()
            await asyncio.sleep(SETTLE)
            size, used = memory(process) - before, processor(process)
            for _ in range(events):
                committed.append(await _append(db))
                await asyncio.sleep(EVERY)
            async with asyncio.timeout(PATIENCE):
                await all_read.wait()
            used = processor(process) - used
    times = [max(0.0, at - committed[number]) for number, at in read]
    return times, (size / readers, used / len(times))


async def _append(db: Database) -> float:
    async with db.transaction(TENANT) as conn:
        await log.append(conn, TENANT, Stream(7), [EVENT])
    return time.monotonic()


async def _follow(
    way: str, port: int, key: str, opened: Callable[[], None], read: Callable[[int, float], None]
) -> None:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(lambda: Reader(way, opened, read), "127.0.0.1", port)
    try:
        transport.write(_asking(way, key))
        await asyncio.Event().wait()
    finally:
        transport.close()


def _asking(way: str, key: str) -> bytes:
    if way == "floor":
        return b"\n"
    if way == "SSE":
        return f"GET /v1/events/stream HTTP/1.1\r\nHost: b\r\nAuthorization: Bearer {key}\r\n\r\n".encode()
    nonce = base64.b64encode(secrets.token_bytes(16)).decode()
    return (
        f"GET /v1/events/ws HTTP/1.1\r\nHost: b\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {nonce}\r\nSec-WebSocket-Version: 13\r\nAuthorization: Bearer {key}\r\n\r\n"
    ).encode()


def _first_message() -> bytes:
    said = json.dumps({"type": "resume"}).encode()
    return bytes([0x81, 0x80 | len(said), 0, 0, 0, 0]) + said  # masked with nothing


async def _floor(dsn: str) -> None:
    transports: set[asyncio.Transport] = set()

    class Follower(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            transports.add(cast(asyncio.Transport, transport))

    async def tell() -> None:
        async with open_pool(dsn) as db, open_hints(db) as hints:
            with hints.hear(APPENDED) as hearing:
                async for hint in hearing:
                    for transport in transports if hint is not None else ():
                        transport.write(LINE)

    serving = await asyncio.get_running_loop().create_server(Follower, "127.0.0.1", 0, backlog=512)
    async with serving, beside(tell()):
        print(serving.sockets[0].getsockname()[1], flush=True)
        await asyncio.to_thread(sys.stdin.read)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("-n", "--readers", type=int, default=READERS)
    options.add_argument("-e", "--events", type=int, default=EVENTS)
    options.add_argument("-r", "--rounds", type=int, default=3)
    options.add_argument("--serve", metavar="DSN", help=argparse.SUPPRESS)
    options.add_argument("--floor", metavar="DSN", help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.serve or chosen.floor:
        uvloop.run(serve(chosen.serve) if chosen.serve else _floor(chosen.floor))
        return
    print(f"{machine()}\n", flush=True)
    print(run(chosen.readers, chosen.events, chosen.rounds), flush=True)


if __name__ == "__main__":
    main()
