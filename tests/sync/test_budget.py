"""A day's budget: older mail waits for the next day, new mail comes, nothing is fetched twice."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from servers.api import Client
from servers.tenants import ONE
from sync.lab import assert_equal, connected, messages, sync
from sync.mailboxes import copied, means, told

from postroom.accounts import store as accounts
from postroom.accounts.model import Account, AccountState
from postroom.accounts.store import limits
from postroom.db.listen import open_hints
from postroom.db.pool import Database
from postroom.lab.server import LabServer, serve
from postroom.providers import budget, store
from postroom.providers.imap.conversation import Conversation
from postroom.providers.slots import open_slots
from postroom.providers.store import Today
from postroom.providers.target import Purpose
from postroom.sync.model import target
from postroom.sync.perform import Means, perform

pytestmark = pytest.mark.usefixtures("tenants")

LIMIT = 400_000
SIZE = 10_000
EVERY = timedelta(minutes=15)
SPEND = "INSERT INTO providers_budget"


def mail(number: int, size: int = SIZE) -> bytes:
    head = f"Message-ID: <{number}@lab.example>\r\nSubject: {number}\r\n\r\n".encode()
    return head + b"x" * 76 * (size // 76) + b"\r\n"


def fill(server: LabServer, numbers: Iterable[int], size: int = SIZE) -> None:
    for number in numbers:
        server.mailbox.deliver(mail(number, size))


async def now(db: Database, account: Account) -> Account:
    async with db.transaction(ONE) as conn:
        return await accounts.get_by_id(conn, ONE, account.id)


async def today(db: Database, account: Account) -> Today:
    async with db.transaction(ONE) as conn:
        return await store.today(conn, ONE, account.id)


async def next_day(db: Database) -> None:
    """As if what was spent so far had been spent yesterday."""
    async with db.transaction(ONE) as conn:
        await conn.execute("UPDATE providers_budget SET day = day - 1")


async def test_backfill_waits_for_the_next_day_while_new_mail_comes(db: Database) -> None:
    async with serve(messages=1, folder_count=1) as server:
        fill(server, range(80))
        account = await connected(db, server, daily_bytes=LIMIT)
        first = await sync(db, account)
        after_first, spent = await now(db, account), await today(db, account)
        server.mailbox.deliver(mail(100))
        news, idle = await sync(db, account), await sync(db, account)
        have = await copied(db, account)
        fetched = first.counts.bytes + news.counts.bytes

        assert (first.status, news.status, idle.status) == ("success", "success", "success")
        assert 20 < first.counts.added < 40
        assert (news.counts.added, idle.counts.added) == (1, 0)
        assert max(uid for _, uid in have) - min(uid for _, uid in have) + 1 == len(have), "the newest"
        assert spent.bytes <= budget.for_backfill(LIMIT)
        assert (await today(db, account)).bytes <= LIMIT
        assert (after_first.state, after_first.last_sync_error) == (AccountState.ACTIVE, None)
        assert after_first.throttled_until is not None
        assert abs(after_first.throttled_until - spent.ends_at) < timedelta(minutes=1)
        assert spent.ends_in <= timedelta(days=1)
        assert (spent.ends_at.hour, spent.ends_at.minute, spent.ends_at.tzinfo) == (0, 0, UTC)
        assert f"{LIMIT:,}" in (after_first.throttled_by or "")
        assert "sync.completed_first" not in {entry.kind for entry in await told(db, account)}
        for _ in range(3):
            await next_day(db)
            fetched += (await sync(db, account)).counts.bytes

        await assert_equal(db, account, server)
        assert fetched == sum(len(copy.raw) for copy in (await copied(db, account)).values())
    assert (await now(db, account)).throttled_until is None
    assert "sync.completed_first" in {entry.kind for entry in await told(db, account)}


async def test_when_the_reserve_is_used_up_new_mail_waits_as_well_and_nothing_is_lost(db: Database) -> None:
    async with serve(messages=1, folder_count=1) as server:
        account = await connected(db, server, daily_bytes=LIMIT)
        await sync(db, account)
        fill(server, range(80))
        full, again = await sync(db, account), await sync(db, account)
        assert (full.status, again.status, again.counts.added) == ("success", "success", 0)
        assert LIMIT * 0.9 < (await today(db, account)).bytes <= LIMIT * 1.01
        before = await messages(db, account)
        for _ in range(2):
            await next_day(db)
            await sync(db, account)

        await assert_equal(db, account, server)
        assert before < await messages(db, account)


async def test_a_message_larger_than_a_day_comes_when_the_day_is_young(db: Database) -> None:
    async with serve(messages=1, folder_count=1) as server:
        account = await connected(db, server, daily_bytes=1 << 20)
        await sync(db, account)
        server.mailbox.deliver(mail(1, 2 << 20))
        await sync(db, account)
        await assert_equal(db, account, server)
        fill(server, [2])

        assert (await sync(db, account)).counts.added == 0


async def test_mail_that_moved_to_where_older_mail_waits_keeps_its_id(db: Database) -> None:
    async with serve(messages=1, folder_count=2) as server:
        account = await connected(db, server, daily_bytes=LIMIT)
        await sync(db, account)
        before = await messages(db, account)
        server.mailbox.deliver(b"Subject: small\r\n\r\nsmall\r\n")
        await sync(db, account)
        fill(server, range(80))
        await sync(db, account)
        uid = min(uid for name, uid in await copied(db, account) if name == "INBOX")
        server.mailbox.move("INBOX", uid, "Sent")
        await sync(db, account)
        for _ in range(3):
            await next_day(db)
            await sync(db, account)

        await assert_equal(db, account, server)
        assert before <= await messages(db, account)
        assert "mail.removed" not in {entry.kind for entry in await told(db, account)}


async def test_a_folder_numbered_anew_within_a_budget_loses_no_message(db: Database) -> None:
    async with serve(messages=1, folder_count=1) as server:
        fill(server, range(60))
        account = await connected(db, server)
        await sync(db, account)
        before = await messages(db, account)
        await set_daily_bytes(db, account, LIMIT)
        await next_day(db)
        server.faults.switch_on("validity-changes")
        for _ in range(2):  # the fault waits for the second time that it is asked
            server.arrive()
            await sync(db, account)
        server.faults.switch_off("validity-changes")
        assert (await now(db, account)).throttled_until is not None
        for _ in range(3):
            await next_day(db)
            await sync(db, account)

        await assert_equal(db, account, server)
        assert before <= await messages(db, account)
        assert "mail.removed" not in {entry.kind for entry in await told(db, account)}


async def set_daily_bytes(db: Database, account: Account, most: int) -> None:
    async with db.transaction(ONE) as conn:
        await limits.set_daily_bytes(conn, ONE, account.id, most)


async def test_nothing_is_written_of_what_a_poll_costs_that_finds_nothing(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(messages=5, folder_count=1) as server:
        account, use = await connected(db, server), means(db)
        await perform(use, account, every=EVERY)
        seen = watched(monkeypatch)
        for _ in range(3):
            await perform(use, account, every=EVERY)
        assert "UPDATE accounts_account SET" in seen
        assert SPEND not in seen
        pending = use.spent(account).pending()
        assert (pending.connections, pending.logins) == (3, 3)
        server.arrive()
        await perform(use, account, every=EVERY)

    assert seen.count(SPEND) == 1
    spent = await today(db, account)
    assert (spent.connections, spent.logins) == (5, 5)
    assert not use.spent(account).pending()


async def test_many_polls_that_find_nothing_are_written_down_together(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(messages=5, folder_count=1) as server:
        account, use = await connected(db, server), means(db)
        seen = watched(monkeypatch)
        for _ in range(21):
            await perform(use, account, every=EVERY)

    assert seen.count(SPEND) == 2
    assert (await today(db, account)).connections == 21


def watched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What goes to PostgreSQL from here on, by the first words."""
    seen: list[str] = []
    real = vars(asyncpg.Connection)["_do_execute"]

    async def noting(connection: Any, query: str, *args: Any, **more: Any) -> Any:
        seen.append(" ".join(query.split()[:3]))
        return await real(connection, query, *args, **more)

    monkeypatch.setattr(asyncpg.Connection, "_do_execute", noting)
    return seen


