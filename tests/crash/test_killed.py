"""Syncs in processes of their own get a kill -9 at any age, and so does PostgreSQL under them.

The short form kills a few. CRASH_KILLS=500 kills that many of each and adds to the tally; CRASH_SEED
chooses others.
"""

import os
from collections import Counter
from collections.abc import Awaitable, Iterator

import pytest
from crash import tally
from crash.bench import Bench, Mode
from crash.comparing import Wrong
from crash.killing import Wreck, own_postgres
from servers.nursery import nursery

KILLS = int(os.environ.get("CRASH_KILLS", "0"))
SEED = int(os.environ.get("CRASH_SEED", "1"))
IN_A_ROW = 10 if KILLS else 4
ROUNDS = range(-(-KILLS // (IN_A_ROW * len(Mode))) or 1)
FOUND = ("lost", "repeated", "invented", "wedged")

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(900), pytest.mark.slow]


@pytest.fixture
def counts() -> Iterator[Counter[str]]:
    found = Counter(dict.fromkeys(FOUND, 0))
    yield found
    if KILLS:
        tally.add("kill", found)


@pytest.mark.parametrize("number", ROUNDS)
@pytest.mark.parametrize("mode", list(Mode))
async def test_a_sync_that_is_killed_at_any_age_is_finished_by_the_next(
    bench: Bench, counts: Counter[str], mode: Mode, number: int
) -> None:
    async with bench.account(mode) as (account, mailbox), nursery("crash.syncing") as begun:
        wreck = Wreck.of(bench, account, mailbox, begun, f"{SEED} {mode} {number}")
        for _ in range(IN_A_ROW):
            await counted(wreck.kill_a_sync(), "syncs", counts)


@pytest.mark.parametrize("number", ROUNDS)
@pytest.mark.parametrize("mode", list(Mode))
async def test_postgres_may_be_killed_under_a_sync_at_any_time(
    bench: Bench, counts: Counter[str], mode: Mode, number: int
) -> None:
    async with own_postgres() as server:
        own = Bench(server.dsn, bench.servers, bench.interrupts, await server.connected())
        async with own.account(mode) as (account, mailbox), nursery("crash.syncing") as begun:
            wreck = Wreck.of(own, account, mailbox, begun, f"{SEED} {mode} {number}")
            for _ in range(IN_A_ROW if KILLS else 1):
                await counted(wreck.kill_postgres(server), "postgres", counts)
        await own.observer.close()
        await own.close()


async def counted(killing: Awaitable[None], what: str, counts: Counter[str]) -> None:
    counts[what] += 1
    try:
        await killing
    except Wrong as wrong:
        counts[wrong.what] += 1
        wrong.add_note(f"seed {SEED}, kill {counts[what]}")
        raise
