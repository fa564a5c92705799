"""The numbers of a progress bar."""

from postroom.cli.progress import Pace, told
from postroom.sync.model import Counts


def test_the_numbers_tell_done_total_rate_and_time_left() -> None:
    counts = Counts(total=20_000, done=1_200, bytes=33_100_000)

    assert told(counts, 250.0) == "1,200/20,000 messages  33.1 MB  250/s  1:15 left"


def test_nothing_is_promised_before_there_is_a_rate() -> None:
    assert told(Counts(total=5), 0.0) == "0/5 messages  0 bytes"


def test_the_pace_follows_a_change_of_speed() -> None:
    pace = Pace()
    for second in range(5):
        pace.update(second * 100, float(second))
    steady = pace.rate
    for second in range(1, 6):
        pace.update(400 + second * 10, 4.0 + second)

    assert steady == 100
    assert 10 < pace.rate < 50
