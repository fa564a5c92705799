"""Every scenario, its syncs interrupted at their commits and at their writes to the server, in every mode.

The short form runs each scenario in one mode: once undisturbed, once with an interruption of its first sync
and of its second. CRASH_POINTS=10000 runs all scenarios in all modes with at least so many interruptions, up
to three in a row (which resume one another) before what came of it is compared, and adds to the tally.
CRASH_SEED chooses other points. It may be stopped at any time, and counts what it has done.
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
random.Random(SEED).shuffle(RUNS)  # so that a long form which is cut short has seen some of everything
EACH = -(-POINTS // len(RUNS)) or 2  # interruptions of each run
IN_A_ROW = 3 if POINTS else 1
FOUND = ("lost", "repeated", "invented", "wedged")


def _dice(scenario: Scenario, *more: object) -> random.Random:
    return random.Random(f"{SEED} {scenario.name} {more}")


def _runs() -> Iterator[object]:
    for scenario, mode in RUNS:
        if POINTS or mode is _dice(scenario).choice(list(Mode)):
            reason = waits(scenario, mode)
            marks = [pytest.mark.skip(reason)] if reason else []
            yield pytest.param(scenario, mode, marks=marks, id=f"{scenario.name} ({mode})")


def _points(life: Life, *kinds: Kind) -> list[Point]:
    """Every point of a sync at which one of these can come to pass."""
    at_commit = [Point(kind, n + 1) for kind in AT_COMMIT for n in range(life.commits)]
    return at_commit + [Point(kind, n + 1) for kind in kinds for n in range(life.writes)]


@pytest.fixture
def counts() -> Iterator[Counter[str]]:
    """What the trials of a test come to."""
    found = Counter(dict.fromkeys(FOUND, 0))
    yield found
    if POINTS:
        tally.add("crash", found)


@pytest.mark.slow
@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(("scenario", "mode"), list(_runs()))
async def test_a_sync_that_is_interrupted_anywhere_is_finished_by_the_next(
    bench: Bench, counts: Counter[str], scenario: Scenario, mode: Mode
) -> None:
    whole, dice = await try_out(bench, scenario, mode), _dice(scenario, mode)
    first = [point for life in whole.first for point in _points(life, *AT_WRITE)]
    then = _points(whole.then[0], *AT_WRITE, *([Kind.CHANGE] if scenario.meanwhile else []))
    counts["runs"] += 1
    done = 0
    while done < EACH:
        # Mail that is asked for when the connection breaks, and again, is parked: one break is enough.
        more = dice.sample(_points(whole.then[0]), IN_A_ROW - 1)
        points = dice.sample(first, min(1, len(first))), dice.sample([dice.choice(then), *more], IN_A_ROW)
        try:
            lives = await try_out(bench, scenario, mode, *points)
        except Wrong as wrong:
            counts[wrong.what] += 1
            wrong.add_note(f"{scenario} in mode {mode}, {'; '.join(map(str, [*points[0], *points[1]]))}")
            raise
        counts["trials"] += 1
        counts["points"] += lives.interrupted
        done += max(lives.interrupted, 1)
