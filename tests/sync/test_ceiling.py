"""Syncs that find no connection: they come back soon, hold nobody up, and say nothing of their account."""

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
from prometheus_client import REGISTRY
from providers.counting import door
from servers.tenants import ONE
from sync.lab import assert_equal, connected
from sync.mailboxes import means
from sync.working import EVERY, is_over, until, wanted

from postroom.accounts import store as accounts
from postroom.accounts.model import Account, AccountState
from postroom.db.listen import open_hints
from postroom.db.pool import Database
from postroom.executor.handlers import Work
from postroom.executor.run import executing
from postroom.jobs.model import Enqueued, State
from postroom.lab.server import LabServer, serve
from postroom.providers.model import NoConnection
from postroom.providers.pool import Pool
from postroom.providers.slots import Slots, open_slots, store
from postroom.providers.target import Purpose
from postroom.sync.model import target
from postroom.sync.perform import Means, Outcome, perform

pytestmark = pytest.mark.usefixtures("tenants")

OFTEN, LONG = timedelta(minutes=1), timedelta(seconds=30)
LIMIT = 15  # seconds; a silent host is waited for longer than that
LEARNT = "SELECT connections FROM providers_limit"


@asynccontextmanager
async def sharing(
    db: Database, *, ceiling: int = 3, of_host: int = 100, keeps: int = 0
) -> AsyncIterator[Means]:
    """What one of several processes has that share their connections."""
    async with (
        open_hints(db) as hints,
        open_slots(db, hints, ceiling=ceiling, of_host=of_host) as slots,
        AsyncExitStack() as stack,
    ):
        pool = Pool(keeps, hints.tell, slots)
        stack.push_async_callback(pool.aclose)
        yield replace(means(db), pool=pool)


@asynccontextmanager
async def working(db: Database, *, of_host: int = 100) -> AsyncIterator[Slots]:
    """An executor with three workers."""
    async with (
        open_hints(db) as hints,
        open_slots(db, hints, of_host=of_host) as slots,
        executing(
            Work(replace(means(db), pool=Pool(0, hints.tell, slots)), EVERY),
            hints,
            workers=3,
            patience=timedelta(0),
            polls=False,
        ),
    ):
        yield slots


async def synced(use: Means, account: Account) -> Outcome:
    return await perform(use, account, every=OFTEN)


async def now(db: Database, account: Account) -> Account:
    async with db.transaction(ONE) as conn:
        return await accounts.get_by_id(conn, ONE, account.id)


@pytest.mark.parametrize("fault", ["too-many-connections", "login-unavailable"])
async def test_a_server_that_refuses_one_too_many_teaches_and_disables_nothing(
    fault: str, db: Database
) -> None:
    async with serve(messages=3, folder_count=1, faults=[fault]) as server, sharing(db) as use:
        account = await connected(db, server)
        async with await use.mailbox(account):
            outcome = await synced(use, account)

        assert (outcome.status, type(outcome.error)) == ("busy", NoConnection)
        found = await now(db, account)
        assert (found.state, found.failures, found.last_sync_error) == (AccountState.ACTIVE, 0, None)
        async with db.transaction(ONE) as conn:
            assert await conn.fetchval(LEARNT) == 1
        assert (await synced(use, account)).status == "success"  # and nobody has to wait for another login
        await assert_equal(db, account, server)


async def test_what_was_learnt_keeps_others_from_asking_one_too_many(db: Database) -> None:
    faults = ["too-many-connections"]
    async with serve(messages=3, folder_count=1, faults=faults) as server, sharing(db, keeps=5) as here:
        account = await connected(db, server)
        async with await here.mailbox(account):
            assert (await synced(here, account)).status == "busy"
        assert (await synced(here, account)).status == "success"  # and is kept
        async with sharing(db) as there:
            server.arrive()
            assert (await synced(there, account)).status == "busy"  # nobody hears that it waits
        here.pool._hear(f"wait {ONE} {account.id}")
        await here.pool._close_over()
        async with sharing(db) as there:
            assert (await synced(there, account)).status == "success"


async def test_a_sync_waits_for_a_connection_that_somebody_keeps_and_gets_it(db: Database) -> None:
    async with (
        serve(messages=3, folder_count=1) as server,
        sharing(db, ceiling=1, keeps=5) as here,
        sharing(db, ceiling=1) as there,
        open_hints(db) as hints,
        asyncio.TaskGroup() as group,
    ):
        hearing = group.create_task(here.pool.hear(hints))
        account = await connected(db, server)
        assert (await synced(here, account)).status == "success"
        server.arrive()
        outcome = await perform(there, account, every=EVERY)  # too seldom to say so by itself
        assert outcome.status == "success"
        hearing.cancel()


