"""How often what is watched is asked: the arithmetic of it."""

from collections.abc import Sequence
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.providers.kept import ANSWER
from postroom.sync.pace import TICK, Pace

SILENCES = st.floats(min_value=60, max_value=540).map(lambda seconds: timedelta(seconds=seconds))


def last_known(pace: Pace, since: Sequence[float], accounts: int) -> float:
    """After how many seconds of silence the last of these sessions is known to be dead, if all are."""
    tick, now, worst = TICK.total_seconds(), 0.0, 0.0
    left, dying = sorted(since), list[float]()  # when the server was last heard of, when each is given up
    while left:
        now += tick
        dying = [at for at in dying if at > now]
        long = pace.probe(len(left) + len(dying)).total_seconds()
        asked = [at for at in left[: pace.probes(accounts)] if at <= now - long]
        left = left[len(asked) :]
        dying += [now + ANSWER] * len(asked)
        worst = max([worst, *(now + ANSWER - at for at in asked)])
    return worst


@pytest.mark.parametrize("count", [1, 100, 5_000, 10_000, 60_000])
def test_all_that_fall_silent_in_one_moment_are_known_to_be_dead_within_the_set_time(count: int) -> None:
    pace = Pace()

    assert last_known(pace, [0.0] * count, count) <= pace.silence.total_seconds()
    assert last_known(pace, [0.0] * (count // 2), count) <= pace.silence.total_seconds()


@given(
    silence=SILENCES,
    count=st.integers(1, 3_000),
    heard=st.lists(st.floats(-200, 0), min_size=1, max_size=20),
)
def test_whenever_each_was_heard_of_last_it_is_known_to_be_dead_within_the_set_time(
    silence: timedelta, count: int, heard: list[float]
) -> None:
    pace = Pace(silence=silence)
    oldest = pace.probe(count).total_seconds()
    since = [max(heard[number % len(heard)], -oldest) for number in range(count)]

    assert last_known(pace, since, count) <= silence.total_seconds()


def test_one_among_few_is_asked_sooner_than_among_many_and_never_too_often() -> None:
    pace = Pace()

    assert [pace.probe(count) for count in (1, 3_000, 100_000)] == [
        timedelta(seconds=40),
        timedelta(seconds=60),
        timedelta(seconds=90),
    ]


def test_many_accounts_are_swept_more_seldom_but_never_more_seldom_than_they_are_polled() -> None:
    pace, every = Pace(swept=timedelta(seconds=30)), timedelta(minutes=15)

    assert [pace.sweep(every, idling) for idling in (1, 600, 100_000)] == [
        timedelta(seconds=30),
        timedelta(minutes=2),
        every,
    ]
