"""One message, one id, one event for what happens to it, whatever becomes of its numbers and names."""

import json
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from servers.tenants import ONE
from sync.lab import assert_equal, connected, messages, sync
from sync.mailboxes import copied, means, told

from postroom.accounts.model import Account, Scope
from postroom.db.pool import Database
from postroom.lab.mailbox import LabFolder
from postroom.lab.mails import mail
from postroom.lab.server import LabServer, serve
from postroom.mail.store import folders
from postroom.providers.model import Mailbox
from postroom.sync import run
from postroom.sync.folder import look_again
from postroom.sync.look import FolderCopy
from postroom.sync.perform import perform
from postroom.sync.pipeline import Pipeline
from postroom.sync.verify import verify

pytestmark = pytest.mark.usefixtures("tenants")

EVERY = timedelta(minutes=15)


@pytest.fixture
async def server() -> AsyncIterator[LabServer]:
    async with serve(messages=40, folder_count=3) as running:
        yield running


@pytest.fixture
async def account(db: Database, server: LabServer) -> Account:
    connection = await connected(db, server)
    assert (await sync(db, connection)).status == "success"
    return connection


class Heard:
    """What the log says from now on."""

    def __init__(self, db: Database, account: Account, after: int) -> None:
        self._db, self._account, self._after = db, account, after

    @classmethod
    async def from_now(cls, db: Database, account: Account) -> "Heard":
        return cls(db, account, len(await told(db, account)))

    async def events(self) -> list[tuple[str, dict[str, Any]]]:
        entries = (await told(self._db, self._account))[self._after :]
        return [(entry.kind, json.loads(entry.body) | {"v": 1}) for entry in entries]

    async def kinds(self) -> Counter[str]:
        return Counter(kind for kind, _ in await self.events())


def move(source: LabFolder, target: LabFolder, *uids: int) -> None:
    for uid in uids:
        moved = source.messages[uid]
        target.deliver(moved.source, flags=moved.flags, received=moved.received)
    source.expunge(*uids)


async def folder_ids(db: Database, account: Account) -> dict[str, str]:
    async with db.transaction(ONE) as conn:
        known = await folders.listed(conn, ONE, account.id)
    return {folder.path: str(folder.public_id) for folder in known.values()}


async def ids_in(db: Database, account: Account, folder: str) -> set[str]:
    return {copy.public_id for (name, _), copy in (await copied(db, account)).items() if name == folder}


async def test_a_move_is_one_event_that_names_both_folders(
    db: Database, server: LabServer, account: Account
) -> None:
    inbox, target = server.mailbox.folder("INBOX"), server.mailbox.folders["Sent"]
    before, names = await ids_in(db, account, "INBOX"), await folder_ids(db, account)
    heard = await Heard.from_now(db, account)
    move(inbox, target, *list(inbox.messages)[:3])

    outcome = await sync(db, account)

    events = await heard.events()
    assert [kind for kind, _ in events] == ["mail.moved"] * 3
    assert {(told["from"], told["folder"]) for _, told in events} == {(names["INBOX"], names["Sent"])}
    assert {told["message"] for _, told in events} == before - await ids_in(db, account, "INBOX")
    assert (outcome.counts.moved, outcome.counts.added, outcome.counts.removed) == (3, 0, 0)
    await assert_equal(db, account, server)


async def test_what_vanishes_may_turn_up_elsewhere_later_and_is_the_same(
    db: Database, server: LabServer, account: Account
) -> None:
    inbox, target = server.mailbox.folder("INBOX"), server.mailbox.folders["Sent"]
    before = await messages(db, account)
    heard = await Heard.from_now(db, account)
    uid = next(iter(inbox.messages))
    gone = inbox.messages[uid]
    inbox.expunge(uid)

    outcome = await perform(means(db), account, every=EVERY, grace=timedelta(hours=1))

    assert (outcome.counts.unplaced, await heard.kinds()) == (1, Counter())
    target.deliver(gone.source, flags=gone.flags, received=gone.received)
    await sync(db, account)
    assert await heard.kinds() == {"mail.moved": 1}
    assert await messages(db, account) == before
    await assert_equal(db, account, server)


async def test_what_comes_back_to_where_it_was_has_done_nothing(
    db: Database, server: LabServer, account: Account
) -> None:
    inbox = server.mailbox.folder("INBOX")
    heard = await Heard.from_now(db, account)
    uid = next(iter(inbox.messages))
    gone = inbox.messages[uid]
    inbox.expunge(uid)
    await perform(means(db), account, every=EVERY, grace=timedelta(hours=1))
    inbox.deliver(gone.source, flags=gone.flags, received=gone.received)

    await sync(db, account)

    assert await heard.kinds() == Counter()
    await assert_equal(db, account, server)


