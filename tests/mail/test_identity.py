from uuid import UUID

import pytest

from postroom.ids import FolderId, MessageId
from postroom.mail.identity import Arrived, Found, match
from postroom.mail.model import Came, Known, Place

INBOX, ARCHIVE, SENT = FolderId(1), FolderId(2), FolderId(3)
NAMES = {folder: UUID(int=folder) for folder in (INBOX, ARCHIVE, SENT)}
SEEN: frozenset[str] = frozenset({"\\Seen"})
NONE: frozenset[str] = frozenset()
GONE = 77  # the server has this number in no folder any more


def known(
    number: int, *lies: tuple[FolderId, int], last: FolderId | None = None, flags: frozenset[str] = NONE
) -> Known:
    places = {folder: Place(NAMES[folder], uid, flags) for folder, uid in lies}
    lay = Place(NAMES[last], 0, flags) if last else None
    return Known(MessageId(number), UUID(int=number), b"same", 5, places, lay)


def come(
    folder: FolderId, *stored: Known, mails: int = 1, flags: frozenset[str] = NONE
) -> list[Found | None]:
    arrived = [Arrived(b"same", flags)] * mails
    return match(folder, NAMES[folder], arrived, stored, lambda _, uid: uid == GONE)


def how(found: list[Found | None]) -> list[tuple[int, Came] | None]:
    return [(one.known.id, one.came) if one else None for one in found]


@pytest.mark.parametrize(
    ("stored", "came"),
    [
        (known(1, (INBOX, 5)), Came.COPIED),
        (known(1, (INBOX, GONE)), Came.MOVED),
        (known(1, (INBOX, 5), (SENT, GONE)), Came.MOVED),
        (known(1, last=INBOX), Came.MOVED),
        (known(1, last=ARCHIVE), Came.STAYED),
        (known(1, (ARCHIVE, -1)), Came.STAYED),
        (known(1, (ARCHIVE, GONE)), Came.STAYED),
        (known(1, (ARCHIVE, 5)), None),
        (known(1, (ARCHIVE, 5), (INBOX, GONE)), None),
    ],
)
def test_what_equal_bytes_are_depends_on_where_they_lie(stored: Known, came: Came | None) -> None:
    assert how(come(ARCHIVE, stored)) == [(1, came) if came else None]


def test_equal_bytes_twice_in_one_folder_are_two_messages() -> None:
    assert how(come(ARCHIVE, known(1, (INBOX, 5)), mails=2)) == [(1, Came.COPIED), None]
    assert how(come(INBOX, known(1, (INBOX, 5)))) == [None]


def test_other_bytes_are_another_message() -> None:
    assert match(
        INBOX, NAMES[INBOX], [Arrived(b"other", NONE)], [known(1, last=INBOX)], lambda *_: False
    ) == [None]


def test_a_message_that_is_gone_from_elsewhere_comes_before_one_that_still_lies_there() -> None:
    found = come(ARCHIVE, known(1, (INBOX, 5)), known(2, (SENT, GONE)), known(3, last=ARCHIVE), mails=4)

    assert how(found) == [(3, Came.STAYED), (2, Came.MOVED), (1, Came.COPIED), None]


def test_of_twins_the_one_with_these_flags_stayed() -> None:
    found = come(ARCHIVE, known(1, (ARCHIVE, -1)), known(2, (ARCHIVE, -2), flags=SEEN), flags=SEEN, mails=2)

    assert how(found) == [(2, Came.STAYED), (1, Came.STAYED)]


def test_a_placement_that_is_gone_is_named() -> None:
    [moved] = come(ARCHIVE, known(1, (INBOX, GONE), (SENT, 5)))

    assert moved is not None
    assert moved.leaves == (INBOX, GONE)
    assert moved.before is not None
    assert moved.before.folder == NAMES[INBOX]
