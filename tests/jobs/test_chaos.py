"""Executors are killed and stopped, and PostgreSQL is killed under them, while 2,000 jobs run on 60 keys.

What holds for effects: one that is written in the transaction of `Attempt.complete` happens exactly once. One
that is written under `Attempt.fence` only happens at least once, and once in a try: whoever dies between
the effect's commit and the job's end is followed by another try. In both cases nothing is written by a try
after the next one has begun, of that job or of its key.

The short form takes half a minute. CHAOS=20 takes twenty times as many jobs, kills and stops, and adds to
the tally; CHAOS_SEED chooses others.
"""

import asyncio
import os
import random
import signal
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import pytest
from crash import tally
from crash.killing import Server, own_postgres
from jobs.effects import FENCED, LEASE, ONCE, TABLES
from servers.nursery import Nursery, kill, nursery
from servers.tenants import MAKE, ONE, TWO

from postroom.db.listen import open_hints
from postroom.db.model import Busy, Unreachable
from postroom.db.pool import Database
from postroom.db.roles import APP
from postroom.ids import TenantId
from postroom.jobs import store
from postroom.jobs.model import Wish

TIMES = int(os.environ.get("CHAOS", "1"))
SEED = int(os.environ.get("CHAOS_SEED", "1"))
JOBS = 2000 * TIMES
KEYS = 60
EXECUTORS = 3
HAPPENINGS = ["kill"] * 12 * TIMES + ["stop"] * 5 * TIMES + ["postgres"] * 3 * TIMES
PAUSES = (0.1, 0.6)  # seconds between two of these
STOPS = (1.2, 2.0)  # leases
MANY_TRIES = 10_000
LONGEST = 60 + 60 * TIMES  # seconds
A_MOMENT = 0.02

STATES = "SELECT state, count(*) FROM postroom.jobs_job GROUP BY 1"
OPEN = "SELECT count(*) FROM postroom.jobs_job WHERE finished_at IS NULL"
TRACES = "SELECT job, attempt, key, what FROM postroom.chaos_trace ORDER BY nr"
KINDS = "SELECT id, kind, tenant_id FROM postroom.jobs_job"
TRIED = "SELECT sum(attempts) FROM postroom.jobs_job"
ENDS = "SELECT job FROM postroom.chaos_end"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(LONGEST + 60)]


@dataclass
class Chaos:
    """The executors that live, and those of them that nobody killed and that are dead."""

    server: Server
    db: Database
    nursery: Nursery
    dice: random.Random
    living: list[int] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    async def begin(self) -> None:
        self.living.append(await self.nursery.begin(dsn=self.server.dsn))

    async def want(self, numbers: range) -> None:
        """As many jobs, on any keys of both tenants."""
        for tenant in (ONE, TWO):
            await self._enqueue(tenant, [self._wish() for number in numbers if number % 2 == tenant - 1])

    def _wish(self) -> Wish:
        kind, key, urgent = (
            self.dice.choice([ONCE, FENCED]),
            self.dice.randrange(KEYS),
            self.dice.randrange(3),
        )
        return Wish(kind, key=f"key {key}", priority=urgent, tries=MANY_TRIES)

    async def _enqueue(self, tenant: TenantId, wishes: list[Wish]) -> None:
        while True:
            try:
                async with self.db.transaction(tenant) as conn:
                    await store.enqueue(conn, tenant, wishes)
            except (Unreachable, Busy):  # it is not killed meanwhile, so the COMMIT is not in doubt
                await asyncio.sleep(A_MOMENT)
            else:
                return

    async def happen(self, what: str) -> None:
        self.counts[what] += 1
        match what:
            case "kill":
                await kill(self._any_living())
                await self.begin()
            case "stop":
                stopped = self._any_living()
                os.kill(stopped, signal.SIGSTOP)
                await asyncio.sleep(LEASE.total_seconds() * self.dice.uniform(*STOPS))
                os.kill(stopped, signal.SIGCONT)
                self.living.append(stopped)
            case "postgres":
                await self.server.kill()
                await (await self.server.connected()).close()

    def _any_living(self) -> int:
        number = self.living.pop(self.dice.randrange(len(self.living)))
        os.kill(number, 0)  # fails when it is dead already
        return number


@asynccontextmanager
async def chaos() -> AsyncIterator[Chaos]:
    async with nursery("jobs.effects") as begun, own_postgres() as server:
        conn = await server.connected()
        await conn.execute(MAKE + ";" + TABLES)
        await conn.close()
        db = Database(server.dsn, size=3, role=APP)
        one = Chaos(server, db, begun, random.Random(SEED))
        try:
            async with open_hints(db):
                yield one
        finally:
            for number in one.living:
                await kill(number)
            await db._close()


async def test_every_job_ends_once_whoever_is_killed_or_stands_still() -> None:
    async with chaos() as world, asyncio.timeout(LONGEST):
        for _ in range(EXECUTORS):
            await world.begin()
        world.dice.shuffle(happenings := HAPPENINGS[:])
        share = JOBS // len(happenings)
        for nr, what in enumerate(happenings):
            await world.want(range(nr * share, (nr + 1) * share))
            await asyncio.sleep(world.dice.uniform(*PAUSES))
            await world.happen(what)
        while await asked(world.server, OPEN) != [(0,)]:  # noqa: ASYNC110
            await asyncio.sleep(A_MOMENT)
        for number in world.living:
            os.kill(number, 0)  # none has ended by itself
        await check(world.server, share * len(happenings))
        world.counts["jobs"] = share * len(happenings)
        world.counts["tries"] = (await asked(world.server, TRIED))[0][0]
    if TIMES > 1:
        tally.add("jobs", world.counts)


async def check(server: Server, jobs: int) -> None:
    assert await asked(server, STATES) == [("completed", jobs)]
    assert Counter(Counter(job for (job,) in await asked(server, ENDS)).values()) == {1: jobs}
    kinds = {job: (kind, tenant) for job, kind, tenant in await asked(server, KINDS)}
    effects, of_key = defaultdict(list), defaultdict(list)
    for job, attempt, key, what in await asked(server, TRACES):
        of_key[key, kinds[job][1]].append((job, attempt))
        if what == "effect":
            effects[job].append(attempt)
    for job, (kind, _) in kinds.items():
        assert len(effects[job]) == 1 or (kind == FENCED and effects[job])
        assert effects[job] == sorted(set(effects[job]))
    for tries in of_key.values():
        one_after_another = [one for one, _ in groupby(tries)]
        assert len(one_after_another) == len(set(one_after_another))


async def asked(server: Server, question: str) -> list[tuple[Any, ...]]:
    conn = await server.connected()
    try:
        return [tuple(row) for row in await conn.fetch(question)]
    finally:
        await conn.close()
