"""From a mail's delivery to its event at a client, against a bare IDLE client of the same server.

`postroom up` runs on a new data folder with one mailbox; a client follows `GET /v1/events/stream`. Beside it
a raw socket idles in the inbox. Another program puts a mail there (APPEND), at random moments; the clock
starts with the OK to that, and stops at the client's `mail.added`, and at the raw socket's EXISTS.
Dovecot gathers changes for half a second before it tells anybody, so both times are mostly its own.

The inbox holds `messages` mails at first.
"""

import asyncio
import random
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import uvloop
from servers.dovecot import Dovecot
from servers.mailbox import other_client

from bench.ours import HOST, Client, connected, started
from bench.report import Table

TIMES = 200
GAP = 0.7, 1.3  # seconds between two mails
P50_GOAL, P99_GOAL = 1.05, 1.10  # times the bare client
PATIENCE = 60.0  # seconds


@dataclass(slots=True)
class Heard:
    """When each thing was heard of, in order."""

    at: list[float] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def hear(self) -> None:
        self.at.append(time.perf_counter())
        self.news.set()

    async def count(self, number: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while len(self.at) < number:
                self.news.clear()
                await self.news.wait()


def run(server: Dovecot, user: str, messages: int) -> Table:
    with tempfile.TemporaryDirectory(prefix="postroom-bench-") as folder:
        connected(server, user, Path(folder))
        ours, bare = uvloop.run(_arrivals(server, user, Path(folder)))
    table = Table(
        f"From delivery to event, {TIMES} mails, into a mailbox of {messages:,}",
        ["who", "p50, ms", "p99, ms", "most, ms"],
    )
    for name, times in (("a bare IDLE client", bare), ("a client of postroom's event stream", ours)):
        table.add(name, *(f"{1000 * _part(times, share):.0f}" for share in (0.5, 0.99, 1.0)))
    later = [a - b for a, b in zip(ours, bare, strict=True)]
    p50, p99 = (_part(ours, share) / _part(bare, share) for share in (0.5, 0.99))
    typical, worst = 1000 * median(later), 1000 * _part(later, 0.99)
    table.note(f"Later than the bare client by {typical:.0f} ms in the median, by {worst:.0f} at p99.")
    for name, times_as, goal in (("p50", p50, P50_GOAL), ("p99", p99, P99_GOAL)):
        table.note(
            f"{name}: {times_as:.2f} times (goal {goal}: {'reached' if times_as <= goal else 'missed'})."
        )
    return table


def _part(times: list[float], share: float) -> float:
    return sorted(times)[min(len(times) - 1, int(share * len(times)))]


async def _arrivals(server: Dovecot, user: str, home: Path) -> tuple[list[float], list[float]]:
    rng, put = random.Random(1), list[float]()
    async with started("up", home) as up:
        client = await Client.opened(up)
        try:
            await _is_watched(client)
            async with _stream(up.port, client.key) as ours, _idle(server, user) as bare:
                with other_client(server, user) as other:
                    for number in range(TIMES):
                        await asyncio.sleep(rng.uniform(*GAP))
                        raw = b"Subject: arrival %d\r\nFrom: ann@example.org\r\n\r\nhello\r\n" % number
                        await asyncio.to_thread(other.append, "INBOX", raw)
                        put.append(time.perf_counter())
                        await asyncio.gather(ours.count(number + 1), bare.count(number + 1))
                return _since(put, ours), _since(put, bare)
        finally:
            client.close()


def _since(put: list[float], heard: Heard) -> list[float]:
    return [at - began for at, began in zip(heard.at, put, strict=True)]


async def _is_watched(client: Client) -> None:
    status, found = await client.ask("GET", "/v1/accounts")
    assert status == 200, found
    account = found["items"][0]["id"]
    async with asyncio.timeout(PATIENCE):
        while True:
            status, found = await client.ask("GET", f"/v1/accounts/{account}/sync-status")
            if status == 200 and found["push"]:
                return
            await asyncio.sleep(0.1)


@asynccontextmanager
async def _stream(port: int, key: str) -> AsyncIterator[Heard]:
    """Hears each `mail.added`."""
    reader, writer = await asyncio.open_connection(HOST, port)
    path = "/v1/events/stream?types=mail.added"
    writer.write(f"GET {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {key}\r\n\r\n".encode())
    await reader.readuntil(b"event: ready")
    async with _hearing(reader, b"event: mail.added") as heard:
        yield heard
    writer.close()


@asynccontextmanager
async def _idle(server: Dovecot, user: str) -> AsyncIterator[Heard]:
    """Hears each EXISTS."""
    reader, writer = await asyncio.open_connection(server.host, server.port)
    for line in (f"a LOGIN {user} {server.password}", "b SELECT INBOX"):
        writer.write(f"{line}\r\n".encode())
        await reader.readuntil(f"\r\n{line[0]} OK".encode())
    writer.write(b"c IDLE\r\n")
    await reader.readuntil(b"\r\n+ ")
    async with _hearing(reader, b" EXISTS") as heard:
        yield heard
    writer.close()


@asynccontextmanager
async def _hearing(reader: asyncio.StreamReader, what: bytes) -> AsyncIterator[Heard]:
    heard = Heard()

    async def read() -> None:
        while line := await reader.readline():
            if what in line:
                heard.hear()

    task = asyncio.create_task(read())
    try:
        yield heard
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
