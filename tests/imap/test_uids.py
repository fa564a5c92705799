"""Sets of UIDs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.imap.uids import LARGEST, UidSet

UIDS = st.sets(st.integers(1, 300) | st.integers(1, LARGEST), max_size=60)


@given(UIDS)
def test_a_set_survives_being_written(uids: set[int]) -> None:
    known = UidSet.of(uids)

    assert set(known) == uids
    assert known.count == len(uids)
    assert bool(known) == bool(uids)
    if uids:
        assert UidSet.parse(str(known).encode()) == known


@given(UIDS, st.lists(st.integers(1, 300)))
def test_membership_is_asked_of_the_candidates(uids: set[int], candidates: list[int]) -> None:
    assert UidSet.of(uids).among(candidates) == uids & set(candidates)


@given(UIDS, st.integers(1, 200))
def test_splitting_loses_nothing_and_keeps_to_the_length(uids: set[int], length: int) -> None:
    parts = list(UidSet.of(uids).split(length))

    assert {uid for part in parts for uid in part} == uids
    assert all(len(str(part)) <= length + 22 for part in parts)


def test_billions_stay_a_range() -> None:
    everything = UidSet.parse(b"1:4294967295")

    assert everything is not None
    assert everything.count == LARGEST
    assert everything.among([5, 9]) == {5, 9}


def test_ranges_may_overlap_and_run_backwards() -> None:
    odd = UidSet.parse(b"9:5,1:20,7")

    assert odd is not None
    assert odd.among(range(1, 30)) == set(range(1, 21))


@pytest.mark.parametrize("raw", [b"", b"x", b"1,", b"1:", b"*", b"1:*", b"-1", b"12345678901"])
def test_anything_else_is_unreadable(raw: bytes) -> None:
    assert UidSet.parse(raw) is None


def test_zero_and_numbers_over_32_bits_are_dropped() -> None:
    assert UidSet.parse(b"0,0:3,4294967296") == UidSet(((1, 3),))
    with pytest.raises(ValueError, match="not a UID"):
        UidSet.of([0])
