"""The speed of a link is told from the waits that are the link's, and from no others."""

import pytest

from postroom.imap.meter import ENOUGH, LONGEST, SPAN, SPANS, Meter

PIECE = SPAN // 16


class Link:
    """Reads from a link of so many bytes a second, on clocks of our own."""

    def __init__(self, rate: float) -> None:
        self.meter, self.rate = Meter(), rate
        self.now = self.busy = 0.0

    def reads(self, count: int, *, owed: bool = True, working: float = 0.0, size: int = PIECE) -> None:
        """Wait for each read, then work on it for so many seconds."""
        for _ in range(count):
            self.now += size / self.rate
            self.meter.read(self.now, self.busy, size, owed=owed)
            self.now += working
            self.busy += working


def test_the_speed_is_unknown_until_enough_was_seen() -> None:
    link = Link(1e6)
    link.reads(16 * ENOUGH)
    assert link.meter.speed is None
    link.reads(1)
    assert link.meter.speed == pytest.approx(1e6)


def test_a_very_slow_link_is_known_for_one_within_seconds() -> None:
    link = Link(1e3)
    link.reads(10, size=1000)
    assert link.now < 4 * ENOUGH * LONGEST
    assert link.meter.speed == pytest.approx(1e3)


def test_a_server_that_thinks_between_its_answers_has_no_slow_link() -> None:
    link = Link(1e8)
    for _ in range(200):
        link.reads(4)
        link.reads(1, owed=False)
        link.now += 0.2
    assert link.meter.speed == pytest.approx(1e8)


def test_our_own_work_is_not_taken_for_the_links() -> None:
    link = Link(1e8)
    link.reads(200, working=0.05)
    assert link.meter.speed is not None
    assert link.meter.speed == pytest.approx(1e8)


def test_a_stall_is_not_taken_for_a_slow_link() -> None:
    link = Link(1e8)
    for _ in range(SPANS):
        link.reads(16 * 3)
        link.now += 0.5
    assert link.meter.speed == pytest.approx(1e8)


def test_a_link_that_changes_is_seen_to_change() -> None:
    link = Link(1e8)
    link.reads(16 * SPANS)
    link.rate = 1e6
    link.reads(16 * SPANS)
    assert link.meter.speed == pytest.approx(1e6)


def test_clocks_that_do_not_agree_give_no_absurd_speed() -> None:
    meter = Meter()
    for read in range(200):
        meter.read(0.0, read * 0.001, PIECE, owed=True)
    assert meter.speed is not None
    assert meter.speed > 0