async def test_what_does_not_turn_up_is_removed_when_its_grace_is_over(
    db: Database, server: LabServer, account: Account
) -> None:
    inbox = server.mailbox.folder("INBOX")
    heard = await Heard.from_now(db, account)
    inbox.expunge(next(iter(inbox.messages)))
    waiting = await perform(means(db), account, every=EVERY, grace=timedelta(hours=1))

    await sync(db, account)

    assert waiting.counts.unplaced == 1
    assert await heard.kinds() == {"mail.removed": 1}
    await assert_equal(db, account, server)


async def test_a_poll_follows_soon_when_mail_lies_nowhere(
    db: Database, server: LabServer, account: Account
) -> None:
    inbox = server.mailbox.folder("INBOX")
    inbox.expunge(next(iter(inbox.messages)))

    await perform(means(db), account, every=EVERY, grace=timedelta(seconds=60))

    async with db.transaction(ONE) as conn:
        wait = await conn.fetchval(
            "SELECT next_sync_at - now() FROM accounts_account WHERE id = $1", account.id
        )
    assert wait < timedelta(seconds=90)


async def test_a_copy_and_its_end_are_told_apart_from_a_move(
    db: Database, server: LabServer, account: Account
) -> None:
    inbox, target = server.mailbox.folder("INBOX"), server.mailbox.folders["Sent"]
    heard = await Heard.from_now(db, account)
    copy = next(iter(inbox.messages.values()))
    uid = target.deliver(copy.source, flags=copy.flags, received=copy.received)

    await sync(db, account)

    assert await heard.kinds() == {"mail.copied": 1}
    target.expunge(uid)
    await sync(db, account)
    assert await heard.kinds() == {"mail.copied": 1, "mail.left": 1}
    await assert_equal(db, account, server)


@pytest.mark.parametrize("also", ["nothing", "delivered", "expunged", "flagged", "moved"])
async def test_a_new_validity_is_told_once_and_beside_it_only_what_is_different(
    also: str, db: Database, server: LabServer, account: Account
) -> None:
    inbox = server.mailbox.folder("INBOX")
    before = await copied(db, account)
    heard = await Heard.from_now(db, account)
    uid = next(iter(inbox.messages))
    match also:
        case "delivered":
            inbox.deliver(b"Subject: new\r\n\r\n")
        case "expunged":
            inbox.expunge(uid)
        case "flagged":
            inbox.flag(uid, {"\\Answered"})
        case "moved":
            move(inbox, server.mailbox.folders["Sent"], uid)
    inbox.change_validity()

    outcome = await sync(db, account)

    assert outcome.counts.skipped == []
    different = {
        "nothing": {},
        "delivered": {"mail.added": 1},
        "expunged": {"mail.removed": 1},
        "flagged": {"mail.flags_changed": 1},
        "moved": {"mail.moved": 1},
    }[also]
    assert await heard.kinds() == {"mail.folder_renumbered": 1} | different
    held = {copy.public_id for copy in (await copied(db, account)).values()}
    assert {copy.public_id for copy in before.values()} - held == set() or also == "expunged"
    await assert_equal(db, account, server)


@pytest.mark.parametrize("offers", [(), ("objectid",), ("plain",)])
async def test_mail_that_moves_between_folders_that_are_all_numbered_anew_moves(
    offers: tuple[str, ...], db: Database
) -> None:
    async with serve(messages=40, folder_count=3, offers=offers) as server:
        account = await connected(db, server)
        await sync(db, account)
        before = await messages(db, account)
        heard = await Heard.from_now(db, account)
        every = list(server.mailbox.folders.values())
        for source, target in zip(every, [*every[1:], every[0]], strict=True):
            move(source, target, *list(source.messages)[:3])
        for folder in every:
            folder.change_validity()

        await sync(db, account)

        assert await heard.kinds() == {"mail.folder_renumbered": len(every), "mail.moved": 3 * len(every)}
        assert await messages(db, account) == before
        await assert_equal(db, account, server)


async def test_equal_mails_in_a_folder_stay_two_through_a_new_validity(
    db: Database, server: LabServer, account: Account
) -> None:
    inbox = server.mailbox.folder("INBOX")
    inbox.deliver(mail(9, 1), flags={"\\Seen"})
    inbox.deliver(mail(9, 1))
    await sync(db, account)
    before = await messages(db, account)
    heard = await Heard.from_now(db, account)
    inbox.change_validity()

    await sync(db, account)

    assert await messages(db, account) == before
    assert await heard.kinds() == {"mail.folder_renumbered": 1}
    await assert_equal(db, account, server)


