"""A mailbox that others change while it is copied."""

import asyncio
import random
from contextlib import suppress

import pytest
from sync.lab import assert_equal, assert_nothing_wrong, connected, messages, sync

from postroom.db.pool import Database
from postroom.lab.mailbox import FolderExists, LabFolder, LabMailbox, NoSuchFolder
from postroom.lab.mails import mail
from postroom.lab.server import serve

pytestmark = pytest.mark.usefixtures("tenants")

CHANGES = 60


class Others:
    """Clients who do what clients do, at random."""

    def __init__(self, mailbox: LabMailbox, seed: int) -> None:
        self._mailbox, self._dice, self._made = mailbox, random.Random(seed), 0
        self._kinds = [self._deliver, self._flag, self._expunge, self._move, self._create, self._delete]
        self._kinds += [self._rename, self._renumber]

    async def run(self) -> None:
        for _ in range(CHANGES):
            for _ in range(self._dice.randrange(40)):
                await asyncio.sleep(0)
            kinds = self._dice.choices(self._kinds, [9, 9, 6, 6, 1, 1, 1, 1])
            with suppress(NoSuchFolder, FolderExists):
                kinds[0]()

    def _folder(self) -> LabFolder:
        return self._dice.choice(list(self._mailbox.folders.values()))

    def _uids(self, folder: LabFolder) -> list[int]:
        uids = list(folder.messages)
        return self._dice.sample(uids, min(len(uids), self._dice.randrange(1, 5)))

    def _deliver(self) -> None:
        self._made += 1
        self._folder().deliver(mail(5, 1000 + self._made // 2))  # every second one twice

    def _flag(self) -> None:
        folder = self._folder()
        for uid in self._uids(folder):
            folder.flag(uid, self._dice.sample(["\\Seen", "\\Flagged", "$Later", "a[b"], 2))

    def _expunge(self) -> None:
        folder = self._folder()
        folder.expunge(*self._uids(folder))

    def _move(self) -> None:
        source, target = self._folder(), self._folder()
        for uid in self._uids(source):
            moved = source.messages[uid]
            target.deliver(moved.source, flags=moved.flags, received=moved.received)
            source.expunge(uid)

    def _create(self) -> None:
        self._made += 1
        self._mailbox.create(f"New{self._made % 3}")

    def _delete(self) -> None:
        if (folder := self._folder()).name != "INBOX":
            self._mailbox.delete(folder.name)

    def _rename(self) -> None:
        self._made += 1
        if (folder := self._folder()).name != "INBOX":
            self._mailbox.rename(folder.name, f"New{self._made % 3}")

    def _renumber(self) -> None:
        self._made += 1
        self._folder().change_validity(2_000_000_000 + self._made)  # never that of another folder


@pytest.mark.parametrize("seed", range(5))
async def test_the_copy_is_never_wrong_meanwhile_and_equal_in_the_end(db: Database, seed: int) -> None:
    async with serve(messages=120, folder_count=6, seed=seed) as server:
        account = await connected(db, server)
        others = Others(server.mailbox, seed)
        for _ in range(4):
            async with asyncio.TaskGroup() as group:
                group.create_task(others.run())
                await sync(db, account)

        outcome = await sync(db, account)

        assert (outcome.status, outcome.counts.skipped) == ("success", [])
        await assert_nothing_wrong(db, account, server)
        await assert_equal(db, account, server)
        held = await messages(db, account)
        await sync(db, account)
        assert await messages(db, account) == held
