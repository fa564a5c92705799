import asyncio
import itertools
from collections import Counter
from datetime import UTC, date, datetime, timedelta

import pytest
from servers.dovecot import Dovecot
from servers.mailbox import OtherClient, other_client
from servers.tenants import ONE
from sync.killing import Killer
from sync.mailboxes import connected, copied, means, told

from postroom.accounts import store as accounts
from postroom.accounts.model import Account, Scope
from postroom.db.pool import Database
from postroom.events import chain
from postroom.lab.mails import mail
from postroom.sync import folder as folder_copy
from postroom.sync.perform import Outcome, perform
from postroom.sync.verify import verify

pytestmark = pytest.mark.usefixtures("tenants")

EVERY = timedelta(minutes=15)


async def sync(db: Database, account: Account) -> Outcome:
    return await perform(means(db), account, every=EVERY)


async def synced(db: Database, account: Account) -> Outcome:
    outcome = await sync(db, account)
    assert outcome.status == "success", outcome.error
    assert outcome.counts.skipped == []
    return outcome


async def assert_equal(db: Database, account: Account, dovecot: Dovecot, user: str, *names: str) -> None:
    """The copy holds exactly what another client sees: places, flags and bytes."""
    with other_client(dovecot, user) as client:
        theirs = {(name, uid): value for name in names for uid, value in client.messages(name).items()}
    ours = await copied(db, account)
    assert {where: (copy.flags, copy.raw) for where, copy in ours.items()} == theirs
    assert all(folder.is_equal for folder in await verify(means(db), account))
    entries = await told(db, account)
    assert chain.verify(entries)[0] == len(entries)


