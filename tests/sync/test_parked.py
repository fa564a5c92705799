"""What is set aside: what is kept of it, who hears of it, and how it comes back."""

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from servers.tenants import ONE
from sync.lab import assert_equal, connected, retry_parked, sync
from sync.mailboxes import told

from postroom.accounts import store as accounts
from postroom.accounts.model import Account
from postroom.blobs import store as blobs
from postroom.db.pool import Database
from postroom.lab.server import serve
from postroom.mail.store import write
from postroom.sync import parked

pytestmark = pytest.mark.usefixtures("tenants")

ROWS = "SELECT * FROM sync_parked WHERE tenant_id = $1 ORDER BY id"


async def rows(db: Database) -> list[asyncpg.Record]:
    async with db.transaction(ONE) as conn:
        return list(await conn.fetch(ROWS, ONE))


async def heard(db: Database, account: Account) -> list[tuple[str, Mapping[str, Any]]]:
    """What the account's stream says of its quarantine."""
    entries = [(entry.kind, json.loads(entry.body)) for entry in await told(db, account)]
    about = [(kind, body) for kind, body in entries if kind.endswith(("parked", "released"))]
    return [(kind, {name: fact for name, fact in body.items() if name != "v"}) for kind, body in about]


async def refused(*_: object, **__: object) -> None:
    raise asyncpg.DataError("PostgreSQL does not like this")


