"""A mail server in a network of its own, and a process that watches it from another one.

    unshare -n python -m sync.apart DSN        as root; else `unshare -rn`

Between the two lies a pair of virtual interfaces, so whatever is done to the network is what the kernel does,
and no program's idea of it. The database is reached over its socket's file, which no network parts.
"""

import asyncio
import ipaddress
import subprocess
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta

from sync.lab import connected
from sync.test_watch import holds, watched, watching

from postroom.accounts.model import Account
from postroom.db.pool import Database, open_pool
from postroom.lab.server import serve
from postroom.providers import kept
from postroom.providers.model import Means
from postroom.sync.pace import Pace

OURS, THEIRS = ipaddress.ip_interface("192.0.2.1/24"), ipaddress.ip_interface("192.0.2.2/24")
PORT = 1143
MESSAGES = 5


@dataclass(frozen=True, slots=True)
class Place:
    """The server, and its network."""

    process: Process

    async def mail(self) -> None:
        """One more comes into the inbox."""
        await self._ask("mail")

    async def listen(self) -> None:
        await self._ask("listen")

    async def _ask(self, word: str) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{word}\n".encode())
        assert await self.process.stdout.readline() == f"{word}\n".encode()

    def ip(self, *words: object) -> None:
        run("nsenter", "-t", self.process.pid, "-n", "ip", *words)

    @contextmanager
    def mute(self) -> Iterator[None]:
        """Nothing that it says leaves its network, and nobody is told so."""
        route = ("route", "add", "blackhole", f"{OURS.ip}/32")
        self.ip(*route)
        try:
            yield
        finally:
            self.ip("route", "del", *route[2:])

    @contextmanager
    def unplugged(self) -> Iterator[None]:
        """Nothing comes to its network any more, nor leaves it."""
        self.ip("link", "set", "theirs", "down")
        try:
            yield
        finally:
            self.ip("link", "set", "theirs", "up")


def run(*words: object) -> None:
    subprocess.run(list(map(str, words)), check=True)


@asynccontextmanager
async def place() -> AsyncIterator[Place]:
    run("ip", "link", "set", "lo", "up")
    process = await asyncio.create_subprocess_exec(
        *("unshare", "-n", sys.executable, "-m", "sync.apart"), stdin=PIPE, stdout=PIPE
    )
    try:
        there = Place(process)
        await there._ask("ready")
        run("ip", "link", "add", "ours", "type", "veth", "peer", "name", "theirs", "netns", process.pid)
        run("ip", "addr", "add", OURS, "dev", "ours")
        run("ip", "link", "set", "ours", "up")
        there.ip("addr", "add", THEIRS, "dev", "theirs")
        there.ip("link", "set", "theirs", "up")
        await there.listen()
        yield there
    finally:
        process.kill()
        await process.wait()


async def be_the_server() -> None:
    """What each line on standard input says; and say so."""
    host = str(THEIRS.ip)

    async def words() -> AsyncIterator[str]:
        while line := await asyncio.to_thread(sys.stdin.readline):
            yield line.strip()
            sys.stdout.write(line)
            sys.stdout.flush()

    async for word in (said := words()):
        if word == "listen":
            break
    async with serve(messages=MESSAGES, folder_count=2, offers="notify", host=host, port=PORT) as server:
        async for word in said:
            assert word == "mail"
            server.arrive()


async def _account(db: Database) -> Account:
    async with serve(messages=0, folder_count=1) as alike:
        return await connected(db, alike, host=str(THEIRS.ip), port=PORT)


async def watch_it(dsn: str) -> None:
    """What comes while the network is in trouble is here when that is over, and the trouble is noticed."""
    kept.BEGINNING = kept.ANSWER = 1.0
    async with place() as there, open_pool(dsn) as db:
        account = await _account(db)
        messages = MESSAGES
        async with watching(db, at=Pace(silence=timedelta(seconds=3))):
            await holds(db, account, messages)
            for trouble in (there.mute, there.unplugged):
                await watched(db, account, Means.NOTIFY)
                await there.mail()
                await holds(db, account, messages := messages + 1)
                with trouble():
                    await there.mail()
                    await watched(db, account, None)
                await holds(db, account, messages := messages + 1)


if __name__ == "__main__":
    asyncio.run(watch_it(sys.argv[1]) if sys.argv[1:] else be_the_server())
