"""Mailboxes that are kept open between syncs: what that saves, and that nobody notices when they die."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
from histories.proxy import Break, Plan, proxy
from servers.dovecot import Dovecot
from servers.mailbox import other_client
from servers.tenants import ONE
from sync.lab import assert_equal, connected, sync
from sync.mailboxes import connected as connected_to
from sync.mailboxes import copied, means

from postroom.accounts import store as accounts
from postroom.accounts.change import pause
from postroom.accounts.model import Account
from postroom.db.beside import beside
from postroom.db.listen import open_hints
from postroom.db.pool import Database
from postroom.lab.server import LabServer, serve
from postroom.lab.session import House
from postroom.net.egress import Egress
from postroom.providers import kept as sessions
from postroom.providers import pool
from postroom.providers.imap.provider import ImapMailbox, ImapProvider
from postroom.providers.model import Changed, Login, Mailbox, NoConnection, Notice, Unreachable, Watching
from postroom.providers.pool import Pool, open_pool
from postroom.providers.slots import SESSIONS
from postroom.providers.target import Key
from postroom.sync import halt
from postroom.sync.model import target
from postroom.sync.perform import perform

pytestmark = pytest.mark.usefixtures("tenants")


@pytest.fixture
async def kept() -> AsyncIterator[Pool]:
    async with aclosing(Pool(10)) as made:
        yield made


@pytest.fixture
def logins(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Grows by one with each connection to a lab server."""
    seen: list[object] = []

    class Counted(set[object]):
        def add(self, task: object) -> None:
            seen.append(task)
            super().add(task)

    def house(*arguments: object, **more: object) -> House:
        made = House(*arguments, **more)  # type: ignore[arg-type]
        made.tasks = Counted()  # type: ignore[assignment]
        return made

    monkeypatch.setattr("postroom.lab.server.House", house)
    return seen


async def synced(db: Database, account: Account, server: LabServer, kept: Pool) -> None:
    """A sync that follows a change."""
    server.arrive()
    outcome = await sync(db, account, kept=kept)
    assert outcome.status == "success", outcome.error


async def test_the_next_sync_logs_in_no_more(db: Database, kept: Pool, logins: list[object]) -> None:
    async with serve(messages=12, folder_count=3) as server:
        account = await connected(db, server)
        for _ in range(3):
            await synced(db, account, server, kept)

        assert len(logins) == 1
        await assert_equal(db, account, server)


async def test_what_comes_to_the_folder_that_was_open_last_is_seen(
    db: Database, dovecot: Dovecot, kept: Pool
) -> None:
    user = dovecot.user("kept")
    with other_client(dovecot, user) as client:
        client.append("INBOX", b"Subject: one\r\n\r\n1")
        account = await connected_to(db, dovecot, user)
        await sync(db, account, kept=kept)
        client.append("INBOX", b"Subject: two\r\n\r\n2")
        client.flag("INBOX", [1], "+FLAGS", "\\Flagged")
        await sync(db, account, kept=kept)
        client.flag("INBOX", [1], "+FLAGS", "\\Deleted")
        client.expunge("INBOX", [1])
        await sync(db, account, kept=kept)

    assert [copy.raw for copy in (await copied(db, account)).values()] == [b"Subject: two\r\n\r\n2"]


async def test_one_that_died_meanwhile_is_replaced_unnoticed(db: Database, kept: Pool) -> None:
    async with serve(messages=5, folder_count=1) as server:
        account = await connected(db, server)
        await synced(db, account, server, kept)
    async with serve(messages=5, folder_count=1, arrived=1, port=server.port) as again:
        await synced(db, account, again, kept)
        await assert_equal(db, account, again)


async def test_one_that_falls_silent_is_replaced_unnoticed(
    db: Database, kept: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "PATIENCE", 0.1)
    monkeypatch.setattr(sessions, "TRUSTED", timedelta(0))
    async with serve(messages=5, folder_count=1) as server, proxy(server.host, server.port) as line:
        account = await connected(db, server, port=line.port)
        await synced(db, account, server, Pool())
        async with aclosing(Pool(1)) as others:
            await sync(db, account, kept=others)
            line.plan = Plan(Break.STALL, line.said, seconds=3600)
        await sync(db, account, kept=kept)
        assert line.plan is None

        await synced(db, account, server, kept)
        await assert_equal(db, account, server)


