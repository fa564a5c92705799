"""Every misbehaviour that was ever seen has a switch or a reason why not, and a line in the reference."""

from pathlib import Path

from postroom.lab.catalogue import NOT_PLAYED, SEEN, reference
from postroom.lab.faults import FAULTS

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "lab-faults.md"


def test_each_row_is_played_or_says_why_not() -> None:
    played = {fault.misbehaviour for fault in FAULTS.values()}

    assert len(SEEN) == 108
    assert set(range(1, 109)) - played - NOT_PLAYED.keys() == set()
    assert played & NOT_PLAYED.keys() == set()


def test_the_reference_is_what_the_table_says() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference()
