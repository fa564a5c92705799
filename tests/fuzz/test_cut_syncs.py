"""A whole sync whose connection is cut at any byte, and the sync after it: nothing lost, nothing twice.

The ordinary tests cut at some bytes, POSTROOM_EVERY_CUT=1 at each, in each way.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from fuzz import tally
from fuzz.between import Between, between
from fuzz.recording import Cut
from sync.lab import assert_equal, connected, retry_parked, sync
from sync.mailboxes import copied, told

from postroom.accounts.model import Account
from postroom.db.pool import Database
from postroom.errors import TryLater
from postroom.imap import aio
from postroom.lab.mailbox import LabMailbox
from postroom.lab.server import LabServer, serve
from postroom.providers.imap import conversation, provider
from postroom.sync.remove import remove_account

pytestmark = pytest.mark.usefixtures("tenants")

EVERY_CUT = bool(os.environ.get("POSTROOM_EVERY_CUT"))
STRIDE = 1 if EVERY_CUT else 173  # bytes between two cuts of one kind
AT_ONE_ACCOUNT = 25  # cuts
SOON = 0.3  # seconds of silence


@contextmanager
def impatient(how: Cut) -> Iterator[None]:
    """Notice silence soon, where there will be some: elsewhere it would be that of a busy machine."""
    with pytest.MonkeyPatch.context() as patch:
        if how is Cut.STALL:
            patch.setattr(conversation, "SILENCE", SOON)
            patch.setattr(conversation, "GRAIN", 0)
            patch.setattr(provider, "GREETING", SOON)
            patch.setattr(aio, "LOGOUT_PATIENCE", SOON)
        yield


class Changing:
    """A small mailbox, and what happens to it between two syncs. No two of its mails are equal."""

    def __init__(self, mailbox: LabMailbox) -> None:
        self._mailbox = mailbox
        self.delivered: list[bytes] = []
        mailbox.folder("INBOX").expunge(*mailbox.folder("INBOX").messages)
        if "Work" in mailbox.folders:
            mailbox.delete("Work")
        mailbox.create("Work")
        for number in range(6):
            self.deliver("INBOX" if number % 2 else "Work")

    def deliver(self, folder: str) -> None:
        number = len(self.delivered)
        raw = b"From: a@example.org\r\nSubject: %d\r\n\r\nwords\r\n" % number
        self.delivered.append(raw)
        received = datetime(2026, 1, 1 + number % 28, tzinfo=UTC)
        self._mailbox.folder(folder).deliver(raw, received=received)

    def change(self) -> None:
        """One comes, one goes, one moves, one is read. As many as before are left."""
        inbox, other = self._mailbox.folder("INBOX"), self._mailbox.folder("Work")
        self.deliver("INBOX")
        inbox.expunge(next(iter(inbox.messages)))
        read = next(iter(inbox.messages))
        inbox.flag(read, inbox.messages[read].flags ^ {"\\Seen"})
        source, target = (inbox, other) if len(self.delivered) % 2 else (other, inbox)
        moved = source.messages[next(iter(source.messages))]
        target.deliver(moved.source, flags=moved.flags, received=moved.received)
        source.expunge(moved.uid)


def limits(whole: int, how: Cut) -> range:
    """Every byte, or some."""
    return range(STRIDE * list(Cut).index(how) // len(Cut), whole + 1, STRIDE)


@dataclass(frozen=True, slots=True)
class Scene:
    """An account on a server that is reached by a way that can be cut."""

    db: Database
    account: Account
    server: LabServer
    changing: Changing
    way: Between

    async def cut_and_sync_again(self, limit: int, how: Cut) -> None:
        """The sync that is cut, and the one after it."""
        where = f"{how} at {limit}"
        self.way.cut_next(limit, how)
        with impatient(how):
            outcome = await sync(self.db, self.account)
        assert outcome.error is None or isinstance(outcome.error, TryLater), f"{where}: {outcome.error!r}"
        held = await copied(self.db, self.account)
        assert {copy.raw for copy in held.values()} <= set(self.changing.delivered), where
        await retry_parked(self.db)
        outcome = await sync(self.db, self.account)
        assert (outcome.status, outcome.counts.skipped) == ("success", []), f"{where}: {outcome.error!r}"
        await assert_equal(self.db, self.account, self.server)
        added = [
            json.loads(one.body) for one in await told(self.db, self.account) if one.kind == "mail.added"
        ]
        assert len({event["message"] for event in added}) == len(added), f"{where}: added twice"
        assert len(added) == len(self.changing.delivered), where
        if EVERY_CUT:
            tally.add(f"syncs cut by {how}", 1)


@pytest.mark.parametrize("how", Cut)
async def test_a_first_sync_may_be_cut_at_any_byte(db: Database, how: Cut) -> None:
    async with serve(messages=0, folder_count=1) as server, between(server.port) as way:
        changing = Changing(server.mailbox)
        account = await connected(db, server, port=str(way.port))
        await sync(db, account)
        whole = way.passed
        for limit in limits(whole, how):
            await remove_account(db, account)
            account = await connected(db, server, port=str(way.port))
            await Scene(db, account, server, changing, way).cut_and_sync_again(limit, how)


@pytest.mark.parametrize("how", Cut)
async def test_a_later_sync_may_be_cut_at_any_byte(db: Database, how: Cut) -> None:
    """The account is made anew now and then, or its log would be read again and again."""
    async with serve(messages=0, folder_count=1) as server, between(server.port) as way:
        whole = limit = STRIDE * list(Cut).index(how) // len(Cut)
        while limit <= whole:
            changing = Changing(server.mailbox)
            account = await connected(db, server, port=str(way.port))
            await sync(db, account)
            changing.change()
            await sync(db, account)
            whole = way.passed
            for _ in range(AT_ONE_ACCOUNT):
                changing.change()
                await Scene(db, account, server, changing, way).cut_and_sync_again(limit, how)
                limit += STRIDE
            await remove_account(db, account)
