"""Servers that misbehave in three ways at once, in all modes; `POSTROOM_TRIPLES=1000` is the long form."""

import asyncio
import os
from traceback import extract_tb

import pytest
from sync.lies import Trial, survive

from postroom.db.pool import Database
from postroom.lab.certificate import Certificate

pytestmark = [pytest.mark.usefixtures("tenants"), pytest.mark.slow, pytest.mark.timeout(1800)]

TRIPLES = int(os.environ.get("POSTROOM_TRIPLES", "40"))
SEED = os.environ.get("POSTROOM_SEED", "issue 3")
AT_ONCE = 10  # triples of one test: they share its database


@pytest.mark.parametrize("first", range(0, TRIPLES, AT_ONCE))
async def test_three_faults_at_once_neither_harm_a_copy_nor_hide_that_it_lags(
    first: int, db: Database, certificate: Certificate, capsys: pytest.CaptureFixture[str]
) -> None:
    trials = {f"{SEED}:{number}": Trial.of(f"{SEED}:{number}") for number in range(first, first + AT_ONCE)}
    wrong = []
    for seed, trial in trials.items():
        (reason,) = await asyncio.gather(survive(db, certificate, trial), return_exceptions=True)
        if reason is not None:
            steps = [step.line for step in extract_tb(reason.__traceback__) if "tests" in step.filename]
            wrong.append(f"{seed} {trial}\n  {steps[-2:]}\n  {reason!r:.300}")
    with capsys.disabled():
        print(f"\ntriples {first} to {first + AT_ONCE - 1}: {len(trials) - len(wrong)} survived")  # noqa: T201
    assert not wrong, "\n".join(wrong)
