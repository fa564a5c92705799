"""What one broken and one very slow account do to the other 98: from a mail's delivery until it is stored.

A lab server, in this process, has 100 accounts; `postroom executor`, a process of its own, has copied and
watches them. Two of them are reached through a gate of ours, which passes everything on, or does not: the
broken one's connections are reset, greeted with garbage, or greeted and then refused the login, in turns; the
slow one's server takes two seconds for whatever it says. Mail comes at random moments into random ones of the
98, and into the slow one too. Rounds with the gate well and unwell alternate; when it changes its mind what
stands through it is cut off. That a mail is stored is known by the hint that the commit tells.
"""

import asyncio
import os
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import count, cycle
from pathlib import Path

import asyncpg

from bench.report import Table
from bench.watched import COPIED, WATCHED, Lab, connect, executor, until
from postroom.cli.installation import unlocked
from postroom.db.beside import beside
from postroom.db.embedded.client import running as database
from postroom.db.listen import CHANNEL
from postroom.lab.accounts import address
from postroom.lab.server import LabServer, serve
from postroom.settings import Settings

ACCOUNTS, BROKEN, SLOW = 100, 98, 99
RATE = 10.0  # mails a second
SECONDS = 20.0  # of a round
SETTLE = 4.0  # seconds after each change of mind
DELAY = 2.0  # seconds, of the slow one
GOAL = 1.1
PATIENCE = 60.0
NEW = "SELECT id, message_id FROM postroom.mail_message WHERE id > $1 - 500 ORDER BY id"
REFUSALS = (b"", b"\x16\x03\x01 this is no IMAP \x00\xff\r\n" * 3, b"* OK ready\r\n")


@dataclass(slots=True)
class Gate:
    """Before the server of one account."""

    to_port: int
    delay: float = 0.0
    is_broken: bool = False
    port: int = 0
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)
    _refusals: Iterator[bytes] = field(default_factory=lambda: cycle(REFUSALS))

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            # The streams of Python 3.11 would log a task that ends as cancelled.
            with suppress(OSError, asyncio.CancelledError):
                await (self._refuse(reader, writer) if self.is_broken else self._pass(reader, writer))
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    async def _refuse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not (greeting := next(self._refusals)):
            return
        writer.write(greeting)
        while line := await reader.readline():
            writer.write(line.split(b" ")[0] + b" NO [UNAVAILABLE] not now\r\n")

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, out = await asyncio.open_connection("127.0.0.1", self.to_port)
        try:
            await asyncio.gather(_carry(reader, out, 0.0), _carry(there, writer, self.delay))
        finally:
            out.transport.abort()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float) -> None:
    while piece := await reader.read(1 << 16):
        await asyncio.sleep(delay)
        writer.write(piece)
    writer.transport.abort()


@asynccontextmanager
async def _gate(to_port: int) -> AsyncIterator[Gate]:
    gate = Gate(to_port)
    server = await asyncio.start_server(gate.serve, "127.0.0.1", 0)
    gate.port = server.sockets[0].getsockname()[1]
    try:
        yield gate
    finally:
        gate.cut()
        server.close()


@dataclass(slots=True)
class Heard:
    """When each mail was delivered, and stored."""

    conn: asyncpg.Connection
    last: int = 0
    waiting: dict[str, tuple[float, list[float]]] = field(default_factory=dict)
    hint: asyncio.Event = field(default_factory=asyncio.Event)

    async def hear(self) -> None:
        """For ever."""
        await self.conn.add_listener(CHANNEL, lambda *_: self.hint.set())
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(0.5):
                    await self.hint.wait()
            self.hint.clear()
            rows = await self.conn.fetch(NEW, self.last)
            now = time.perf_counter()
            for number, message_id in rows:
                self.last = max(self.last, number)
                if found := self.waiting.pop((message_id or "").strip("<>"), None):
                    found[1].append(now - found[0])