async def test_no_mail_disappears_while_a_folder_is_numbered_anew(
    db: Database, server: LabServer, account: Account
) -> None:
    before = await messages(db, account)
    inbox = server.mailbox.folder("INBOX")
    inbox.change_validity()
    server.faults.switch_on("cut-in-literal")

    assert (await sync(db, account)).status == "failed"

    async with db.transaction(ONE) as conn:
        placed = await conn.fetch(
            "SELECT DISTINCT m.public_id::text"
            "  FROM mail_message m JOIN mail_placement p ON p.message_id = m.id"
        )
    assert {row[0] for row in placed} == before
    assert not all(folder.is_equal for folder in await verify(means(db), account))
    await sync(db, account)
    await assert_equal(db, account, server)


async def test_a_renamed_folder_is_the_same_and_so_is_all_its_mail(
    db: Database, server: LabServer, account: Account
) -> None:
    before, names = await messages(db, account), await folder_ids(db, account)
    heard = await Heard.from_now(db, account)
    server.mailbox.rename("Sent", "Verschickt")

    outcome = await sync(db, account)

    assert await heard.events() == [("mail.folder_renamed", {"folder": names["Sent"], "v": 1})]
    assert (await folder_ids(db, account))["Verschickt"] == names["Sent"]
    assert (await messages(db, account), outcome.counts.added) == (before, 0)
    await assert_equal(db, account, server)


async def test_a_renamed_folder_whose_mail_cannot_be_had_is_known_later(
    db: Database, server: LabServer, account: Account
) -> None:
    before, folders_before = await messages(db, account), await folder_ids(db, account)
    server.mailbox.rename("Sent", "Sent items")
    server.faults.switch_on("body-missing")

    outcome = await sync(db, account)

    assert [skipped.path for skipped in outcome.counts.skipped] == ["Sent", "Sent items"]
    server.faults.switch_off("body-missing")
    await sync(db, account)
    assert (await folder_ids(db, account))["Sent items"] == folders_before["Sent"]
    assert await messages(db, account) == before
    await assert_equal(db, account, server)


async def test_two_folders_can_swap_their_names(db: Database, server: LabServer, account: Account) -> None:
    server.mailbox.create("A").deliver(b"Subject: a\r\n\r\n")
    server.mailbox.create("B").deliver(b"Subject: b\r\n\r\n")
    await sync(db, account)
    names, heard = await folder_ids(db, account), await Heard.from_now(db, account)
    server.mailbox.rename("A", "C")
    server.mailbox.rename("B", "A")
    server.mailbox.rename("C", "B")

    await sync(db, account)

    now = await folder_ids(db, account)
    assert (now["A"], now["B"]) == (names["B"], names["A"])
    assert await heard.kinds() == {"mail.folder_renamed": 2}
    await assert_equal(db, account, server)


async def test_an_empty_folder_is_no_other_that_happens_to_have_its_validity(
    db: Database, server: LabServer, account: Account
) -> None:
    full, empty = server.mailbox.create("A", validity=1), server.mailbox.create("B", validity=2)
    full.deliver(b"Subject: a\r\n\r\n")
    await sync(db, account)
    names, heard = await folder_ids(db, account), await Heard.from_now(db, account)
    full.expunge(1)
    full.change_validity(2)
    empty.change_validity(3)

    await sync(db, account)

    assert await folder_ids(db, account) == names
    assert await heard.kinds() == {"mail.folder_renumbered": 1, "mail.removed": 1}


async def test_an_empty_folder_and_a_full_one_can_swap_their_names(
    db: Database, server: LabServer, account: Account
) -> None:
    server.mailbox.create("A").deliver(b"Subject: a\r\n\r\n")
    server.mailbox.create("B")
    await sync(db, account)
    heard = await Heard.from_now(db, account)
    server.mailbox.rename("A", "C")
    server.mailbox.rename("B", "A")
    server.mailbox.rename("C", "B")

    await sync(db, account)

    assert await heard.kinds() == {"mail.folder_renamed": 2}
    await assert_equal(db, account, server)


