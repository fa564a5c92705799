"""What may be said of a copy's freshness, and how often a server that throws us out is asked."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from servers.tenants import ONE
from sync.lab import assert_equal, connected, sync
from sync.mailboxes import means

from postroom.accounts import store as accounts
from postroom.accounts.model import Account, AccountState
from postroom.db.pool import Database
from postroom.lab.server import LabServer, serve
from postroom.sync.logins import TooSoon
from postroom.sync.perform import Means, Outcome, perform
from postroom.sync.run import Manner
from postroom.sync.verify import verify

pytestmark = pytest.mark.usefixtures("tenants")

EVERY = timedelta(minutes=15)
LONG_AGO = "UPDATE accounts_account SET compared_at = now() - interval '25 hours' WHERE id = $1"


async def now(db: Database, account: Account) -> Account:
    async with db.transaction(ONE) as conn:
        return await accounts.get_by_id(conn, ONE, account.id)


async def verified(db: Database, account: Account) -> datetime | None:
    return (await now(db, account)).verified_fresh_at


async def execute(db: Database, statement: str, *values: object) -> None:
    async with db.transaction(ONE) as conn:
        await conn.execute(statement, *values)


def hide_a_change(server: LabServer) -> None:
    """A flag that the server's modification sequence says nothing of, as some servers do."""
    inbox = server.mailbox.folder("INBOX")
    before = inbox.modseq
    uid = next(iter(inbox.messages))
    message = inbox.messages[uid]
    message.flags = message.flags ^ {"\\Flagged"}
    assert inbox.modseq == before


async def test_only_a_full_comparison_proves_that_a_copy_is_fresh(db: Database) -> None:
    async with serve(messages=20, folder_count=2) as server:
        account = await connected(db, server)
        assert await verified(db, account) is None
        await sync(db, account)
        first = await verified(db, account)
        server.arrive()
        await sync(db, account)

        assert first is not None
        assert await verified(db, account) == first
        await execute(db, LONG_AGO, account.id)
        await sync(db, account)
        later = await verified(db, account)
        assert later is not None
        assert later > first
        assert all(folder.is_equal for folder in await verify(means(db), account))
        now = await verified(db, account)
        assert now is not None
        assert now > later


async def test_what_the_numbers_hide_is_found_once_a_day_or_when_asked(db: Database) -> None:
    async with serve(messages=20, folder_count=2) as server:
        account = await connected(db, server)
        await sync(db, account)
        hide_a_change(server)
        assert (await sync(db, account)).counts.flags_changed == 0
        assert not all(folder.is_equal for folder in await verify(means(db), account))

        outcome = await perform(means(db), account, every=EVERY, full=True)

        assert outcome.counts.flags_changed == 1
        await assert_equal(db, account, server)
        hide_a_change(server)
        await execute(db, LONG_AGO, account.id)
        assert (await sync(db, account)).counts.flags_changed == 1
        await assert_equal(db, account, server)


@pytest.mark.parametrize("fault", ["unavailable-uid", "no-flags-in-fetch", "left-out", "select-fails"])
async def test_nothing_is_proven_while_something_could_not_be_had(db: Database, fault: str) -> None:
    async with serve(messages=60, folder_count=2, faults=[fault]) as server:
        account = await connected(db, server)
        for _ in range(3):
            await perform(means(db), account, every=EVERY, full=True)
            assert await verified(db, account) is None


async def test_what_is_larger_than_wanted_is_not_missing(db: Database) -> None:
    async with serve(messages=20, folder_count=2) as server:
        sizes = sorted(message.size for message in server.mailbox.folder("INBOX").messages.values())
        account = await connected(db, server)
        await execute(
            db,
            "UPDATE accounts_account SET scope = jsonb_build_object('largest', $2::int) WHERE id = $1",
            account.id,
            sizes[5],
        )
        async with db.transaction(ONE) as conn:
            account = await accounts.get_by_id(conn, ONE, account.id)
        outcome = await sync(db, account)

        assert outcome.counts.parked
        found = await verify(means(db), account)
        assert all(folder.is_equal for folder in found)
        assert sum(folder.server for folder in found) == 20 - outcome.counts.parked
        assert await verified(db, account) is not None


