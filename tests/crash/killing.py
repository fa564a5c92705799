"""Real kills: a process that syncs while things happen to the mailbox gets a kill -9, or PostgreSQL does.

things happen ──────────────────────────────┐ stop ─> sync ─> compare ─> sync ─> nothing was written
a process syncs, and again, ... ─> kill -9 ─┘
"""

import asyncio
import random
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
from crash.bench import Bench
from crash.comparing import Quiet, Wrong, compare, doubles
from crash.history import History
from crash.language import carry_out
from crash.mailbox import Elsewhere
from crash.model import Model, seen
from crash.stored import NOTHING
from crash.trial import check_silent, succeed
from servers.nursery import Nursery, kill

from postroom.accounts.model import Account
from postroom.db.embedded.client import running
from postroom.db.migrate import migrate
from postroom.lab.mailbox import LabMailbox

START = Quiet({}, frozenset(), NOTHING)
AGES = (0.01, 0.5)  # seconds that a process lives
RESTART = 60  # seconds in which PostgreSQL has to be there again
A_MOMENT = 0.01
RESTS = (0.0, 0.02)  # seconds between two things that happen


@dataclass
class Wreck:
    """An account whose syncs are killed. Its mailbox changes while they run, and only then."""

    bench: Bench
    account: Account
    nursery: Nursery  # of `crash.syncing`
    dice: random.Random
    model: Model
    elsewhere: Elsewhere
    history: History
    most: Counter[str] = field(default_factory=Counter)  # how many of a word some folder ever held
    unsure: set[str] = field(default_factory=set)  # words that lay nowhere, or met their like in a folder
    happened: list[str] = field(default_factory=list)  # since all was quiet
    before: Quiet = START

    @classmethod
    def of(
        cls, bench: Bench, account: Account, mailbox: LabMailbox, nursery: Nursery, seed: object
    ) -> "Wreck":
        model = Model()
        history = History(seed, model)
        return cls(bench, account, nursery, random.Random(f"{seed}"), model, Elsewhere(mailbox), history)

    async def kill_a_sync(self) -> None:
        """One process, from its beginning to its end, and what comes after."""
        async with self._things_happening():
            number = await self._begin()
            await asyncio.sleep(self.dice.uniform(*AGES))
            await kill(number)
        await self.check()

    async def kill_postgres(self, server: "Server") -> None:
        """While a process syncs, which lives to see the next PostgreSQL."""
        async with self._things_happening():
            number = await self._begin()
            await asyncio.sleep(self.dice.uniform(*AGES))
            await server.kill()
            self.bench.observer = await server.connected()
            await asyncio.sleep(self.dice.uniform(*AGES))
            await kill(number)
        await self.check()

    async def _begin(self) -> int:
        """The number of a process that syncs."""
        account = self.account
        return await self.nursery.begin(dsn=self.bench.dsn, tenant=account.tenant_id, account=account.id)

    async def check(self) -> None:
        """Raises `Wrong`."""
        assert self.elsewhere.state() == seen(self.model.state())
        await succeed(self.bench, self.account)
        now = Quiet(self.model.state(), frozenset(), await self.bench.stored(self.account))
        try:
            compare(now, self.before, self.most, self.unsure)
        except Wrong as wrong:
            wrong.add_note(f"What had happened: {'; '.join(self.happened)}")
            told = now.stored.entries[len(self.before.stored.entries) :]
            wrong.add_note("\n".join(f"{one.kind} {one.body}" for one in told))
            raise
        await check_silent(self.bench, self.account)
        self.before, self.unsure, self.happened = now, set(), []

    @asynccontextmanager
    async def _things_happening(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(self._happen())
            try:
                yield
            finally:
                task.cancel()

    async def _happen(self) -> None:
        while True:
            had = doubles(self.model.folders)
            self.happened.append(self.history.step())
            carry_out(self.happened[-1], self.model, self.elsewhere)
            have = doubles(self.model.folders)
            self.most |= have
            self.unsure |= had.keys() - have.keys() | {word for word, count in have.items() if count > 1}
            await asyncio.sleep(self.dice.uniform(*RESTS))


@dataclass
class Server:
    """An embedded PostgreSQL of our own, as durable as users have it."""

    dsn: str
    home: Path

    async def kill(self) -> None:
        """Its first process, with -9; the supervisor starts another."""
        await kill(int((self.home / "cluster" / "postmaster.pid").read_text().split()[0]))

    async def connected(self) -> asyncpg.Connection:
        """A connection, as soon as there is one to be had."""
        async with asyncio.timeout(RESTART):
            while True:
                try:
                    return await asyncpg.connect(self.dsn)
                except (OSError, asyncpg.PostgresError):
                    await asyncio.sleep(A_MOMENT)


@asynccontextmanager
async def own_postgres() -> AsyncIterator[Server]:
    """Migrated, in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="postroom-killed-") as folder:
        async with running(Path(folder)) as dsn:
            await migrate(dsn)
            yield Server(dsn, Path(folder) / "postgres")