async def test_a_folder_takes_the_name_of_one_that_is_gone(
    db: Database, server: LabServer, account: Account
) -> None:
    server.mailbox.create("A").deliver(b"Subject: a\r\n\r\n")
    server.mailbox.create("B").deliver(b"Subject: b\r\n\r\n")
    await sync(db, account)
    names, heard = await folder_ids(db, account), await Heard.from_now(db, account)
    server.mailbox.delete("B")
    server.mailbox.rename("A", "B")

    await sync(db, account)

    assert (await folder_ids(db, account))["B"] == names["A"]
    assert await heard.kinds() == {"mail.folder_removed": 1, "mail.folder_renamed": 1, "mail.removed": 1}
    await assert_equal(db, account, server)


async def test_a_new_folder_with_an_old_validity_and_other_mail_is_another_folder(
    db: Database, server: LabServer, account: Account
) -> None:
    old = server.mailbox.create("A", validity=77)
    old.deliver(b"Subject: a\r\n\r\n")
    await sync(db, account)
    names = await folder_ids(db, account)
    server.mailbox.delete("A")
    server.mailbox.create("B", validity=77).deliver(b"Subject: b\r\n\r\n")

    await sync(db, account)

    assert (await folder_ids(db, account))["B"] != names["A"]
    await assert_equal(db, account, server)


async def test_the_mail_of_a_deleted_folder_that_lies_elsewhere_has_moved(
    db: Database, server: LabServer, account: Account
) -> None:
    before, heard = await messages(db, account), await Heard.from_now(db, account)
    sent, trash = server.mailbox.folders["Sent"], server.mailbox.create("Trash/Sent")
    count = len(sent.messages)
    move(sent, trash, *list(sent.messages))
    server.mailbox.delete("Sent")

    await sync(db, account)

    assert await heard.kinds() == {"mail.moved": count, "mail.folder_added": 1, "mail.folder_removed": 1}
    assert await messages(db, account) == before
    await assert_equal(db, account, server)


async def test_mail_from_before_the_account_was_connected_is_marked_and_later_mail_is_not(
    db: Database, server: LabServer, account: Account
) -> None:
    entries = [(e.kind, json.loads(e.body)) for e in await told(db, account)]
    assert all(body.get("backfill") for kind, body in entries if kind == "mail.added")
    assert [kind for kind, _ in entries].count("sync.completed_first") == 1
    heard = await Heard.from_now(db, account)
    old = server.mailbox.create("Later")
    old.deliver(mail(1, 500), received=next(iter(server.mailbox.folder("INBOX").messages.values())).received)
    old.deliver(mail(1, 501))
    server.mailbox.deliver(mail(1, 502))

    await sync(db, account)

    marks = Counter(
        body.get("backfill", False) for kind, body in await heard.events() if kind == "mail.added"
    )
    assert marks == {True: 1, False: 2}


async def test_mail_that_goes_and_comes_back_while_a_sync_runs_is_the_same(
    db: Database, server: LabServer, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox, sent = server.mailbox.folder("INBOX"), server.mailbox.folders["Sent"]
    before, heard = await messages(db, account), await Heard.from_now(db, account)
    for number in range(3):
        sent.deliver(mail(1, 900 + number))

    async def there_and_back(mailbox: Mailbox, pipeline: Pipeline, copy: FolderCopy) -> None:
        monkeypatch.undo()
        uid = next(iter(inbox.messages))
        move(inbox, sent, uid)
        move(sent, inbox, list(sent.messages)[-1])
        await look_again(mailbox, pipeline, copy)

    monkeypatch.setattr(run, "FIRST", 1)
    monkeypatch.setattr(run, "look_again", there_and_back)

    await sync(db, account)
    await sync(db, account)

    assert before < await messages(db, account)
    assert await heard.kinds() == {"mail.added": 3}
    await assert_equal(db, account, server)


async def test_what_is_out_of_scope_does_not_slip_in_while_a_sync_runs(
    db: Database, server: LabServer, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox = server.mailbox.folder("INBOX")
    for number in range(3):
        server.mailbox.folders["Sent"].deliver(mail(1, 900 + number))

    async def old_mail_comes(mailbox: Mailbox, pipeline: Pipeline, copy: FolderCopy) -> None:
        monkeypatch.undo()
        copy.scope = Scope(since=date(2020, 1, 1))
        inbox.deliver(b"Subject: old\r\n\r\n", received=datetime(2019, 1, 1, tzinfo=UTC))
        inbox.deliver(b"Subject: new\r\n\r\n")
        await look_again(mailbox, pipeline, copy)

    monkeypatch.setattr(run, "FIRST", 1)
    monkeypatch.setattr(run, "look_again", old_mail_comes)

    outcome = await sync(db, account)

    assert outcome.counts.added == 4
