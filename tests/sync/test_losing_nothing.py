"""What must not be lost, doubled or left over when a sync is cut off or a server changes under it."""

from datetime import timedelta

import asyncpg
import pytest
from servers.tenants import ONE
from sync.lab import assert_equal, connected, messages, retry_parked, sync
from sync.mailboxes import copied, told

from postroom.accounts import store as accounts
from postroom.accounts.model import AccountState, NoSuchAccount
from postroom.db.model import LeaseLost, Unreachable
from postroom.db.pool import Connection, Database
from postroom.ids import FolderId, TenantId
from postroom.lab.server import serve
from postroom.mail.store import write
from postroom.providers.model import SentAway
from postroom.sync import store
from postroom.sync.model import Cursor
from postroom.sync.remove import remove_account

pytestmark = pytest.mark.usefixtures("tenants")

MOVE = store.move
PARKED = "SELECT count(*) FROM sync_parked WHERE tenant_id = $1"
BLOBS = """
    SELECT count(*), sum(refs),
           (SELECT count(*) FROM mail_message WHERE tenant_id = $1) AS messages
      FROM blobs_blob WHERE tenant_id = $1
"""


async def parked(db: Database) -> int:
    async with db.transaction(ONE) as conn:
        return int(await conn.fetchval(PARKED, ONE))


