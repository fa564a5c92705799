"""Accounts whose servers tell of changes: what comes is there at once, whoever dies meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from histories.proxy import proxy
from servers.dovecot import Dovecot
from servers.mailbox import other_client
from servers.tenants import ONE
from sync.lab import connected as connected_to
from sync.lab import sync
from sync.mailboxes import connected, copied, means
from sync.test_ceiling import sharing

from postroom.accounts import change
from postroom.accounts import store as accounts
from postroom.accounts.model import Account
from postroom.db import processes
from postroom.db.beside import beside
from postroom.db.listen import open_hints
from postroom.db.pool import Database
from postroom.executor.handlers import Work
from postroom.executor.run import executing
from postroom.ids import AccountId
from postroom.jobs.store import running
from postroom.lab.server import serve
from postroom.providers import kept
from postroom.providers.model import Means, OpenFolder, RemoteFolder
from postroom.providers.target import Key
from postroom.sync import halt, lanes, live, pace
from postroom.sync import watch as watch_module
from postroom.sync.model import Counts
from postroom.sync.pace import Pace
from postroom.sync.perform import Means as MeansOf
from postroom.sync.perform import perform
from postroom.sync.store import watch

pytestmark = pytest.mark.usefixtures("tenants", "alone")

EVERY = timedelta(days=1)  # so nothing is found in its turn


@asynccontextmanager
async def watching(
    db: Database, every: timedelta = EVERY, use: MeansOf | None = None, at: Pace | None = None
) -> AsyncIterator[None]:
    work = Work(use or means(db), every, pace=at or Pace())
    async with (
        open_hints(db) as hints,
        executing(work, hints, workers=3, patience=timedelta(0), polls=True),
    ):
        yield


async def until(is_so: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(150):  # what is promised is a sweep of 60 seconds and 5 more
        while not await is_so():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def until_so(is_so: Callable[[], bool]) -> None:
    while not is_so():  # noqa: ASYNC110
        await asyncio.sleep(0.005)


async def watched(db: Database, account: Account, how: Means | None) -> None:
    async def is_so() -> bool:
        async with db.transaction(ONE) as conn:
            found = await watch.watched(conn, ONE, account.id)
        return (found and found.means) == how

    await until(is_so)


async def holds(db: Database, account: Account, messages: int) -> None:
    async def is_so() -> bool:
        return len(await copied(db, account)) == messages

    await until(is_so)


def put(server: Dovecot, user: str, number: int, folder: str = "INBOX") -> None:
    with other_client(server, user) as client:
        client.append(folder, b"Subject: mail %d\r\n\r\nhello %d" % (number, number))


async def test_what_comes_is_stored_as_soon_as_the_server_tells(db: Database, dovecot: Dovecot) -> None:
    user = dovecot.user("told")
    put(dovecot, user, 0)
    account = await connected(db, dovecot, user)
    async with watching(db):
        await watched(db, account, Means.NOTIFY)
        for number in range(1, 6):
            await asyncio.to_thread(put, dovecot, user, number)
            await holds(db, account, number + 1)


async def test_what_lies_in_folders_that_idle_does_not_tell_of_is_found_by_a_sweep(
    db: Database,
) -> None:
    soon = Pace(swept=timedelta(seconds=0.2))
    async with serve(messages=5, folder_count=3, offers="plain") as server:
        account = await connected_to(db, server)
        async with watching(db, at=soon):
            await watched(db, account, Means.IDLE)
            server.arrive()
            await holds(db, account, 6)
            server.mailbox.deliver(b"Subject: sent\r\n\r\nhello", "Sent")
            await holds(db, account, 7)


async def test_where_the_inbox_refuses_to_be_opened_another_folder_is_told_of(db: Database) -> None:
    async with serve(messages=5, folder_count=2, faults=["inbox-refused"], offers="plain") as server:
        account = await connected_to(db, server)
        for _ in range(4):  # it is parked then, and the account has been compared but for it
            await sync(db, account)
        before = len(await copied(db, account))
        async with watching(db, at=Pace(swept=EVERY)):
            await watched(db, account, Means.IDLE)
            for number in (1, 2):
                server.mailbox.deliver(b"Subject: sent\r\n\r\nhello %d" % number, "Sent")
                await holds(db, account, before + number)


async def test_news_that_nobody_could_look_at_at_once_does_not_wait_for_the_next_sweep(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits, refused = asyncio.Event(), list[bool]()
    later, is_running = watch_module.Watchers._poll_later, running.is_running

    def polled_later(self: watch_module.Watchers, *given: Any) -> None:
        later(self, *given)
        waits.set()

    async def refuses_once(*given: Any) -> bool:
        refused.append(not refused)
        return refused[-1] or await is_running(*given)

    monkeypatch.setattr(watch_module.Watchers, "_poll_later", polled_later)
    async with serve(messages=5, folder_count=1, offers="plain") as server:
        account = await connected_to(db, server)
        async with watching(db, at=Pace(swept=timedelta(hours=1))):
            await watched(db, account, Means.IDLE)
            await holds(db, account, 5)
            waits.clear()
            await perform(means(db), account, every=EVERY)  # after which the next sweep is waited for
            await waits.wait()
            monkeypatch.setattr(running, "is_running", refuses_once)
            server.arrive()
            await holds(db, account, 6)
            assert refused[0]


async def test_news_that_waited_for_somebody_elses_sync_is_looked_at_as_soon_as_that_has_ended(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused, is_running = asyncio.Event(), running.is_running

    async def runs(*_given: Any) -> bool:
        refused.set()
        return True

    async with serve(messages=5, folder_count=1, offers="plain") as server:
        account = await connected_to(db, server)
        async with watching(db, at=Pace(swept=timedelta(hours=1))):
            await watched(db, account, Means.IDLE)
            await holds(db, account, 5)
            monkeypatch.setattr(pace, "again_after", lambda _tries, _roll: timedelta(hours=1))
            monkeypatch.setattr(running, "is_running", runs)
            server.arrive()
            await refused.wait()
            monkeypatch.setattr(running, "is_running", is_running)
            live.tell(db, account, live.What.ENDED, Counts())
            await holds(db, account, 6)


async def test_a_session_that_is_cut_off_is_replaced_and_nothing_is_missed(
    db: Database, dovecot: Dovecot
) -> None:
    user = dovecot.user("cut")
    async with proxy(dovecot.host, dovecot.port) as line:
        account = await connected(db, replace(dovecot, port=line.port), user)
        async with watching(db):
            await watched(db, account, Means.NOTIFY)
            for number in range(3):
                assert line.reset_all() > 0
                await asyncio.to_thread(put, dovecot, user, number)
                await holds(db, account, number + 1)
                await watched(db, account, Means.NOTIFY)


async def test_a_session_that_died_in_silence_is_noticed(
    db: Database, dovecot: Dovecot, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = dovecot.user("silent")
    async with proxy(dovecot.host, dovecot.port) as line:
        account = await connected(db, replace(dovecot, port=line.port), user)
        async with watching(db, at=Pace(silence=timedelta(seconds=1))):
            await watched(db, account, Means.NOTIFY)
            monkeypatch.setattr(kept, "ANSWER", 0.2)
            line.hold_all()
            await asyncio.to_thread(put, dovecot, user, 1)
            await holds(db, account, 1)


async def test_what_comes_while_a_sync_runs_is_not_overlooked(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is listed by nobody, and no server tells of it afterwards."""
    async with serve(messages=5, folder_count=1, offers="plain") as server:
        account = await connected_to(db, server)
        listen, arrived = kept.Session.listen, list[int]()

        async def late(self: kept.Session, *given: Any) -> Any:
            if not arrived:
                arrived.append(server.arrive())
            return await listen(self, *given)

        monkeypatch.setattr(kept.Session, "listen", late)
        async with watching(db):
            await holds(db, account, 6)


