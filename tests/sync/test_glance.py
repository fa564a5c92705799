"""Glances: a mailbox that is as it was costs next to nothing, and of any other a sync has to find out."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest
from servers.dovecot import Dovecot
from servers.tenants import ONE
from sync.lab import connected, sync
from sync.mailboxes import connected as connected_to
from sync.mailboxes import means
from sync.test_watch import holds, put, until, watched, watching

from postroom.accounts import credentials
from postroom.accounts import store as accounts
from postroom.accounts.change import pause
from postroom.accounts.model import Account, AccountState, Scope
from postroom.accounts.store import together
from postroom.db import leases
from postroom.db.pool import Connection, Database
from postroom.ids import AccountId, FolderId, TenantId
from postroom.lab.server import serve
from postroom.mail.model import Folder
from postroom.providers.model import FolderRole, FolderStatus, Means, RemoteFolder
from postroom.providers.pool import Pool
from postroom.providers.target import Key
from postroom.sync import halt
from postroom.sync.glance import Stored, glance, is_as_it_was
from postroom.sync.model import Cursor
from postroom.sync.model import key as sync_key
from postroom.sync.perform import Outcome, perform

pytestmark = pytest.mark.usefixtures("tenants")

EVERY = timedelta(minutes=1)  # so a session is kept
SELDOM = timedelta(days=1)
THERE = FolderStatus(3, 7, 4, 9)
INBOX = RemoteFolder(b"INBOX", "INBOX", "/", FolderRole.INBOX, status=THERE)
HERE = Folder(FolderId(1), uuid4(), AccountId(1), b"INBOX", "INBOX", FolderRole.INBOX, selectable=True)
CURSOR = Cursor(7, 4, 9, 3)


@pytest.mark.parametrize(
    ("listed", "stored", "answer"),
    [
        ([INBOX], {b"INBOX": (HERE, CURSOR)}, True),
        ([], {}, False),
        ([], {b"INBOX": (HERE, CURSOR)}, False),
        ([INBOX], {}, False),
        ([INBOX], {b"INBOX": (HERE, None)}, False),
        ([INBOX], {b"INBOX": (HERE, CURSOR), b"Gone": (HERE, CURSOR)}, False),
        ([replace(INBOX, status=None)], {b"INBOX": (HERE, CURSOR)}, False),
        ([replace(INBOX, role=None)], {b"INBOX": (HERE, CURSOR)}, False),
        ([replace(INBOX, status=replace(THERE, messages=2))], {b"INBOX": (HERE, CURSOR)}, False),
        ([replace(INBOX, status=replace(THERE, uid_next=5))], {b"INBOX": (HERE, CURSOR)}, False),
        ([replace(INBOX, status=replace(THERE, modseq=10))], {b"INBOX": (HERE, CURSOR)}, False),
        ([replace(INBOX, status=replace(THERE, modseq=None))], {b"INBOX": (HERE, CURSOR)}, False),
        ([replace(INBOX, status=replace(THERE, validity=8))], {b"INBOX": (HERE, CURSOR)}, False),
        ([replace(INBOX, status=replace(THERE, object_id="F1"))], {b"INBOX": (HERE, CURSOR)}, False),
        ([INBOX, RemoteFolder(b"New", "New", "/", status=THERE)], {b"INBOX": (HERE, CURSOR)}, False),
    ],
)
def test_only_numbers_that_prove_it_say_that_a_mailbox_is_as_it_was(
    listed: list[RemoteFolder], stored: Stored, *, answer: bool
) -> None:
    assert is_as_it_was(Scope(), listed, stored) is answer


@pytest.fixture
async def kept() -> AsyncIterator[Pool]:
    async with aclosing(Pool(10)) as made:
        yield made


class Glanced:
    """What came of a glance at these accounts."""

    def __init__(self) -> None:
        self.settled: dict[AccountId, bool] = {}
        self.outcomes: list[Outcome] = []

    def __call__(self, key: Key, *, is_settled: bool) -> None:
        assert key[1] not in self.settled
        self.settled[key[1]] = is_settled


async def glanced(db: Database, kept: Pool, *looked: Account) -> Glanced:
    found = Glanced()
    keys = [(ONE, account.id) for account in looked]
    await glance(replace(means(db), pool=kept), EVERY, found.outcomes.append, keys, found)
    return found


async def now(db: Database, account: Account) -> Account:
    async with db.transaction(ONE) as conn:
        return await accounts.get_by_id(conn, ONE, account.id)


async def test_a_mailbox_that_is_as_it_was_is_done_with(db: Database, kept: Pool) -> None:
    async with serve(messages=5, folder_count=2, offers="qresync") as server:
        account = await connected(db, server)
        await sync(db, account)
        before = await now(db, account)
        for _ in range(2):  # by a login, and in the session that was kept
            found = await glanced(db, kept, account)
            assert found.settled == {account.id: True}
            assert [outcome.status for outcome in found.outcomes] == ["success"]
        after = await now(db, account)
    assert after.sync_count == before.sync_count + 2
    assert after.last_sync_at is not None
    assert before.last_sync_at is not None
    assert after.last_sync_at > before.last_sync_at
    assert after.sync_started_at is None


async def test_what_has_changed_is_left_to_a_sync_and_nobody_logs_in_twice(db: Database, kept: Pool) -> None:
    async with serve(messages=5, folder_count=2, offers="qresync") as server:
        account = await connected(db, server)
        await sync(db, account)
        server.arrive()
        before = await now(db, account)
        found = await glanced(db, kept, account)
        assert found.settled == {account.id: False}
        assert found.outcomes == []
        assert (await now(db, account)).last_sync_at == before.last_sync_at
        outcome = await sync(db, account, kept=kept)
    assert (outcome.status, outcome.counts.added) == ("success", 1)
    assert means(db).ledger.of((ONE, account.id)).logins == 0


async def hold(db: Database, account: Account, _conn: Connection) -> None:
    assert await leases.acquire(db, ONE, sync_key(account.id), "somebody 1 1") is not None


async def lose(_db: Database, account: Account, conn: Connection) -> None:
    await conn.execute("UPDATE accounts_account SET login_after = now() WHERE id = $1", account.id)


async def doubt(_db: Database, account: Account, conn: Connection) -> None:
    await conn.execute(
        "UPDATE accounts_account SET compared_at = now() - interval '25 hours' WHERE id = $1", account.id
    )


async def misplace(_db: Database, account: Account, conn: Connection) -> None:
    await conn.execute("UPDATE mail_message SET unplaced_at = now() WHERE account_id = $1", account.id)


async def fail(_db: Database, account: Account, conn: Connection) -> None:
    await conn.execute("UPDATE accounts_account SET state = 'error' WHERE id = $1", account.id)


@pytest.mark.parametrize("spoil", [hold, lose, doubt, misplace, fail])
async def test_what_is_not_simply_well_is_left_to_a_sync_and_not_logged_in_to(
    db: Database, kept: Pool, spoil: Callable[[Database, Account, Connection], Awaitable[None]]
) -> None:
    async with serve(messages=5, folder_count=1, offers="qresync") as server:
        account = await connected(db, server)
        await sync(db, account)
        async with db.transaction(ONE) as conn:
            await spoil(db, account, conn)
        before = await now(db, account)
        found = await glanced(db, kept, account)
    assert found.settled == {account.id: False}
    assert await now(db, account) == before


async def test_a_login_that_fails_is_the_accounts_trouble_and_not_its_neighbours(
    db: Database, kept: Pool
) -> None:
    async with serve(messages=5, folder_count=1, offers="qresync") as server:
        account = await connected(db, server)
        other = await connected(db, server, address="other@lab.example")
        for one in account, other:
            await sync(db, one)
        sealed = credentials.seal(means(db).vault, ONE, account.public_id, "wrong")
        async with db.transaction(ONE) as conn:
            await conn.execute("UPDATE accounts_account SET secret = $2 WHERE id = $1", account.id, sealed)
        found = await glanced(db, kept, account, other)
    assert found.settled == {account.id: True, other.id: True}
    assert {one.account.id: one.status for one in found.outcomes} == {
        account.id: "failed",
        other.id: "success",
    }
    after = await now(db, account)
    assert (after.last_sync_status, after.failures) == ("failed", 1)
    assert after.last_sync_error is not None


async def test_one_that_is_paused_meanwhile_stays_so(
    db: Database, kept: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:

    async with serve(messages=5, folder_count=1, offers="qresync") as server:
        account = await connected(db, server)
        await sync(db, account)
        marked = together.mark_syncs_succeeded

        async def mark(
            conn: Connection, tenant: TenantId, successes: Sequence[together.Success]
        ) -> set[AccountId]:
            async with db.transaction(ONE) as other:
                await pause(other, account, halt.stop)
            return await marked(conn, tenant, successes)

        monkeypatch.setattr(together, "mark_syncs_succeeded", mark)
        found = await glanced(db, kept, account)
    assert found.outcomes == []
    assert (await now(db, account)).state is AccountState.PAUSED


@pytest.mark.usefixtures("alone")
async def test_a_process_that_starts_makes_no_job_of_what_is_as_it_was(
    db: Database, dovecot: Dovecot
) -> None:
    same, changed = [await connected_to(db, dovecot, dovecot.user(name)) for name in ("same", "changed")]
    for account in same, changed:
        outcome = await perform(means(db), account, every=SELDOM)
        assert outcome.status == "success"
    before = [await syncs(db, account) for account in (same, changed)]
    await asyncio.to_thread(put, dovecot, changed.settings["username"], 1)
    async with watching(db, SELDOM):
        for account in same, changed:
            await watched(db, account, Means.NOTIFY)
        await holds(db, changed, 1)
        await until(lambda: is_marked(db, same, before[0][1] + 1))
    after = [await syncs(db, account) for account in (same, changed)]
    assert after[0][0] == before[0][0]  # no sync has held its lease
    assert after[1][0] > before[1][0]


async def syncs(db: Database, account: Account) -> tuple[int, int]:
    """How often its lease was taken, and how many syncs and glances there were."""
    async with db.transaction(ONE) as conn:
        token = await conn.fetchval("SELECT token FROM db_lease WHERE name = $1", sync_key(account.id))
        return token, (await accounts.get_by_id(conn, ONE, account.id)).sync_count


async def is_marked(db: Database, account: Account, count: int) -> bool:
    return (await syncs(db, account))[1] == count