async def test_a_server_that_refuses_the_second_list_of_a_session_is_logged_in_to_again(
    db: Database, kept: Pool, logins: list[object]
) -> None:
    async with serve(messages=5, folder_count=1, faults=["second-list-fails"]) as server:
        account = await connected(db, server)
        for _ in range(3):
            await synced(db, account, server, kept)
        assert len(logins) == 3
        await assert_equal(db, account, server)


async def test_one_of_other_credentials_is_not_used(db: Database, kept: Pool, logins: list[object]) -> None:
    async with serve(messages=5, folder_count=1) as server:
        account = await connected(db, server)
        await synced(db, account, server, kept)
        async with db.transaction(ONE) as conn:
            sealed = await accounts.secret(conn, ONE, account.id)
            await accounts.set_credentials(conn, ONE, account.id, account.settings, sealed)
            account = await accounts.get_by_id(conn, ONE, account.id)

        await synced(db, account, server, kept)
        assert len(logins) == 2


async def test_one_that_failed_is_not_kept(db: Database, kept: Pool, logins: list[object]) -> None:
    async with serve(messages=5, folder_count=1, faults=["bye-in-fetch"]) as server:
        account = await connected(db, server)
        assert (await sync(db, account, kept=kept)).status == "failed"
        server.faults.switch_off("bye-in-fetch")
        await synced(db, account, server, kept)
        assert len(logins) == 2


async def test_no_more_are_kept_than_may_be(db: Database, logins: list[object]) -> None:
    async with serve(messages=3, folder_count=1) as server, aclosing(Pool(1)) as kept:
        one = await connected(db, server)
        two = await connected(db, server, address="other@lab.example")
        for account in (one, two, two, one):
            await synced(db, account, server, kept)
        assert len(logins) == 3


@pytest.mark.parametrize("limit", ["IDLE", "LIFE"])
async def test_one_whose_time_is_over_is_logged_out(
    limit: str, db: Database, kept: Pool, logins: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "LOOK_EVERY", 0.01)
    async with serve(messages=3, folder_count=1) as server:
        account = await connected(db, server)
        await synced(db, account, server, kept)
        monkeypatch.setattr(sessions, limit, timedelta(0))
        async with beside(kept.expire()):
            await ended(logins[0])
        await synced(db, account, server, kept)


async def test_nothing_is_kept_after_the_end(db: Database, logins: list[object]) -> None:
    async with serve(messages=3, folder_count=1) as server:
        async with open_hints(db) as hints, open_pool(hints) as kept:
            account = await connected(db, server)
            await synced(db, account, server, kept)
        await ended(logins[0])
        await synced(db, account, server, kept)
        assert len(logins) == 2