def run(runs: int) -> Table:
    """So many rounds of each kind."""
    with tempfile.TemporaryDirectory(prefix="postroom-bench-") as folder:
        well, unwell = asyncio.run(_run(Path(folder), runs))
    table = Table(
        f"{ACCOUNTS - 2} accounts beside a broken and a very slow one, {runs} rounds of each, in turns",
        ["the two are", "mails", "until it is stored: p50", "p90", "p99", "most"],
    )
    for name, times in (("well", well), ("broken and slow", unwell)):
        parts = [_part(times, share) for share in (0.5, 0.9, 0.99, 1.0)]
        table.add(name, f"{len(times):,}", *(f"{1000 * part:.1f} ms" for part in parts))
    longer = _part(unwell, 0.99) / _part(well, 0.99)
    said = "reached" if longer <= GOAL else "missed"
    table.note(f"p99 {longer:.2f} times as long beside them (goal {GOAL:g}, {said}).")
    return table


def _part(times: list[float], share: float) -> float:
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


async def _run(home: Path, runs: int) -> tuple[list[float], list[float]]:
    offers = ["qresync", "notify"]
    async with (
        serve(messages=5, folder_count=3, accounts=ACCOUNTS, offers=offers) as server,
        _gate(server.port) as broken,
        _gate(server.port) as slow,
        database(home) as dsn,
    ):
        await _connected(home, server, {BROKEN: broken.port, SLOW: slow.port})
        conn, own = await asyncpg.connect(dsn), await asyncpg.connect(dsn)
        async with executor(home, workers=3):
            await until(conn, COPIED, ACCOUNTS)
            await until(conn, WATCHED, ACCOUNTS)
            heard = Heard(own)
            async with beside(heard.hear()):
                found = await _rounds(server, broken, slow, heard, runs)
        await conn.close()
        await own.close()
        return found


async def _rounds(
    server: LabServer, broken: Gate, slow: Gate, heard: Heard, runs: int
) -> tuple[list[float], list[float]]:
    found: tuple[list[float], list[float]] = [], []
    rng, numbers = random.Random(1), count()
    await _round(server, heard, [], rng, numbers)  # warm
    for turn in range(2 * runs):
        is_unwell = turn % 2 == 1
        broken.is_broken, slow.delay = is_unwell, DELAY if is_unwell else 0.0
        broken.cut()
        slow.cut()
        await asyncio.sleep(SETTLE)
        times = list[float]()
        await _round(server, heard, times, rng, numbers)
        found[is_unwell].extend(times)
        said = f"round {turn + 1} of {2 * runs}: p50 {_part(times, 0.5):.3f} s, p99 {_part(times, 0.99):.3f}"
        print(said, file=sys.stderr, flush=True)
    return found


async def _round(
    server: LabServer, heard: Heard, times: list[float], rng: random.Random, numbers: Iterator[int]
) -> None:
    """Mail comes for a while, and is waited for."""
    at = time.perf_counter()
    until, slow_at = at + SECONDS, at
    while (at := at + rng.expovariate(RATE)) < until:
        await asyncio.sleep(at - time.perf_counter())
        name = f"{next(numbers)}.{os.getpid()}@neighbours"
        raw = f"Message-ID: <{name}>\r\nSubject: hello\r\n\r\nhello\r\n".encode()
        heard.waiting[name] = time.perf_counter(), times
        server.mailbox_of(rng.randrange(ACCOUNTS - 2)).deliver(raw)
        if at > slow_at:
            server.mailbox_of(SLOW).deliver(b"Subject: slow\r\n\r\nhello\r\n")
            slow_at = at + 1
    async with asyncio.timeout(PATIENCE):
        while heard.waiting:  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def _connected(home: Path, server: LabServer, ports: dict[int, int]) -> None:
    async with unlocked(Settings(data=home)) as house, house.database.transaction(house.tenant) as conn:
        for number in range(ACCOUNTS):
            lab = Lab(ports.get(number, server.port), server.password, 0)
            await connect(conn, house, lab, address(number))