@pytest.mark.parametrize("from_the_first", [True, False])
async def test_numbers_without_a_validity_prove_nothing(db: Database, from_the_first: bool) -> None:
    async with serve(messages=20, folder_count=2) as server:
        account = await connected(db, server)
        if not from_the_first:
            await sync(db, account)
        before = await verified(db, account)
        server.faults.switch_on("validity-missing")

        outcome = await sync(db, account, full=True)
        await verify(means(db), account)

        assert outcome.status == "success"
        assert await verified(db, account) == before


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM mail_placement WHERE uid = 3",
        "UPDATE mail_placement SET flags = '{$Wrong}' WHERE uid = 3",
        "UPDATE mail_placement SET uid = 4000 WHERE uid = 3",
        "UPDATE sync_folder SET uid_next = uid_next + 100, messages = 3, modseq = modseq + 1000",
        "UPDATE sync_folder SET validity = 1",
    ],
)
async def test_a_full_sync_mends_a_copy_that_was_damaged(db: Database, damage: str) -> None:
    async with serve(messages=20, folder_count=2) as server:
        account = await connected(db, server)
        await sync(db, account)
        await execute(db, damage)

        outcome = await perform(means(db), account, every=EVERY, full=True, grace=timedelta())

        assert (outcome.status, outcome.counts.skipped) == ("success", [])
        await assert_equal(db, account, server)


def with_pause(db: Database) -> Means:
    return replace(means(db), manner=Manner(grace=timedelta(), pause=timedelta(seconds=30)))


async def logged_in(db: Database, account: Account, times: int) -> list[Outcome]:
    return [await perform(with_pause(db), account, every=EVERY) for _ in range(times)]


async def test_a_server_that_drops_us_is_left_alone_for_a_while(db: Database) -> None:
    async with serve(messages=20, folder_count=2, faults=["bye-in-fetch"]) as server:
        account = await connected(db, server)

        outcomes = await logged_in(db, account, 5)

        assert sum(isinstance(one.error, TooSoon) for one in outcomes) == 4
        wait = outcomes[-1].error
        assert isinstance(wait, TooSoon)
        assert wait.wait is not None
        assert timedelta() < wait.wait <= timedelta(seconds=30)
        server.faults.switch_off("bye-in-fetch")
        await execute(db, "UPDATE accounts_account SET login_after = now() WHERE id = $1", account.id)
        assert [one.status for one in await logged_in(db, account, 3)] == ["success"] * 3


async def test_a_sync_that_comes_too_soon_leaves_what_is_known_of_its_account(db: Database) -> None:
    async with serve(messages=1, folder_count=1, faults=["login-no"]) as server:
        account = await connected(db, server)

        await logged_in(db, account, 1)
        before = await now(db, account)
        assert isinstance((await logged_in(db, account, 1))[0].error, TooSoon)

    after = await now(db, account)
    assert before.state is AccountState.REAUTH_REQUIRED
    assert after == replace(before, next_sync_at=after.next_sync_at)
    assert after.next_sync_at - datetime.now(UTC) <= timedelta(seconds=30)


async def test_sessions_that_nothing_was_heard_of_make_the_next_ones_wait(db: Database) -> None:
    async with serve(messages=20, folder_count=2) as server:
        account = await connected(db, server)
        async with db.transaction(ONE) as conn:
            waits = [
                await accounts.begin_login(conn, ONE, account.id, timedelta(seconds=30)) for _ in range(4)
            ]

        assert [wait is not None for wait in waits] == [False, False, False, True]
        assert isinstance((await logged_in(db, account, 1))[0].error, TooSoon)


async def test_a_closed_port_was_no_login(db: Database) -> None:
    async with serve(messages=1, folder_count=1) as server:
        account = await connected(db, server)

    outcomes = await logged_in(db, account, 2)

    assert [one.error and one.error.code for one in outcomes] == ["providers.port_closed"] * 2


async def test_a_message_that_came_though_the_numbers_say_otherwise_is_found_among_changed_flags(
    db: Database,
) -> None:
    async with serve(messages=20, folder_count=1) as server:
        inbox = server.mailbox.folder("INBOX")
        account = await connected(db, server)
        await sync(db, account)
        first, last = min(inbox.messages), max(inbox.messages)
        inbox.expunge(first)
        inbox.next_uid = last + 5
        inbox.deliver(b"Subject: in its place\r\n\r\nhi\r\n")
        inbox.next_uid = last + 1

        outcome = await sync(db, account)

        assert (outcome.counts.added, outcome.counts.removed) == (1, 1)
        await assert_equal(db, account, server)


async def test_flags_that_changed_are_applied_once(db: Database) -> None:
    async with serve(messages=20, folder_count=1) as server:
        inbox = server.mailbox.folder("INBOX")
        account = await connected(db, server)
        await sync(db, account)
        for uid in inbox.messages:
            inbox.flag(uid, {"$Once"})

        assert (await sync(db, account)).counts.flags_changed == 20
        assert (await sync(db, account)).counts.flags_changed == 0
        await assert_equal(db, account, server)
