"""The soak of watched mailboxes: every mail is announced, once, in order, soon; whoever is killed meanwhile.

    python -m soak.arrivals --minutes 10 [--accounts 200] [--every 0.2] [--seed 7]

Two executors watch the accounts of real Dovecots through a proxy. Mail comes without end, into the inbox of
one account after another. Meanwhile the proxy resets all its connections, or lets them fall silent, and
executors are killed with -9 and started anew. In the end the log is read: for each account its `mail.added`
must be the delivered mails in the order of their delivery, none twice, none missing, none later than a sweep
and five seconds. Status 1 if that is not so.
"""

import argparse
import asyncio
import logging
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog
from histories.proxy import Proxy, proxy
from servers.dovecot import Dovecot
from servers.dovecot import running as dovecot
from servers.mailbox import other_client
from soak.run import tell

from postroom.accounts import credentials
from postroom.accounts import store as accounts
from postroom.accounts.model import Account, Scope
from postroom.cli.installation import Installation, unlocked
from postroom.ids import new_public_id
from postroom.settings import Settings
from postroom.sync.pace import Pace

COMMAND = (sys.executable, "-m", "postroom.cli")
EXECUTORS = 2
SESSIONS = 100  # of one Dovecot: one unix user has 128 instances of inotify
LATEST = Pace().swept + timedelta(seconds=5)
SETTLE = 90.0  # seconds for the last mails to be announced
WATCHED = "SELECT count(*) FROM sync_watch WHERE means IS NOT NULL"
ANNOUNCED = """
    SELECT a.address, m.message_id, e.at
      FROM events_event e
      JOIN accounts_account a ON a.id = e.stream
      JOIN mail_message m ON m.public_id = (e.body::jsonb ->> 'message')::uuid
     WHERE e.kind = 'mail.added' ORDER BY e.stream, e.seq
"""


@dataclass(frozen=True, slots=True)
class Delivered:
    message_id: str
    at: datetime  # when the server had said OK


@dataclass(slots=True)
class Soak:
    """What happens, and what has happened."""

    rng: random.Random
    home: Path
    lines: list[Proxy]
    users: dict[str, tuple[Dovecot, str]]  # by address
    delivered: dict[str, list[Delivered]] = field(default_factory=lambda: defaultdict(list))
    executors: list[asyncio.subprocess.Process] = field(default_factory=list)
    resets: int = 0
    silences: int = 0
    kills: int = 0

    async def deliver(self, every: float, until: float) -> None:
        """One mail after another; the server numbers what comes into an inbox in that order."""
        number, addresses = 0, list(self.users)
        while time.monotonic() < until:
            await asyncio.sleep(self.rng.expovariate(1 / every))
            address = self.rng.choice(addresses)
            await asyncio.to_thread(self._put, address, number)
            number += 1

    def _put(self, address: str, number: int) -> None:
        server, user = self.users[address]
        message_id = f"{number}@soak.example"
        with other_client(server, user) as client:
            client.append(
                "INBOX", f"Message-ID: <{message_id}>\r\nSubject: {number}\r\n\r\nhello\r\n".encode()
            )
        self.delivered[address].append(Delivered(message_id, datetime.now(UTC)))

    async def harm(self, until: float) -> None:
        while time.monotonic() < until:
            await asyncio.sleep(self.rng.uniform(5, 25))
            match self.rng.choice(("reset", "silence", "kill")):
                case "reset":
                    self.rng.choice(self.lines).reset_all()
                    self.resets += 1
                case "silence":
                    self.rng.choice(self.lines).hold_all()
                    self.silences += 1
                case "kill":
                    await self._kill(self.rng.randrange(EXECUTORS))
                    self.kills += 1

    async def _kill(self, number: int) -> None:
        self.executors[number].kill()
        await self.executors[number].wait()
        await asyncio.sleep(self.rng.uniform(0, 10))
        self.executors[number] = await self.executor()

    async def executor(self) -> asyncio.subprocess.Process:
        log = (self.home / "executors.log").open("ab")
        words = ("executor", "--data", str(self.home / "data"))
        return await asyncio.create_subprocess_exec(*COMMAND, *words, stdout=log, stderr=log)

    async def end(self) -> None:
        for process in self.executors:
            with suppress(ProcessLookupError):
                process.terminate()
            await process.wait()


