from datetime import UTC, datetime
from uuid import UUID

from postroom.ids import FolderId, MessageId
from postroom.mail.identity import match
from postroom.mail.keep import keep
from postroom.mail.model import Incoming, Known
from postroom.mime.parse import parse

INBOX, ARCHIVE, SENT = FolderId(1), FolderId(2), FolderId(3)
KEPT = keep(parse(b"Subject: hello\r\n\r\nhi"))


def mail(folder: FolderId, digest: bytes = b"same", uid: int = 1) -> Incoming:
    return Incoming(folder, uid, frozenset(), datetime(2026, 1, 1, tzinfo=UTC), digest, 5, KEPT)


def known(number: int, *folders: FolderId, digest: bytes = b"same") -> Known:
    return Known(MessageId(number), UUID(int=number), digest, frozenset(folders), is_unplaced=not folders)


def test_equal_bytes_in_another_folder_are_the_same_message() -> None:
    stored = known(1, INBOX)

    assert match([mail(ARCHIVE)], [stored]) == [stored]


def test_equal_bytes_twice_in_one_folder_are_two_messages() -> None:
    assert match([mail(INBOX, uid=1), mail(INBOX, uid=2)], []) == [0, 1]
    assert match([mail(INBOX)], [known(1, INBOX)]) == [0]


def test_two_copies_in_each_of_two_folders_are_two_messages() -> None:
    batch = [mail(INBOX), mail(INBOX), mail(ARCHIVE), mail(ARCHIVE)]

    assert match(batch, []) == [0, 1, 0, 1]


def test_a_message_that_lies_nowhere_has_moved() -> None:
    lost, placed = known(9), known(1, INBOX)

    assert match([mail(ARCHIVE)], [placed, lost]) == [lost]


def test_other_bytes_are_another_message() -> None:
    assert match([mail(SENT, b"other")], [known(1, INBOX)]) == [0]
