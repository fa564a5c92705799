"""Files answer the port like any mail server."""

from pathlib import Path

import pytest

from postroom.imap.uids import LARGEST
from postroom.providers.files.maildir import MaildirWriter
from postroom.providers.files.mbox import MboxWriter
from postroom.providers.files.provider import FilesProvider, NotMail
from postroom.providers.model import FolderRole, Login, RemoteMessage, Unfetched

PROVIDER = FilesProvider()


def login(path: Path) -> Login:
    return Login("files", {"path": str(path)})


def fill(root: Path, writer: type[MaildirWriter] | type[MboxWriter]) -> None:
    made = writer(root)
    for n in range(45):
        made.write("INBOX", "/", b"Subject: %d\r\n\r\nhi\r\n" % n)
    made.write("Lists/python", "/", b"x" * (3 << 20))
    made.close()


@pytest.mark.parametrize("writer", [MaildirWriter, MboxWriter])
async def test_what_was_exported_can_be_imported(
    tmp_path: Path, writer: type[MaildirWriter] | type[MboxWriter]
) -> None:
    fill(tmp_path, writer)

    async with PROVIDER.open(login(tmp_path)) as mailbox:
        inbox, lists = await mailbox.folders()
        assert [inbox.path, lists.path] == ["INBOX", "Lists/python"]
        assert inbox.role is FolderRole.INBOX

        folder = await mailbox.open(inbox)
        assert folder.status.messages == 45
        assert list(await folder.uids()) == list(range(1, 46))
        items = await folder.scan([1, 2, 45, 46])
        assert [item.uid for item in items] == [1, 2, 45]
        assert await folder.changes(folder.status, 1, LARGEST) is None
        fetched = [m async for m in folder.fetch(items) if isinstance(m, RemoteMessage)]
        assert [m.content for m in fetched] == [b"Subject: %d\r\n\r\nhi\r\n" % n for n in (0, 1, 44)]
        assert fetched[0].received_at is not None

        folder = await mailbox.open(lists)
        (large,) = [m async for m in folder.fetch(await folder.scan([1])) if isinstance(m, RemoteMessage)]
        assert not isinstance(large.content, bytes)
        with large.content as file:
            assert file.read() == b"x" * (3 << 20)
        assert large.size == 3 << 20

        estimate = await PROVIDER.estimate(mailbox, [inbox, lists])
        assert (estimate.folders, estimate.messages) == (2, 46)
        assert 3 << 20 < (estimate.bytes or 0) < 4 << 20


async def test_a_message_that_is_deleted_meanwhile_is_gone_and_the_rest_arrives(tmp_path: Path) -> None:
    fill(tmp_path, MaildirWriter)

    async with PROVIDER.open(login(tmp_path)) as mailbox:
        folder = await mailbox.open((await mailbox.folders())[0])
        items = await folder.scan(await folder.uids())
        next((tmp_path / "cur").iterdir()).unlink()
        answers = [answer async for answer in folder.fetch(items)]

    assert len(answers) == 45
    assert [a.error for a in answers if isinstance(a, Unfetched)] == [None]


async def test_what_is_no_mail_says_so(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no mail")
    for path in (tmp_path, tmp_path / "notes.txt", tmp_path / "missing"):
        with pytest.raises(NotMail):
            async with PROVIDER.open(login(path)):
                pass