def main() -> int:
    parser = argparse.ArgumentParser(prog="soak.arrivals")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--accounts", type=int, default=200)
    parser.add_argument("--every", type=float, default=0.2, help="seconds between two mails, on average")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 31))
    given = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    tell(f"seed {given.seed}, {given.accounts} accounts, a mail every {given.every} s")
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    home = Path(tempfile.mkdtemp(prefix="soak-"))
    home.chmod(0o755)
    try:
        wrong = asyncio.run(soak(home, given.minutes, given.accounts, given.every, given.seed))
    finally:
        shutil.rmtree(home, ignore_errors=True)
    for line in wrong[:20]:
        tell(line)
    return 1 if wrong else 0


async def soak(home: Path, minutes: float, count: int, every: float, seed: int) -> list[str]:
    async with AsyncExitStack() as stack:
        servers = [stack.enter_context(dovecot()) for _ in range(-(-count // SESSIONS))]
        lines = [await stack.enter_async_context(proxy(one.host, one.port)) for one in servers]
        house = await stack.enter_async_context(unlocked(Settings(data=home / "data")))
        run = Soak(random.Random(seed), home, lines, {})
        for number in range(count):
            place = number % len(servers)
            await _connected(house, run, servers[place], lines[place], number)
        stack.push_async_callback(run.end)
        run.executors = [await run.executor() for _ in range(EXECUTORS)]
        await _until_watched(house, count)
        tell("all are watched")
        until = time.monotonic() + minutes * 60
        async with asyncio.TaskGroup() as group:
            group.create_task(run.deliver(every, until))
            group.create_task(run.harm(until))
        return await _judged(house, run)


async def _connected(house: Installation, run: Soak, server: Dovecot, line: Proxy, number: int) -> Account:
    user, public_id = server.user("soak"), new_public_id()
    address = f"soak{number}@example.org"
    run.users[address] = (server, user)
    with other_client(server, user):
        pass  # it has an inbox then
    async with house.database.transaction(house.tenant) as conn:
        account = await accounts.add(
            conn,
            house.tenant,
            public_id,
            address=address,
            provider="imap",
            settings={"host": server.host, "port": line.port, "security": "plain", "username": user},
            secret=credentials.seal(house.vault, house.tenant, public_id, server.password),
            scope=Scope(),
        )
    assert account is not None
    return account


async def _until_watched(house: Installation, count: int) -> None:
    async with asyncio.timeout(600):
        while True:
            async with house.database.transaction(house.tenant) as conn:
                if await conn.fetchval(WATCHED) == count:
                    return
            await asyncio.sleep(0.5)


async def _judged(house: Installation, run: Soak) -> list[str]:
    """What is wrong, after the last mails had their time."""
    wanted = sum(map(len, run.delivered.values()))
    announced: dict[str, list[Delivered]] = {}
    end = time.monotonic() + SETTLE
    while time.monotonic() < end and sum(map(len, announced.values())) < wanted:
        await asyncio.sleep(1)
        announced = await _announced(house)
    wrong, late = list[str](), list[float]()
    for address, delivered in run.delivered.items():
        told = announced.get(address, [])
        if (ids := [one.message_id for one in told]) != [one.message_id for one in delivered]:
            wanted_ids = [one.message_id for one in delivered]
            wrong.append(f"{address}: announced {' '.join(ids)}; delivered {' '.join(wanted_ids)}")
            continue
        late += [(heard.at - put.at).total_seconds() for heard, put in zip(told, delivered, strict=True)]
    late.sort()
    if late and late[-1] > LATEST.total_seconds():
        wrong.append(f"one was announced {late[-1]:.1f} s after its delivery")
    parts = ", ".join(
        f"p{p} {late[min(len(late) - 1, len(late) * p // 100)]:.2f}" for p in (50, 90, 99, 100) if late
    )
    tell(f"{wanted} mails, seconds until announced: {parts}")
    harm = f"{run.kills} executors killed, {run.resets} servers cut off, {run.silences} fallen silent"
    tell(harm)
    return wrong


async def _announced(house: Installation) -> dict[str, list[Delivered]]:
    found: dict[str, list[Delivered]] = defaultdict(list)
    async with house.database.transaction(house.tenant) as conn:
        for row in await conn.fetch(ANNOUNCED):
            found[row["address"]].append(Delivered(row["message_id"], row["at"]))
    return found


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sys.exit(main())
