"""Equal mails that a server knows by ids of its own."""

import pytest
from sync.lab import connected, sync
from sync.mailboxes import copied

from postroom.db.pool import Database
from postroom.lab.server import serve

pytestmark = pytest.mark.usefixtures("tenants")

RAW = b"Subject: twice\r\n\r\nx\r\n"


async def test_a_twin_elsewhere_does_not_take_the_place_of_a_mail_that_is_numbered_anew(db: Database) -> None:
    async with serve(messages=0, folder_count=1, offers=["objectid"]) as server:
        mailbox = server.mailbox
        mailbox.create("Work")
        account = await connected(db, server)
        mailbox.folder("INBOX").deliver(RAW)
        mailbox.folder("Work").deliver(RAW)  # content that we have: one message, in two places
        await sync(db, account)
        mailbox.copy("Work", 1, "INBOX")  # where it lies already: another one, known by the same id there
        await sync(db, account)
        before = (await copied(db, account))["Work", 1].public_id
        mailbox.folder("Work").change_validity()

        await sync(db, account)

        assert (await copied(db, account))["Work", 1].public_id == before
