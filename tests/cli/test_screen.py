"""What is shown is plain text, whatever a mail holds."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.cli import screen

NOW = datetime(2026, 1, 10, 12, 0, tzinfo=UTC)


@given(st.text())
def test_a_line_is_one_line_without_control_characters(text: str) -> None:
    shown = screen.line(text)

    assert not any(ord(c) < 32 or 0x7F <= ord(c) < 0xA0 or c in "\u2028\u2029\u202e" for c in shown)


def test_a_subject_cannot_colour_the_terminal_nor_turn_its_text() -> None:
    assert screen.line("a\x1b[31mb\u202ec") == "a\\x1b[31mb\\u202ec"


def test_a_block_keeps_its_lines() -> None:
    assert screen.block("a\r\n\tb\rc\x07") == "a\n\tb\nc\\x07"


@pytest.mark.parametrize(
    ("size", "shown"),
    [(0, "0 bytes"), (999, "999 bytes"), (12_345, "12.3 KB"), (999_900, "1.0 MB"), (5e15, "5000 TB")],
)
def test_amounts_have_the_unit_that_reads_best(size: float, shown: str) -> None:
    assert screen.amount(size) == shown


@pytest.mark.parametrize(("seconds", "shown"), [(0.4, "0:00"), (75, "1:15"), (3725, "1:02:05"), (-3, "0:00")])
def test_durations_look_like_a_clock(seconds: float, shown: str) -> None:
    assert screen.duration(seconds) == shown


@pytest.mark.parametrize(
    ("distance", "shown"),
    [
        (timedelta(), "now"),
        (timedelta(seconds=90), "90 s ago"),
        (timedelta(minutes=59), "59 min ago"),
        (timedelta(hours=-5), "in 5 h"),
        (timedelta(days=3), "3 d ago"),
    ],
)
def test_moments_are_told_from_now(distance: timedelta, shown: str) -> None:
    assert screen.ago(NOW - distance, NOW) == shown


def test_what_never_happened_was_never() -> None:
    assert screen.ago(None) == "never"
