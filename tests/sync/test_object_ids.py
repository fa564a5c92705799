"""Servers that name contents and folders by ids of their own: nothing is fetched twice."""

from collections import Counter

import pytest
from servers.tenants import ONE
from sync.lab import assert_equal, connected, messages, sync
from sync.mailboxes import told

from postroom.db.pool import Database
from postroom.lab.mails import mail
from postroom.lab.server import LabServer, serve
from postroom.mail.store import folders

pytestmark = pytest.mark.usefixtures("tenants")

ALL_MAIL = "[Gmail]/All Mail"


def size_of_all(server: LabServer) -> int:
    """Bytes of the contents, each once."""
    contents = {m.raw() for folder in server.mailbox.folders.values() for m in folder.messages.values()}
    return sum(map(len, contents))


async def test_a_message_under_several_labels_is_fetched_once(db: Database) -> None:
    async with serve(messages=60, folder_count=3, offers=["gmail"]) as server:
        inbox = server.mailbox.folder("INBOX")
        others = [name for name in server.mailbox.folders if name not in {"INBOX", ALL_MAIL}]
        for uid in list(inbox.messages)[:10]:
            server.mailbox.label("INBOX", uid, ["INBOX", *others[:2]])
        account = await connected(db, server)

        outcome = await sync(db, account)

        assert outcome.counts.bytes == size_of_all(server)
        assert outcome.counts.added == 60
        await assert_equal(db, account, server)


async def test_labels_come_and_go_without_a_fetch(db: Database) -> None:
    async with serve(messages=30, folder_count=4, offers=["gmail"]) as server:
        server.mailbox.create("Work")
        account = await connected(db, server)
        await sync(db, account)
        before, heard = await messages(db, account), len(await told(db, account))
        uid = next(iter(server.mailbox.folder("INBOX").messages))
        raw = server.mailbox.folder("INBOX").messages[uid].raw()
        labels = {
            f.name for f in server.mailbox.folders.values() if raw in {m.raw() for m in f.messages.values()}
        }
        server.mailbox.label("INBOX", uid, (labels | {"Work"}) - {"INBOX", ALL_MAIL})

        outcome = await sync(db, account)

        assert outcome.counts.bytes == 0
        assert Counter(entry.kind for entry in (await told(db, account))[heard:]) == {"mail.moved": 1}
        assert await messages(db, account) == before
        await assert_equal(db, account, server)


@pytest.mark.parametrize("offer", ["qresync", "condstore", "plain"])
async def test_a_move_and_a_new_validity_fetch_nothing_where_content_has_an_id(
    db: Database, offer: str
) -> None:
    async with serve(messages=30, folder_count=3, offers=[offer, "objectid"]) as server:
        account = await connected(db, server)
        await sync(db, account)
        before = await messages(db, account)
        for uid in list(server.mailbox.folder("INBOX").messages)[:3]:
            server.mailbox.move("INBOX", uid, "Sent")
        server.mailbox.folder("INBOX").change_validity()

        outcome = await sync(db, account)

        assert (outcome.counts.bytes, outcome.counts.added) == (0, 0)
        assert await messages(db, account) == before
        await assert_equal(db, account, server)


async def test_equal_mails_that_share_an_id_in_one_folder_are_two(db: Database) -> None:
    async with serve(messages=10, folder_count=2, offers=["objectid"]) as server:
        uid = next(iter(server.mailbox.folder("INBOX").messages))
        server.mailbox.copy("INBOX", uid, "INBOX")
        account = await connected(db, server)

        assert (await sync(db, account)).counts.added == 11
        await assert_equal(db, account, server)


async def test_an_id_that_is_told_of_another_size_is_not_believed(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(messages=10, folder_count=2, offers=["objectid"]) as server:
        account = await connected(db, server)
        await sync(db, account)
        first = next(iter(server.mailbox.folder("INBOX").messages.values()))
        server.mailbox.deliver(mail(1, 999), "Sent")
        newest = list(server.mailbox.folders["Sent"].messages.values())[-1]
        for name in ("object_id", "id", "email_id"):
            if hasattr(newest, name):
                monkeypatch.setattr(newest, name, getattr(first, name))

        await sync(db, account)

        await assert_equal(db, account, server)


@pytest.mark.parametrize("offer", ["qresync", "condstore", "plain"])
async def test_a_folder_with_an_id_is_the_same_under_another_name(db: Database, offer: str) -> None:
    async with serve(messages=30, folder_count=3, offers=[offer, "objectid"]) as server:
        account = await connected(db, server)
        await sync(db, account)
        async with db.transaction(ONE) as conn:
            before = (await folders.listed(conn, ONE, account.id))[b"Sent"]
        server.mailbox.rename("Sent", "Verschickt")

        await sync(db, account)

        async with db.transaction(ONE) as conn:
            after = (await folders.listed(conn, ONE, account.id))[b"Verschickt"]
        assert after.public_id == before.public_id
        await assert_equal(db, account, server)
