"""Syncs in processes of their own get a kill -9 at any age, and so does PostgreSQL under them.

The short form kills ten of each. CRASH_KILLS=500 kills that many of each and adds to the tally; CRASH_SEED
chooses others.
"""

import os
from collections import Counter
from collections.abc import Iterator

import pytest
from crash import tally
from crash.bench import Bench, Mode
from crash.comparing import Wrong
from crash.killing import Wreck, nursery

KILLS = int(os.environ.get("CRASH_KILLS", "0"))
SEED = int(os.environ.get("CRASH_SEED", "1"))
EACH = -(-(KILLS or 10) // len(Mode))
FOUND = ("lost", "repeated", "invented", "wedged")

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(60 + 5 * EACH)]


@pytest.fixture
def counts(request: pytest.FixtureRequest) -> Iterator[Counter[str]]:
    found = Counter(dict.fromkeys(FOUND, 0))
    yield found
    if KILLS:
        print("\n", request.node.name, tally.add("kill", found))  # noqa: T201


@pytest.mark.slow
@pytest.mark.parametrize("mode", list(Mode))
async def test_a_sync_that_is_killed_at_any_age_is_finished_by_the_next(
    bench: Bench, counts: Counter[str], mode: Mode
) -> None:
    async with bench.account(mode) as (account, mailbox), nursery() as begun:
        wreck = Wreck.of(bench, account, mailbox, begun, (SEED, mode))
        for number in range(EACH):
            counts["syncs"] += 1
            try:
                await wreck.kill_a_sync()
            except Wrong as wrong:
                counts[wrong.what] += 1
                wrong.add_note(f"seed {SEED}, kill {number} of a sync, mode {mode}")
                raise
