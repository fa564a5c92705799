"""Every scenario, interrupted at its commits and at its writes to the server, in every mode of the server.

The short form tries each scenario in one mode, at one point. CRASH_POINTS=10000 tries all scenarios in all
modes at that many points or a few more, and adds to the tally. CRASH_SEED chooses others.
"""

import os
import random
from collections import Counter
from collections.abc import Iterator

import pytest
from crash import tally
from crash.bench import Bench, Mode
from crash.comparing import Wrong
from crash.interrupts import AT_COMMIT, AT_WRITE, Kind, Life, Point
from crash.language import Scenario
from crash.scenarios import every
from crash.trial import try_out
from crash.waiting import waits

POINTS = int(os.environ.get("CRASH_POINTS", "0"))
SEED = int(os.environ.get("CRASH_SEED", "1"))
RUNS = [(scenario, mode) for scenario in every() for mode in Mode]
EACH = -(-POINTS // len(RUNS)) or 1  # points of each run
FOUND = ("lost", "repeated", "invented", "wedged")


def _dice(scenario: Scenario, *more: object) -> random.Random:
    return random.Random(f"{SEED} {scenario.name} {more}")


def _runs() -> Iterator[object]:
    for scenario, mode in RUNS:
        if POINTS or mode is _dice(scenario).choice(list(Mode)):
            reason = waits(scenario, mode)
            marks = [pytest.mark.skip(reason)] if reason else []
            yield pytest.param(scenario, mode, marks=marks, id=f"{scenario.name} ({mode})")


def _points(scenario: Scenario, life: Life, mode: Mode) -> list[Point]:
    """Some of all points of a sync."""
    at_write = (*AT_WRITE, Kind.CHANGE) if scenario.meanwhile else AT_WRITE
    points = [Point(kind, n + 1) for kind in AT_COMMIT for n in range(life.commits)]
    points += [Point(kind, n + 1) for kind in at_write for n in range(life.writes)]
    return _dice(scenario, mode).sample(points, min(EACH, len(points)))


@pytest.fixture(scope="module")
def counts() -> Iterator[Counter[str]]:
    """What the trials of this module come to."""
    found = Counter(dict.fromkeys(FOUND, 0))
    yield found
    if POINTS:
        print("\ncrash:", tally.add("crash", found))  # noqa: T201


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(("scenario", "mode"), list(_runs()))
async def test_a_sync_that_is_interrupted_anywhere_is_finished_by_the_next(
    bench: Bench, counts: Counter[str], scenario: Scenario, mode: Mode
) -> None:
    life = await try_out(bench, scenario, mode)
    counts["runs"] += 1
    for point in _points(scenario, life, mode):
        counts["points"] += 1
        try:
            await try_out(bench, scenario, mode, point)
        except Wrong as wrong:
            counts[wrong.what] += 1
            wrong.add_note(f"{scenario} in mode {mode}, {point}")
            raise