async def test_what_comes_before_a_folder_is_opened_once_more_is_not_overlooked(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plan of what to copy is older than the server's last word on the folder."""
    async with serve(messages=5, folder_count=1, offers="plain") as server:
        account = await connected_to(db, server)
        async with watching(db):
            await watched(db, account, Means.IDLE)
            await holds(db, account, 5)
            opened, times = kept.Session.open, list[bytes]()

            async def late(self: kept.Session, folder: RemoteFolder) -> OpenFolder:
                times.append(folder.name)
                if len(times) == 2:
                    server.arrive()
                return await opened(self, folder)

            monkeypatch.setattr(kept.Session, "open", late)
            server.arrive()
            await holds(db, account, 7)
            assert times[:2] == [b"INBOX", b"INBOX"]


async def test_one_that_is_paused_is_left_alone_and_told_of_again_when_it_goes_on(
    db: Database, dovecot: Dovecot
) -> None:
    user = dovecot.user("paused")
    account = await connected(db, dovecot, user)
    async with watching(db):
        await watched(db, account, Means.NOTIFY)
        async with db.transaction(ONE) as conn:
            await change.pause(conn, await accounts.get_by_id(conn, ONE, account.id), halt.stop)
        await watched(db, account, None)
        await asyncio.to_thread(put, dovecot, user, 1)
        async with db.transaction(ONE) as conn:
            await change.resume(conn, await accounts.get_by_id(conn, ONE, account.id))
        await holds(db, account, 1)
        await watched(db, account, Means.NOTIFY)
        await asyncio.to_thread(put, dovecot, user, 2)
        await holds(db, account, 2)


async def test_a_server_that_throws_out_who_listens_is_polled(db: Database) -> None:
    async with serve(messages=5, folder_count=1, faults=["bye-in-idle"], offers="plain") as server:
        account = await connected_to(db, server)
        async with watching(db, timedelta(seconds=0.3)):
            await holds(db, account, 5)
            server.arrive()
            await holds(db, account, 6)


async def test_processes_share_the_accounts_and_take_over_what_one_leaves(
    db: Database, dovecot: Dovecot
) -> None:
    users = [dovecot.user(f"shared{number}") for number in range(6)]
    found = [await connected(db, dovecot, user) for user in users]
    async with watching(db):
        async with watching(db):
            for account in found:
                await watched(db, account, Means.NOTIFY)

            async def shared() -> bool:
                async with db.unbound() as conn:
                    held = await watch.shares(conn, await processes.alive(conn, watch_module.KIND))
                return sorted(held.of.values()) == [3, 3]

            await until(shared)
        for user, account in zip(users, found, strict=True):
            await asyncio.to_thread(put, dovecot, user, 1)
            await holds(db, account, 1)


async def test_a_session_that_listens_gives_way_to_who_waits_for_a_connection(
    db: Database, dovecot: Dovecot
) -> None:
    user = dovecot.user("ceiling")
    account = await connected(db, dovecot, user)
    async with sharing(db, ceiling=1) as use, watching(db, use=use):
        await watched(db, account, Means.NOTIFY)
        async with asyncio.timeout(60), await use.mailbox(account) as mailbox:
            assert await mailbox.folders()
        await watched(db, account, Means.NOTIFY)


async def nothing(_keys: Sequence[Key]) -> None: ...


async def test_polls_that_take_long_keep_nobody_from_being_polled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "SLICE", 0.01)
    goes_on, polled = asyncio.Event(), list[int]()

    async def poll(key: Key) -> None:
        if key[1] < lanes.LANES:
            await goes_on.wait()
        polled.append(key[1])

    work = lanes.Lanes(poll, nothing)
    for number in range(lanes.LANES + 3):
        work.put((ONE, AccountId(number)))
    async with asyncio.timeout(60), beside(work.work()):
        await until_so(lambda: len(polled) == 3)
        goes_on.set()
        await until_so(lambda: len(polled) == lanes.LANES + 3)


