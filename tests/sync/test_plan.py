from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.providers.model import FolderStatus, RemoteItem
from postroom.sync import plan as planning
from postroom.sync.model import Cursor
from postroom.sync.plan import Plan, Way, changed, compare, is_doubtful, plan, way

SEEN, NONE = frozenset({"\\Seen"}), frozenset[str]()
CURSOR = Cursor(validity=1, uid_next=10, modseq=50, messages=9)
SAME = CURSOR.status()

folders = st.dictionaries(st.integers(1, 30), st.sampled_from([SEEN, NONE]))


def items(flags: dict[int, frozenset[str]]) -> list[RemoteItem]:
    return [RemoteItem(uid, of) for uid, of in sorted(flags.items())]


@pytest.mark.parametrize(
    ("cursor", "status", "needs"),
    [
        (None, SAME, Way.AFRESH),
        (CURSOR, SAME, Way.NOTHING),
        (CURSOR, replace(SAME, validity=2), Way.AFRESH),
        (CURSOR, replace(SAME, modseq=60), Way.CHANGES),
        (CURSOR, replace(SAME, modseq=60, uid_next=12, messages=11), Way.CHANGES),
        (CURSOR, replace(SAME, modseq=40), Way.COMPARE),
        (CURSOR, replace(SAME, modseq=None), Way.COMPARE),
        (CURSOR, replace(SAME, modseq=0), Way.COMPARE),
        (CURSOR, replace(SAME, messages=8), Way.COMPARE),
        (CURSOR, replace(SAME, uid_next=None), Way.COMPARE),
        (CURSOR, replace(SAME, validity=None), Way.COMPARE),
        (CURSOR, replace(SAME, validity=0), Way.COMPARE),
        (replace(CURSOR, modseq=None), replace(SAME, modseq=None), Way.COMPARE),
    ],
)
def test_what_a_folder_needs(cursor: Cursor | None, status: FolderStatus, needs: Way) -> None:
    assert way(cursor, status) is needs


def test_a_status_without_a_validity_moves_no_cursor() -> None:
    assert Cursor.of(replace(SAME, validity=None), ()) is None
    assert Cursor.of(replace(SAME, validity=0), ()) is None
    assert Cursor.of(SAME, ()) == CURSOR


@pytest.mark.parametrize("said", [None, 1, 5])
def test_a_next_uid_that_is_missing_or_too_low_follows_the_last_one(said: int | None) -> None:
    cursor = Cursor.of(replace(SAME, uid_next=said), (3, 8))

    assert cursor is not None
    assert cursor.uid_next == 9


def test_the_newest_is_fetched_first() -> None:
    todo = plan({}, items({4: SEEN, 9: NONE}))

    assert [item.uid for item in todo.fetch] == [9, 4]


def test_flags_that_were_left_out_are_not_flags_that_are_gone() -> None:
    assert plan({4: SEEN}, [RemoteItem(4, None)]) == Plan([], {})


def test_recent_is_nobodys_flag() -> None:
    assert changed({4: SEEN}, {4: SEEN | {"\\Recent"}}) == {}


def test_a_parked_message_is_left_alone() -> None:
    assert plan({}, items({4: SEEN}), skip={4}).fetch == []


@pytest.mark.parametrize(
    ("removed", "stored", "doubtful"),
    [(0, 0, False), (1, 1, True), (1, 100, False), (6, 100, True), (100, 10_000, False), (101, 10_000, True)],
)
def test_much_that_vanishes_at_once_must_be_said_twice(removed: int, stored: int, doubtful: bool) -> None:
    assert is_doubtful(removed, stored) is doubtful


@given(folders, folders)
def test_carrying_out_a_plan_leaves_nothing_to_do(
    known: dict[int, frozenset[str]], remote: dict[int, frozenset[str]]
) -> None:
    difference = compare(sorted(known), sorted(remote))
    todo = plan(known, items(remote))

    kept = {uid: flags for uid, flags in known.items() if uid not in difference.extra} | dict(todo.flag)
    after = kept | {item.uid: item.flags or NONE for item in todo.fetch}

    assert after == remote
    assert [item.uid for item in todo.fetch] == sorted(difference.missing, reverse=True)
    again = compare(sorted(after), sorted(remote))
    assert (list(again.missing), list(again.extra)) == ([], [])
    assert plan(after, items(remote)) == Plan([], {})


@given(st.sets(st.integers(1, 60)), st.sets(st.integers(1, 60)), st.integers(1, 9))
def test_a_comparison_in_pieces_says_what_one_at_once_would(
    stored: set[int], listed: set[int], piece: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planning, "PIECE", piece)
        found = compare(sorted(stored), sorted(listed))

    assert list(found.missing) == sorted(listed - stored)
    assert list(found.extra) == sorted(stored - listed)
    assert list(found.both) == sorted(stored & listed)
