"""When it is tried again."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from postroom.webhooks.pace import Pace

LONGEST = timedelta(hours=3)


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True), st.timedeltas(min_value=timedelta()))
def test_no_wait_is_longer_than_the_longest_whatever_the_receiver_asks_for(
    failures: int, luck: float, asked: timedelta
) -> None:
    wait = Pace().again_after(failures, asked, luck)
    assert min(asked, LONGEST) <= wait <= LONGEST


def test_it_doubles_from_five_seconds_with_full_jitter() -> None:
    pace = Pace()
    most = [pace.again_after(failures, None, 1.0).total_seconds() for failures in range(1, 14)]
    assert most == [min(5.0 * 2**n, 10_800.0) for n in range(13)]
    assert pace.again_after(9, None, 0.0) == timedelta()
    assert pace.again_after(9, timedelta(minutes=2), 0.0) == timedelta(minutes=2)


def test_what_stops_is_begun_anew_later_each_time_and_within_a_minute() -> None:
    most = [Pace().anew_after(stops, 1.0).total_seconds() for stops in range(1, 7)]
    assert most == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0]