async def test_what_is_told_of_is_polled_before_what_is_only_due() -> None:
    polled = list[int]()

    async def poll(key: Key) -> None:
        polled.append(key[1])

    work = lanes.Lanes(poll, nothing)
    work.put((ONE, AccountId(1)))
    work.put((ONE, AccountId(2)), first=True)
    work.put((ONE, AccountId(1)))
    async with asyncio.timeout(60), beside(work.work()):
        await until_so(lambda: len(polled) == 2)
    assert polled == [2, 1]


async def test_what_probably_is_as_it_was_is_glanced_at_together_and_after_what_is_told_of() -> None:
    looked = list[list[int]]()

    async def poll(key: Key) -> None:
        looked.append([key[1]])

    async def glance(keys: Sequence[Key]) -> None:
        looked.append([key[1] for key in keys])

    work = lanes.Lanes(poll, glance)
    for number in range(lanes.AT_ONCE + 3):
        work.put_calm((ONE, AccountId(number)))
    work.put((ONE, AccountId(1)))
    work.put_calm((ONE, AccountId(1)))
    work.drop((ONE, AccountId(2)))
    async with asyncio.timeout(60), beside(work.work()):
        await until_so(lambda: sum(map(len, looked)) == lanes.AT_ONCE + 2)
    first, *rest = looked
    assert first == [1]
    assert [len(keys) for keys in rest] == [lanes.AT_ONCE, 1]
    assert [number for keys in rest for number in keys] == [0, *range(3, lanes.AT_ONCE + 3)]


async def test_trouble_elsewhere_leaves_a_watched_account_to_the_schedule(
    db: Database, dovecot: Dovecot
) -> None:
    """Its session listens here, while a sync in another process has failed."""
    user = dovecot.user("trouble")
    account = await connected(db, dovecot, user)
    async with watching(db):
        await watched(db, account, Means.NOTIFY)
        await asyncio.to_thread(put, dovecot, user, 1)
        await holds(db, account, 1)
        async with db.transaction(ONE) as conn:
            await conn.execute(
                "UPDATE accounts_account SET state = 'error', next_sync_at = now() - interval '4 s'"
                " WHERE id = $1",
                account.id,
            )
        await asyncio.to_thread(put, dovecot, user, 2)
        await holds(db, account, 2)


async def test_nobody_polls_what_was_let_go_of_meanwhile(
    db: Database, dovecot: Dovecot, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = await connected(db, dovecot, dovecot.user("gone"))
    gone, turns, put_in = (ONE, AccountId(account.id + 1_000)), asyncio.Event(), lanes.Lanes.put_calm
    polled = list[Key]()

    async def due(*_given: object) -> list[Key]:
        if polled:
            turns.set()
        return [gone]

    def put_too(self: lanes.Lanes, key: Key) -> None:
        polled.append(key)
        put_in(self, key)

    monkeypatch.setattr(watch, "due", due)
    monkeypatch.setattr(lanes.Lanes, "put_calm", put_too)
    async with watching(db):
        await watched(db, account, Means.NOTIFY)
        turns.clear()
        await turns.wait()
        turns.clear()
        await turns.wait()
    assert (ONE, account.id) in polled
    assert gone not in polled