async def test_what_cannot_be_stored_is_kept_as_it_came(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(messages=1, folder_count=1) as server:
        message = next(iter(server.mailbox.folder("INBOX").messages.values()))
        account = await connected(db, server)
        monkeypatch.setattr(write, "add", refused)

        await sync(db, account)

        [row] = await rows(db)
        async with db.transaction(ONE) as conn:
            assert await blobs.read_all(conn, ONE, row["digest"]) == message.raw()
        assert row["size"] == len(message.raw())
        assert frozenset(row["flags"]) == message.flags
        assert row["received_at"] is not None
        assert row["code"] == "sync.not_storable"
        assert row["public_id"].version == 7


async def test_a_message_is_told_to_be_parked_once_and_released_once(db: Database) -> None:
    async with serve(messages=20, folder_count=1, faults=["unavailable-uid"]) as server:
        account = await connected(db, server)
        for _ in range(3):
            await sync(db, account)
            await retry_parked(db)
        assert [row["attempts"] for row in await rows(db)] == [3]
        server.faults.switch_off("unavailable-uid")
        await sync(db, account)

        [(parked, about), (released, same)] = await heard(db, account)
        assert (parked, released) == ("sync.parked", "sync.released")
        assert about == {**same, "code": "providers.unfetchable"}
        assert await rows(db) == []


async def test_nobody_hears_of_what_was_merely_suspected(db: Database) -> None:
    async with serve(messages=60, folder_count=1, faults=["breaks-on-message"]) as server:
        account = await connected(db, server)
        await sync(db, account)
        suspected = await rows(db)
        server.faults.switch_off("breaks-on-message")
        await sync(db, account)

        assert suspected
        assert not any(row["is_parked"] for row in suspected)
        assert await rows(db) == []
        assert await heard(db, account) == []


async def test_the_size_of_what_is_too_large_is_known(db: Database) -> None:
    async with serve(messages=1, folder_count=1) as server:
        account = await connected(db, server)
        async with db.transaction(ONE) as conn:
            await conn.execute(
                "UPDATE accounts_account SET scope = '{\"largest\": 10}' WHERE id = $1", account.id
            )
            account = await accounts.get_by_id(conn, ONE, account.id)

        await sync(db, account)

        [row] = await rows(db)
        [message] = server.mailbox.folder("INBOX").messages.values()
        assert (row["code"], row["size"], row["digest"]) == ("sync.too_large", len(message.raw()), None)


async def test_a_folder_that_keeps_failing_is_left_alone_until_its_time_has_come(db: Database) -> None:
    async with serve(messages=20, folder_count=2, faults=["select-fails"]) as server:
        [other] = [name for name in server.mailbox.folders if name != "INBOX"]
        account = await connected(db, server)
        failing = [await sync(db, account) for _ in range(3)]
        left = await sync(db, account)
        server.faults.switch_off("select-fails")
        early = await sync(db, account)
        await retry_parked(db)
        mended = await sync(db, account)

        codes = [[folder.code for folder in outcome.counts.skipped] for outcome in (*failing, left, early)]
        assert codes == [["providers.refused"]] * 3 + [["sync.folder_parked"]] * 2
        assert {outcome.status for outcome in (*failing, left, early, mended)} == {"success"}
        assert "failed 3 times in a row" in left.counts.skipped[0].message
        assert left.counts.skipped[0].path == other
        assert mended.counts.skipped == []
        assert [kind for kind, _ in await heard(db, account)] == [
            "sync.folder_parked",
            "sync.folder_released",
        ]
        assert await rows(db) == []
        await assert_equal(db, account, server)


async def test_what_is_parked_in_a_folder_stays_so_when_the_folder_is(db: Database) -> None:
    async with serve(messages=40, folder_count=2, faults=["unavailable-uid"]) as server:
        account = await connected(db, server)
        await sync(db, account)
        before = {row["public_id"] for row in await rows(db)}
        server.faults.switch_on("select-fails")
        for folder in server.mailbox.folders.values():
            folder.deliver(b"Subject: later\r\n\r\nb\r\n")
        for _ in range(4):
            await sync(db, account)

        assert before < {row["public_id"] for row in await rows(db)}


async def test_each_failure_of_a_folder_doubles_its_wait(db: Database) -> None:
    async with serve(messages=20, folder_count=2, faults=["select-fails"]) as server:
        account = await connected(db, server)
        waits = []
        for _ in range(5):
            await sync(db, account)
            [row] = await rows(db)
            waits.append(row["retry_at"] - row["last_at"])
            await retry_parked(db)

        assert [wait / waits[0] for wait in waits] == [1, 2, 4, 8, 16]
        assert waits[2] == timedelta(hours=1)


async def test_a_folder_that_works_again_begins_anew(db: Database) -> None:
    async with serve(messages=20, folder_count=2, faults=["select-fails"]) as server:
        account = await connected(db, server)
        for _ in range(2):
            for _ in range(2):
                await sync(db, account)
            server.faults.switch_off("select-fails")
            await sync(db, account)
            server.faults.switch_on("select-fails")
            server.mailbox.folders[next(n for n in server.mailbox.folders if n != "INBOX")].deliver(
                b"a: b\r\n\r\n"
            )

        assert await heard(db, account) == []


async def test_a_parked_folder_that_the_server_has_no_more_is_released(db: Database) -> None:
    async with serve(messages=20, folder_count=2, faults=["select-fails"]) as server:
        [other] = [name for name in server.mailbox.folders if name != "INBOX"]
        account = await connected(db, server)
        for _ in range(3):
            await sync(db, account)
        server.mailbox.delete(other)
        await sync(db, account)

        assert [kind for kind, _ in await heard(db, account)] == [
            "sync.folder_parked",
            "sync.folder_released",
        ]
        assert await rows(db) == []


async def test_a_folder_that_ends_the_connection_holds_up_no_other(db: Database) -> None:
    async with serve(messages=40, folder_count=2, faults=["select-drops"]) as server:
        inbox = server.mailbox.folder("INBOX")
        account = await connected(db, server)
        first = await sync(db, account)
        second = await sync(db, account)
        copied_by_then = second.counts.added
        server.arrive()
        third = await sync(db, account)
        fourth = await sync(db, account)

        assert [outcome.status for outcome in (first, second, third, fourth)] == ["failed"] * 3 + ["success"]
        assert copied_by_then == len(inbox.messages) - 1
        assert third.counts.added == 1
        assert [folder.code for folder in fourth.counts.skipped] == ["sync.folder_parked"]
        assert [kind for kind, _ in await heard(db, account)] == ["sync.folder_parked"]
        server.faults.switch_off("select-drops")
        await retry_parked(db)
        await sync(db, account)
        assert [kind for kind, _ in await heard(db, account)] == [
            "sync.folder_parked",
            "sync.folder_released",
        ]
        await assert_equal(db, account, server)


async def test_what_moves_out_of_a_folder_that_failed_has_moved(db: Database) -> None:
    """Whatever broke off the last sync: a move is told as one, and not as a copy that is left behind."""
    async with serve(messages=20, folder_count=2) as server:
        [other] = [folder for folder in server.mailbox.folders.values() if folder.name != "INBOX"]
        account = await connected(db, server)
        await sync(db, account)
        server.faults.switch_on("select-drops")
        uid, message = next(iter(other.messages.items()))
        other.expunge(uid)
        server.mailbox.deliver(message.raw())
        failed = await sync(db, account)
        server.faults.switch_off("select-drops")
        before = len(await told(db, account))
        await sync(db, account)

        assert failed.status == "failed"
        kinds = [entry.kind for entry in (await told(db, account))[before:]]
        assert kinds == ["mail.moved"]


async def test_a_network_that_is_away_parks_nothing(db: Database) -> None:
    """Nothing speaks for a folder's guilt when the connection has been of use for no other."""
    async with serve(messages=20, folder_count=2, faults=["select-drops"]) as server:
        account = await connected(db, server)
        async with db.transaction(ONE) as conn:
            scope = 'UPDATE accounts_account SET scope = \'{"folders": "-INBOX"}\' WHERE id = $1'
            await conn.execute(scope, account.id)
        statuses = [(await sync(db, account)).status for _ in range(4)]

        assert statuses == ["failed"] * 4
        assert await heard(db, account) == []


async def test_an_account_that_is_retried_needs_its_owner_until_a_sync_succeeds(db: Database) -> None:
    async with serve(messages=2, folder_count=1, faults=["login-no"]) as server:
        account = await connected(db, server)
        for _ in range(2):
            await sync(db, account)
            async with db.transaction(ONE) as conn:
                await parked.retry(conn, ONE)
        server.faults.switch_off("login-no")
        for _ in range(2):
            await sync(db, account)

        kinds = [entry.kind for entry in await told(db, account)]
        assert [kind for kind in kinds if kind.startswith("accounts.")] == [
            "accounts.reauth_required",
            "accounts.recovered",
        ]
        async with db.transaction(ONE) as conn:
            assert not (await accounts.get_by_id(conn, ONE, account.id)).needs_owner