async def test_what_several_processes_spend_is_one_budget(db: Database) -> None:
    async with serve(messages=1, folder_count=1) as server:
        fill(server, range(30))
        account = await connected(db, server, daily_bytes=LIMIT)
        await sync(db, account)
        fill(server, range(30, 60))
        other: Means = means(db)
        outcome = await perform(other, account, every=EVERY)

    assert 0 < outcome.counts.added < 30
    assert (await today(db, account)).bytes <= LIMIT * 1.01


async def test_an_alert_is_shown_cleaned_and_once(db: Database, api: Client) -> None:
    async with serve(messages=2, folder_count=1, faults=["alert"]) as server:
        account = await connected(db, server)
        for _ in range(3):
            await sync(db, account)
    told = (await api.get(f"/v1/accounts/{account.public_id}/budget")).json()

    (alert,) = told["alerts"]
    assert alert["text"].startswith("Your [31mmailbox [0m moves tonight.")
    assert len(alert["text"]) <= 200
    assert datetime.fromisoformat(alert["at"]) <= datetime.now(UTC) + timedelta(minutes=1)
    assert (told["connections_today"], told["logins_today"]) == (3, 3)


async def test_what_a_server_says_at_each_login_is_written_down_once(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(messages=2, folder_count=1, faults=["alert"]) as server:
        account, use = await connected(db, server), means(db)
        await perform(use, account, every=EVERY)
        seen = watched(monkeypatch)
        for _ in range(5):
            await perform(use, account, every=EVERY)

    assert SPEND not in seen
    assert len((await today(db, account)).alerts) == 1


async def test_an_alert_in_a_refusal_is_shown_and_a_server_that_wants_less_says_until_when(
    db: Database, api: Client
) -> None:
    async with serve(messages=30, folder_count=1, faults=["overquota"]) as server:
        account = await connected(db, server)
        await sync(db, account)
        told = (await api.get(f"/v1/accounts/{account.public_id}")).json()
        limits = (await api.get(f"/v1/accounts/{account.public_id}/budget")).json()

    assert told["state"] == "error"
    until = datetime.fromisoformat(told["throttled_until"])
    assert timedelta(minutes=50) < until - datetime.now(UTC) <= timedelta(hours=1)
    assert "come back later" in told["throttled_by"]
    assert limits["throttled_until"] == told["throttled_until"]
    assert limits["bytes_today"] > 0


async def test_how_many_connections_a_server_allows_is_told_while_that_is_believed(
    db: Database, api: Client
) -> None:
    async with serve(messages=1, folder_count=1) as server:
        account = await connected(db, server)
    path = f"/v1/accounts/{account.public_id}/budget"
    async with open_hints(db) as hints, open_slots(db, hints) as slots:
        held = [await slots.take(target(account), Purpose.SYNC, EVERY) for _ in range(3)]
        await slots.learn(held[2])
        await slots.give_back(held)

    assert (await api.get(path)).json()["connections_ceiling"] == 2
    async with db.transaction(ONE) as conn:
        await conn.execute("UPDATE providers_limit SET expires_at = now()")
    assert (await api.get(path)).json()["connections_ceiling"] is None


async def test_a_server_that_slows_down_is_asked_for_less_at_a_time(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    widths: list[int] = []
    real = Conversation.events

    def noting(self: Conversation, commands: Any, window: int) -> Any:
        widths.append(window)
        return real(self, commands, window)

    monkeypatch.setattr(Conversation, "events", noting)
    async with serve(messages=300, folder_count=1, faults=["throttled"]) as server:
        account = await connected(db, server)
        assert (await sync(db, account)).status == "success"

    assert set(widths) == {1}
    assert (await today(db, account)).slowed_at is not None


async def test_the_limit_of_an_account_can_be_set_and_is_told(db: Database, api: Client) -> None:
    async with serve(messages=2, folder_count=1) as server:
        account = await connected(db, server)
        await sync(db, account)
    path = f"/v1/accounts/{account.public_id}"

    before = (await api.get(f"{path}/budget")).json()
    set_to = (await api.patch(path, json={"daily_bytes": 5 << 20})).json()
    after = (await api.get(f"{path}/budget")).json()
    cleared = (await api.patch(path, json={"daily_bytes": None})).json()

    assert (before["limit"], before["connections_today"], before["connections_ceiling"]) == (None, 1, None)
    assert before["bytes_today"] > 0
    assert (set_to["daily_bytes"], after["limit"]) == (5 << 20, 5 << 20)
    assert after["backfill_limit"] == budget.for_backfill(5 << 20)
    assert datetime.fromisoformat(after["resets_at"]) > datetime.now(UTC)
    assert cleared["daily_bytes"] is None
    assert (await now(db, account)).settings["host"] == account.settings["host"]
    assert (await api.patch(path, json={"daily_bytes": 5})).status_code == 422