async def test_one_that_is_used_is_not_kept_while_somebody_waits(db: Database) -> None:
    async with serve(messages=3, folder_count=1) as server, sharing(db, keeps=5) as use:
        account = await connected(db, server)
        async with db.transaction(ONE) as conn:
            sealed = await accounts.secret(conn, ONE, account.id)
        for waits in (False, True):
            async with use.opening(account, sealed, often=True, anew=False):
                if waits:
                    use.pool._hear(f"wait {ONE} {account.id}")
            assert bool(use.pool._kept) is not waits


async def test_a_session_that_was_kept_is_lent_again_without_a_statement(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    def noted(name: str) -> None:
        real = getattr(store, name)

        async def told_of(*words: object) -> object:
            told.append(name)
            return await real(*words)

        monkeypatch.setattr(store, name, told_of)

    noted("ask")
    noted("give_back")
    async with serve(messages=3, folder_count=1) as server, sharing(db, keeps=5) as use:
        account = await connected(db, server)
        for _ in range(3):
            server.arrive()
            assert (await synced(use, account)).status == "success"
        assert told == ["ask"]
        await use.pool.aclose()
        assert told == ["ask", "give_back"]


async def test_numbers_tell_what_is_open_and_what_is_in_use(db: Database) -> None:
    def numbers() -> tuple[float | None, float | None]:
        sample = REGISTRY.get_sample_value
        return sample("postroom_connections_open"), sample("postroom_connections_in_use")

    assert numbers() == (0, 0)
    async with serve(messages=3, folder_count=1) as server, sharing(db, keeps=5) as use:
        account = await connected(db, server)
        async with await use.mailbox(account):
            assert numbers() == (1, 1)
        assert (await synced(use, account)).status == "success"
        assert numbers() == (1, 0)
    assert numbers() == (0, 0)


async def test_a_host_that_is_full_holds_no_worker_and_disables_nobody(db: Database) -> None:
    async with (
        serve(messages=3, folder_count=1) as server,
        working(db, of_host=1) as slots,
    ):
        full = [await connected(db, server, address=f"{n}@full.example") for n in range(6)]
        other = await connected(db, server, address="other@lab.example", host="localhost")
        slot = await slots.take(target(full[0]), Purpose.COMMAND, LONG)
        waiting = [await wanted(db, account) for account in full]

        assert (await until(db, await wanted(db, other), is_over)).state is State.COMPLETED
        await slots.give_back([slot])

        for one in waiting:
            found = await until(db, one, is_over)
            assert (found.state, found.failures) == (State.COMPLETED, 0)


@pytest.mark.parametrize("how", ["silent", "slow"])
async def test_ten_accounts_of_a_bad_host_do_not_delay_ten_of_a_good_one(how: str, db: Database) -> None:
    async with (
        serve(messages=3, folder_count=1) as server,
        silent() if how == "silent" else slow(server) as port,
        working(db),
    ):
        bad = await all_wanted(db, server, "bad", port=port, host="localhost")
        good = await all_wanted(db, server, "good")
        async with asyncio.timeout(LIMIT):
            for one in good:
                assert (await until(db, one, is_over)).state is State.COMPLETED
        jobs = [await until(db, one, lambda _job: True) for one in bad]
        assert sum(is_over(job) for job in jobs) < len(bad) / 2
        assert not any(job.failures for job in jobs)


@asynccontextmanager
async def slow(server: LabServer) -> AsyncIterator[int]:
    """The port of the same server at the other end of the world, over a bad line."""
    async with door(server.host, server.port, delay=1.0) as at:
        yield at.port


async def all_wanted(db: Database, server: LabServer, name: str, **settings: str | int) -> Sequence[Enqueued]:
    """Syncs of ten accounts."""
    found = [await connected(db, server, address=f"{n}@{name}.example", **settings) for n in range(10)]
    return [await wanted(db, account) for account in found]


@asynccontextmanager
async def silent() -> AsyncIterator[int]:
    """The port of a server that takes every connection and says nothing."""
    over = asyncio.Event()

    async def listen(_reader: StreamReader, writer: StreamWriter) -> None:
        await over.wait()
        writer.close()

    server = await asyncio.start_server(listen, "localhost", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        over.set()
        server.close()