def put(client: OtherClient, folder: str, *numbers: int, flags: str = "") -> None:
    for number in numbers:
        client.append(folder, mail(7, number).replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"), flags)


@pytest.fixture
def user(dovecot: Dovecot) -> str:
    name = dovecot.user("sync")
    with other_client(dovecot, name) as client:
        client.create("Work")
        client.create("&BB8EQAQ4BDIENQRC-")
        put(client, "INBOX", *range(12))
        put(client, "Work", 20, 21, flags="\\Seen $Later")
        put(client, "&BB8EQAQ4BDIENQRC-", 30)
    return name


NAMES = ("INBOX", "Work", "&BB8EQAQ4BDIENQRC-")


async def test_the_copy_equals_the_mailbox(db: Database, dovecot: Dovecot, user: str) -> None:
    account = await connected(db, dovecot, user)

    outcome = await synced(db, account)

    assert (outcome.counts.added, outcome.counts.removed) == (15, 0)
    await assert_equal(db, account, dovecot, user, *NAMES)
    kinds = Counter(entry.kind for entry in await told(db, account))
    assert kinds["mail.added"] == 15


async def test_a_sync_that_finds_nothing_says_nothing(db: Database, dovecot: Dovecot, user: str) -> None:
    account = await connected(db, dovecot, user)
    await synced(db, account)
    before = await told(db, account)

    outcome = await synced(db, account)

    assert (outcome.counts.added, outcome.counts.flags_changed, outcome.counts.bytes) == (0, 0, 0)
    assert await told(db, account) == before


async def test_every_change_is_followed_and_told_once(db: Database, dovecot: Dovecot, user: str) -> None:
    account = await connected(db, dovecot, user)
    await synced(db, account)
    heard = len(await told(db, account))
    with other_client(dovecot, user) as client:
        inbox = client.uids("INBOX")
        client.flag("INBOX", inbox[:3], "+FLAGS", "\\Flagged")
        client.expunge("INBOX", inbox[4:6])
        put(client, "INBOX", 40, 41)

    outcome = await synced(db, account)

    assert (outcome.counts.added, outcome.counts.removed, outcome.counts.flags_changed) == (2, 2, 3)
    await assert_equal(db, account, dovecot, user, *NAMES)
    kinds = Counter(entry.kind for entry in (await told(db, account))[heard:])
    assert kinds == {"mail.added": 2, "mail.removed": 2, "mail.flags_changed": 3}


async def test_a_message_keeps_its_id_when_it_moves(db: Database, dovecot: Dovecot, user: str) -> None:
    account = await connected(db, dovecot, user)
    await synced(db, account)
    before = await copied(db, account)
    with other_client(dovecot, user) as client:
        moved = client.uids("INBOX")[:4]
        client.move("INBOX", moved, "Work")

    await synced(db, account)

    after = await copied(db, account)
    await assert_equal(db, account, dovecot, user, *NAMES)
    assert {copy.public_id for copy in after.values()} == {copy.public_id for copy in before.values()}
    assert {before["INBOX", uid].public_id for uid in moved} <= {
        copy.public_id for (name, _), copy in after.items() if name == "Work"
    }
    assert "mail.removed" not in {entry.kind for entry in await told(db, account)}


async def test_a_copy_in_two_folders_is_one_message(db: Database, dovecot: Dovecot, user: str) -> None:
    account = await connected(db, dovecot, user)
    with other_client(dovecot, user) as client:
        client.copy("INBOX", client.uids("INBOX")[:2], "Work")

    outcome = await synced(db, account)

    assert outcome.counts.added == 15
    await assert_equal(db, account, dovecot, user, *NAMES)


async def test_a_folder_that_is_gone_takes_its_mail_along(db: Database, dovecot: Dovecot, user: str) -> None:
    account = await connected(db, dovecot, user)
    await synced(db, account)
    with other_client(dovecot, user) as client:
        client.delete("Work")

    await synced(db, account)

    await assert_equal(db, account, dovecot, user, "INBOX", "&BB8EQAQ4BDIENQRC-")
    kinds = Counter(entry.kind for entry in await told(db, account))
    assert (kinds["mail.folder_removed"], kinds["mail.removed"]) == (1, 2)


async def test_renumbered_mail_is_recognised(db: Database, dovecot: Dovecot, user: str) -> None:
    account = await connected(db, dovecot, user)
    await synced(db, account)
    before = {copy.public_id for copy in (await copied(db, account)).values()}
    async with db.transaction(ONE) as conn:  # as if every UIDVALIDITY had been another then
        await conn.execute("UPDATE sync_folder SET validity = validity - 1")

    await synced(db, account)

    assert {copy.public_id for copy in (await copied(db, account)).values()} == before
    await assert_equal(db, account, dovecot, user, *NAMES)
    assert "mail.removed" not in {entry.kind for entry in await told(db, account)}


async def test_only_the_folders_asked_for_are_copied(db: Database, dovecot: Dovecot, user: str) -> None:
    account = await connected(db, dovecot, user, Scope(folders="*,-Work"))

    await synced(db, account)

    assert {name for name, _ in await copied(db, account)} == {"INBOX", "&BB8EQAQ4BDIENQRC-"}


async def test_mail_from_before_a_day_stays_on_the_server(db: Database, dovecot: Dovecot) -> None:
    user = dovecot.user("since")
    days = [datetime(2024, month, 15, 12, tzinfo=UTC) for month in range(1, 13)]
    dovecot.append(user, "INBOX", (mail(7, number) for number in range(12)), received=days)
    account = await connected(db, dovecot, user, Scope(since=date(2024, 9, 15)))

    outcome = await synced(db, account)

    assert outcome.counts.added == 4
    [inbox] = [folder for folder in await verify(means(db), account) if folder.path == "INBOX"]
    assert (inbox.server, inbox.stored, inbox.is_equal) == (4, 4, True)
    assert (await synced(db, account)).counts.added == 0


async def test_mail_that_is_too_large_is_parked_and_named(db: Database, dovecot: Dovecot) -> None:
    user = dovecot.user("large")
    with other_client(dovecot, user) as client:
        client.append("INBOX", b"Subject: small\r\n\r\nhi")
        client.append("INBOX", b"Subject: large\r\n\r\n" + b"x" * 5000)
    account = await connected(db, dovecot, user, Scope(largest=1000))

    first, again = await synced(db, account), await synced(db, account)

    assert (first.counts.added, first.counts.parked) == (1, 1)
    assert (again.counts.added, again.counts.parked) == (0, 0)
    parked = [entry for entry in await told(db, account) if entry.kind == "sync.parked"]
    assert len(parked) == 1
    assert "sync.too_large" in parked[0].body


async def test_a_wrong_password_needs_the_owner(db: Database, dovecot: Dovecot, user: str) -> None:
    account = await connected(db, dovecot, user)
    async with db.transaction(ONE) as conn:
        await conn.execute("UPDATE accounts_account SET secret = NULL WHERE id = $1", account.id)

    outcome = await sync(db, account)

    assert (outcome.status, outcome.error and outcome.error.code) == ("failed", "providers.wrong_password")
    async with db.transaction(ONE) as conn:
        assert (
            await conn.fetchval("SELECT state FROM accounts_account WHERE id = $1", account.id)
            == "reauth_required"
        )
    assert [entry.kind for entry in await told(db, account)] == ["accounts.reauth_required"]


async def test_an_account_recovers_once(db: Database, dovecot: Dovecot, user: str) -> None:
    account = await connected(db, dovecot, user)
    async with db.transaction(ONE) as conn:
        secret = await accounts.secret(conn, ONE, account.id)
        await conn.execute("UPDATE accounts_account SET secret = NULL WHERE id = $1", account.id)
    await sync(db, account)
    async with db.transaction(ONE) as conn:
        await conn.execute("UPDATE accounts_account SET secret = $2 WHERE id = $1", account.id, secret)

    for _ in range(2):
        assert (await sync(db, account)).status == "success"

    kinds = [entry.kind for entry in await told(db, account) if entry.kind.startswith("accounts.")]
    assert kinds == ["accounts.reauth_required", "accounts.recovered"]


async def test_an_account_is_synced_by_one_at_a_time(db: Database, dovecot: Dovecot, user: str) -> None:
    account = await connected(db, dovecot, user)

    outcomes = await asyncio.gather(*(sync(db, account) for _ in range(4)))

    statuses = Counter(outcome.status for outcome in outcomes)
    assert statuses["success"] >= 1
    assert statuses["success"] + statuses["busy"] == 4
    await assert_equal(db, account, dovecot, user, *NAMES)


@pytest.mark.slow
async def test_a_sync_that_dies_at_any_statement_is_finished_by_the_next(
    db: Database, dovecot: Dovecot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kill a first sync and a later one at their first statement, then at a later one, to their ends."""
    monkeypatch.setattr(folder_copy, "BATCH_MESSAGES", 2)
    killer = Killer(monkeypatch)
    for statement in itertools.count(1, 3):
        user = dovecot.user("dying")
        with other_client(dovecot, user) as client:
            client.create("Work")
            put(client, "INBOX", *range(5))
            put(client, "Work", 0)
        account = await connected(db, dovecot, user)
        died = await killer.until(statement, db, sync(db, account))
        await synced(db, account)
        await assert_equal(db, account, dovecot, user, "INBOX", "Work")
        with other_client(dovecot, user) as client:
            uids = client.uids("INBOX")
            client.move("INBOX", uids[1:3], "Work")
            client.expunge("INBOX", uids[3:4])
            client.flag("INBOX", uids[4:], "+FLAGS", "\\Seen")
            put(client, "INBOX", 9)
        died |= await killer.until(statement, db, sync(db, account))
        await synced(db, account)
        await assert_equal(db, account, dovecot, user, "INBOX", "Work")
        added = Counter(entry.body for entry in await told(db, account) if entry.kind == "mail.added")
        assert (max(added.values()), len(added)) == (1, 6)
        if not died:
            break
    assert statement > 60