async def test_numbers_of_a_copy_that_was_cut_off_are_not_taken_for_those_of_a_new_validity(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(messages=40, folder_count=1) as server:
        account = await connected(db, server)
        with monkeypatch.context() as patch:
            patch.setattr(store, "move", away)
            await sync(db, account)
        assert len(await copied(db, account)) == 40
        inbox = server.mailbox.folder("INBOX")
        inbox.expunge(*list(inbox.messages)[::2])
        inbox.change_validity()

        outcome = await sync(db, account)

        assert outcome.status == "success"
        await assert_equal(db, account, server)


@pytest.mark.parametrize("offer", ["qresync", "condstore", "plain"])
async def test_a_message_that_the_server_passes_over_is_not_passed_by_the_cursor(
    db: Database, offer: str
) -> None:
    async with serve(messages=20, folder_count=2, offers=[offer], faults=["left-out"]) as server:
        account = await connected(db, server)
        await sync(db, account)
        assert len(await copied(db, account)) == 20
        server.faults.switch_off("left-out")

        await sync(db, account)

        await assert_equal(db, account, server)


async def test_a_message_that_breaks_the_connection_of_a_server_without_validity_is_parked(
    db: Database,
) -> None:
    async with serve(messages=20, folder_count=1, faults=["breaks-on-message", "validity-missing"]) as server:
        account = await connected(db, server)

        for _ in range(3):
            await sync(db, account)

        assert len(await copied(db, account)) == 19
        assert await parked(db) == 1
        assert (await sync(db, account)).status == "success"


async def test_a_second_list_that_is_refused_confirms_no_removal(db: Database) -> None:
    async with serve(messages=20, folder_count=4) as server:
        account = await connected(db, server)
        await sync(db, account)
        before = await messages(db, account)
        server.faults.switch_on("list-forgets", "second-list-fails")

        outcome = await sync(db, account)

        assert outcome.counts.skipped
        assert await messages(db, account) == before
        server.faults.switch_off("list-forgets")
        folder = next(name for name in server.mailbox.folders if name != "INBOX")
        server.mailbox.delete(folder)
        outcome = await sync(db, account)
        assert (outcome.counts.skipped, outcome.counts.folders) == ([], 3)
        await assert_equal(db, account, server)
        assert [entry.kind for entry in await told(db, account)].count("mail.folder_removed") == 1


async def test_a_server_that_wants_less_is_not_asked_for_the_next_folder(db: Database) -> None:
    async with serve(messages=40, folder_count=8, faults=["overquota"]) as server:
        account = await connected(db, server)
        outcome = await sync(db, account)
        while outcome.error is None:
            server.arrive()
            outcome = await sync(db, account)

        assert isinstance(outcome.error, SentAway)
        assert outcome.error.wait >= timedelta(hours=1)
        assert outcome.counts.skipped == []


async def test_a_folder_that_is_numbered_anew_at_each_look_is_named_and_loses_nothing(db: Database) -> None:
    async with serve(messages=20, folder_count=2) as server:
        account = await connected(db, server)
        await sync(db, account)
        before = await messages(db, account)
        server.arrive()
        server.faults.switch_on("validity-loops")

        outcome = await sync(db, account)

        assert outcome.counts.skipped
        assert await messages(db, account) == before


async def test_mail_that_the_server_will_not_hand_out_again_is_kept(db: Database) -> None:
    async with serve(messages=20, folder_count=1) as server:
        account = await connected(db, server)
        await sync(db, account)
        before = await messages(db, account)
        server.faults.switch_on("unavailable-uid")
        server.mailbox.folder("INBOX").change_validity()

        outcome = await sync(db, account)

        assert (outcome.status, outcome.counts.parked) == ("success", 1)
        assert await messages(db, account) == before
        server.faults.switch_off("unavailable-uid")
        await retry_parked(db)
        await sync(db, account)
        assert await messages(db, account) == before
        await assert_equal(db, account, server)


async def test_a_message_that_breaks_the_connection_is_set_aside_and_the_rest_is_copied(db: Database) -> None:
    async with serve(messages=60, folder_count=2, faults=["breaks-on-message"]) as server:
        account = await connected(db, server)
        poisoned = [f.name for f in server.mailbox.folders.values() if 3 in f.messages]
        outcomes = [await sync(db, account) for _ in range(2 * len(poisoned))]
        last = await sync(db, account)

        assert {outcome.status for outcome in outcomes} == {"failed"}
        assert sum(outcome.counts.parked for outcome in outcomes) == len(poisoned) > 1
        assert (last.status, last.counts.skipped) == ("success", [])
        copies = await copied(db, account)
        assert len(copies) == sum(len(f.messages) for f in server.mailbox.folders.values()) - len(poisoned)
        assert (await sync(db, account)).status == "success"  # it is not asked for before its time
        await retry_parked(db)
        assert [(await sync(db, account)).status for _ in poisoned] == ["failed"] * len(poisoned)
        assert (await sync(db, account)).status == "success"
        server.faults.switch_off("breaks-on-message")
        await retry_parked(db)
        assert (await sync(db, account)).status == "success"
        await assert_equal(db, account, server)


async def test_a_message_that_was_refused_first_and_then_breaks_the_connection_blocks_nothing(
    db: Database,
) -> None:
    async with serve(messages=60, folder_count=1, faults=["unavailable-uid"]) as server:
        account = await connected(db, server)
        assert (await sync(db, account)).counts.parked == 1
        server.faults.switch_off("unavailable-uid")
        server.faults.switch_on("breaks-on-message")
        await retry_parked(db)

        statuses = [(await sync(db, account)).status for _ in range(3)]

        assert statuses == ["failed", "failed", "success"]


async def test_a_folder_that_became_a_mere_name_holds_no_mail(db: Database) -> None:
    async with serve(messages=40, folder_count=2) as server:
        parent = server.mailbox.create("Parent")
        parent.deliver(b"Subject: a\r\n\r\nb\r\n")
        account = await connected(db, server)
        await sync(db, account)
        parent.selectable = False
        parent.messages.clear()

        outcome = await sync(db, account)

        assert (outcome.status, outcome.counts.removed) == ("success", 1)
        await assert_equal(db, account, server)


async def test_what_waits_is_forgotten_when_the_server_has_it_no_more(db: Database) -> None:
    async with serve(messages=20, folder_count=1, faults=["unavailable-uid"]) as server:
        account = await connected(db, server)
        await sync(db, account)
        assert await parked(db) == 1
        server.mailbox.folder("INBOX").expunge(3)

        await sync(db, account)

        assert await parked(db) == 0


async def test_content_that_is_parked_again_and_again_goes_with_its_message(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(messages=6, folder_count=1) as server:
        account = await connected(db, server)
        with monkeypatch.context() as patch:
            patch.setattr(write, "add", refused)
            for _ in range(3):
                await sync(db, account)
                await retry_parked(db)
        assert await parked(db) == 6

        await sync(db, account)

        await assert_equal(db, account, server)
        async with db.transaction(ONE) as conn:
            row = await conn.fetchrow(BLOBS, ONE)
        assert row is not None
        assert list(row) == [6, 6, 6]


async def test_content_that_is_parked_goes_with_its_account(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(messages=6, folder_count=1) as server:
        account = await connected(db, server)
        monkeypatch.setattr(write, "add", refused)
        await sync(db, account)
        assert await parked(db) == 6

        await remove_account(db, account)

        async with db.transaction(ONE) as conn:
            row = await conn.fetchrow(BLOBS, ONE)
        assert row is not None
        assert list(row) == [0, None, 0]


async def test_an_account_that_was_removed_is_the_outcome_of_its_sync(db: Database) -> None:
    async with serve(messages=6, folder_count=1) as server:
        account = await connected(db, server)
        await remove_account(db, account)

        outcome = await sync(db, account)

        assert isinstance(outcome.error, NoSuchAccount)


async def test_a_run_that_lost_its_lease_leaves_the_account_to_who_has_it(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(messages=6, folder_count=1) as server:
        account = await connected(db, server)
        with monkeypatch.context() as patch:
            patch.setattr(store, "move", taken_over)
            outcome = await sync(db, account)

        assert (outcome.status, type(outcome.error)) == ("busy", LeaseLost)
        async with db.transaction(ONE) as conn:
            now = await accounts.get_by_id(conn, ONE, account.id)
        assert (now.state, now.failures, now.last_sync_status) == (AccountState.ACTIVE, 0, None)


async def test_an_account_whose_removal_was_cut_off_is_not_polled_nor_called_fresh(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(messages=6, folder_count=1) as server:
        account = await connected(db, server)
        await sync(db, account)
        with monkeypatch.context() as patch:
            patch.setattr(accounts, "remove", refused)
            with pytest.raises(asyncpg.DataError):
                await remove_account(db, account)

        async with db.transaction(ONE) as conn:
            now = await accounts.get_by_id(conn, ONE, account.id)
        assert (now.state, now.verified_fresh_at) == (AccountState.PAUSED, None)
        assert (await sync(db, account)).counts.added == 6  # for who resumes it, everything is compared
        await remove_account(db, account)
        assert await copied(db, account) == {}


async def taken_over(*_: object) -> None:
    raise LeaseLost("Another process has it.")


async def away(conn: Connection, tenant: TenantId, folder: FolderId, cursor: Cursor) -> None:
    """The connection is lost before the first copy is complete."""
    if not cursor.is_begun:
        raise Unreachable("lost")
    await MOVE(conn, tenant, folder, cursor)


async def refused(*_: object) -> None:
    raise asyncpg.DataError("PostgreSQL does not like this")