async def test_one_that_comes_back_after_the_end_is_closed(
    db: Database, logins: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    rest = ImapMailbox.rest
    async with serve(messages=3, folder_count=1) as server, aclosing(Pool(1)) as kept:

        async def at_the_end(mailbox: ImapMailbox) -> bool:
            await kept.aclose()
            return await rest(mailbox)

        monkeypatch.setattr(ImapMailbox, "rest", at_the_end)
        await synced(db, await connected(db, server), server, kept)
        await ended(logins[0])


@pytest.mark.parametrize("hint", ["account", "account one 2", "host", "", "account 1 2 3"])
async def test_a_hint_that_makes_no_sense_closes_nothing(
    hint: str, db: Database, logins: list[object]
) -> None:
    async with (
        serve(messages=3, folder_count=1) as server,
        open_hints(db) as hints,
        open_pool(hints) as kept,
    ):
        account = await connected(db, server)
        await synced(db, account, server, kept)
        hints.tell(SESSIONS, hint)
        await synced(db, account, server, kept)
        assert len(logins) == 1


async def ended(task: object) -> None:
    """The server's side of a conversation."""
    assert isinstance(task, asyncio.Task)
    async with asyncio.timeout(30):
        await asyncio.wait([task])


async def test_of_an_account_one_is_kept_in_all_processes(db: Database, logins: list[object]) -> None:
    async with (
        serve(messages=3, folder_count=1, faults=["too-many-connections"]) as server,
        open_hints(db) as hints,
        open_hints(db) as others,
        open_pool(hints) as here,
        open_pool(others) as there,
    ):
        account = await connected(db, server)
        await synced(db, account, server, here)
        server.faults.switch_off("too-many-connections")
        await synced(db, account, server, there)
        await ended(logins[0])
        await synced(db, account, server, there)
        assert len(logins) == 2


async def test_of_a_host_that_refuses_a_login_none_is_kept(db: Database, logins: list[object]) -> None:
    async with (
        serve(messages=3, folder_count=1, faults=["too-many-connections"]) as server,
        open_hints(db) as hints,
        open_hints(db) as others,
        open_pool(hints) as here,
        open_pool(others) as there,
    ):
        one = await connected(db, server)
        two = await connected(db, server, address="other@lab.example")
        await synced(db, one, server, here)
        assert (await sync(db, two, kept=here)).status == "failed"
        await ended(logins[0])
        for kept in (here, there, there, here):
            await synced(db, one, server, kept)
            await synced(db, two, server, kept)


@pytest.mark.parametrize("change", ["paused", "removed", "connected again"])
async def test_one_of_an_account_that_changes_is_closed(
    change: str, db: Database, logins: list[object]
) -> None:
    async with (
        serve(messages=3, folder_count=1) as server,
        open_hints(db) as hints,
        open_pool(hints) as kept,
    ):
        account = await connected(db, server)
        await synced(db, account, server, kept)
        if change == "removed":
            await halt.remove(db, account)
        else:
            async with db.transaction(ONE) as conn:
                if change == "paused":
                    await pause(conn, account, halt.stop)
                else:
                    await halt.begin_anew(conn, account)
        await ended(logins[0])


async def test_one_that_is_seldom_wanted_is_not_kept(db: Database, kept: Pool, logins: list[object]) -> None:
    async with serve(messages=3, folder_count=1) as server:
        account = await connected(db, server)
        for _ in range(2):
            use = replace(means(db), pool=kept)
            assert (await perform(use, account, every=timedelta(minutes=15))).status == "success"
        assert len(logins) == 2


async def test_everything_is_compared_in_a_session_of_its_own(
    db: Database, kept: Pool, logins: list[object]
) -> None:
    async with serve(messages=3, folder_count=1) as server:
        account = await connected(db, server)
        await synced(db, account, server, kept)
        assert (await sync(db, account, full=True, kept=kept)).status == "success"
        await synced(db, account, server, kept)
        assert len(logins) == 2


async def test_a_mailbox_that_is_lent_can_be_watched(db: Database, kept: Pool) -> None:
    told: list[Notice] = []
    news = asyncio.Event()

    def hear(notice: Notice) -> None:
        told.append(notice)
        news.set()

    async with serve(messages=2, folder_count=1) as server:
        account = await connected(db, server)
        provider = ImapProvider(Egress(private_allowed=True))
        opening = provider.open(Login(server.address, account.settings, server.password))
        async with kept.lend(target(account), opening, often=True) as mailbox:
            watching = await mailbox.watch(await mailbox.folders(), hear)
            assert watching is not None
            server.arrive()
            await asyncio.wait_for(news.wait(), 10)

        assert told == [Changed(b"INBOX", 3)]


class Everyone:
    """Wants the session of every account to listen."""

    def wants(self, _key: Key) -> bool:
        return True

    def began(self, _key: Key, watching: Watching | None, _missed: bool) -> None:
        assert watching is not None

    def heard(self, _key: Key) -> None: ...

    def lost(self, _key: Key) -> None: ...

    def interval(self, _key: Key, every: timedelta) -> timedelta:
        return every


async def test_who_listens_has_nothing_to_bear_of_what_others_meet_at_the_same_host(db: Database) -> None:
    async with aclosing(Pool(10, share=1)) as kept, serve(messages=2, folder_count=1) as server:
        kept.listening.watcher = Everyone()
        account, broken = [await connected(db, server, address=f"{n}@lab.example") for n in range(2)]
        assert (await sync(db, account, kept=kept)).status == "success"
        for _ in range(3):
            with pytest.raises(Unreachable):
                async with kept.lend(target(broken), breaking(server.host), often=True):
                    pass
        async with kept.lend(target(account), no_opening(), often=True) as used:
            await used.ping()
            with pytest.raises(NoConnection):
                kept.check(target(broken))


@asynccontextmanager
async def breaking(host: str) -> AsyncIterator[Mailbox]:
    raise Unreachable(f"{host} has broken off.", host=host)
    yield


@asynccontextmanager
async def no_opening() -> AsyncIterator[Mailbox]:
    raise AssertionError("its session was not used")
    yield
