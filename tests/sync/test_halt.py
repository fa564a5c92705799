"""A sync stops when its account is paused, removed, or gets other credentials, and harms nothing then."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from servers.api import Client
from servers.tenants import ONE, TWO
from sync.lab import connected
from sync.mailboxes import VAULT, copied, means
from sync.working import EVERY, all_jobs, is_over, running, until, until_jobs, wanted

from postroom.accounts import change, connect, credentials
from postroom.accounts import store as accounts
from postroom.accounts.model import Account, AccountState, NoSuchAccount
from postroom.db import leases
from postroom.db.pool import Database
from postroom.events import log
from postroom.events.model import TENANT, stream_of
from postroom.jobs import store
from postroom.jobs.model import Enqueued, State
from postroom.lab.server import LabServer, serve
from postroom.net.egress import Egress
from postroom.providers.model import Mailbox
from postroom.providers.registry import Registry
from postroom.sync import halt
from postroom.sync.due import enqueue_due
from postroom.sync.model import Counts, IsPaused, Outdated, key
from postroom.sync.perform import Means, perform

pytestmark = pytest.mark.usefixtures("tenants", "others")

STALLS = "stall-in-literal"  # for ever, in the middle of the first message that is fetched
Change = Callable[[Database, Account], Awaitable[type[Exception]]]
FORGET = "UPDATE accounts_account SET state = 'error' WHERE id = $1"


@pytest.fixture
async def others(db: Database) -> None:
    """The tenants' first accounts lead to no server."""
    for tenant in (ONE, TWO):
        async with db.transaction(tenant) as conn:
            await conn.execute("UPDATE accounts_account SET state = 'paused'")


@asynccontextmanager
async def stalled(db: Database) -> AsyncIterator[tuple[LabServer, Account, Enqueued]]:
    """A sync that runs, and would for ever."""
    async with serve(messages=30, folder_count=1, faults=[STALLS]) as server:
        account = await connected(db, server)
        async with running(db):
            one = await wanted(db, account)
            await until(db, one, lambda job: bool(job.progress.total_estimate))
            yield server, account, one


async def now(db: Database, account: Account) -> Account:
    async with db.transaction(ONE) as conn:
        return await accounts.get_by_id(conn, ONE, account.id)


async def told(db: Database, account: Account) -> list[str]:
    async with db.transaction(ONE) as conn:
        streams = stream_of(account.id), TENANT
        return [entry.kind for stream in streams for entry in await log.read(conn, ONE, stream)]


async def pause(db: Database, account: Account) -> None:
    async with db.transaction(ONE) as conn:
        await change.pause(conn, account, halt.stop)


async def resume(db: Database, account: Account) -> None:
    async with db.transaction(ONE) as conn:
        await change.resume(conn, account)


async def paused(db: Database, account: Account) -> type[Exception]:
    await pause(db, account)
    return IsPaused


async def removed(db: Database, account: Account) -> type[Exception]:
    assert await halt.remove(db, account) is None
    return NoSuchAccount


async def given_another_password(db: Database, account: Account) -> type[Exception]:
    async with db.transaction(ONE) as conn:
        await accounts.set_credentials(conn, ONE, account.id, account.settings, None)
    return Outdated


@pytest.mark.parametrize("change_of", [paused, removed, given_another_password])
async def test_a_sync_that_is_no_job_stops_as_well(db: Database, change_of: Change) -> None:
    async with serve(messages=5, folder_count=1, faults=[STALLS]) as server:
        account = await connected(db, server)
        counts = Counts()

        async def sync() -> None:
            async with halt.unless_outgrown(db, account):
                await perform(means(db), account, every=EVERY, counts=counts)

        task = asyncio.create_task(sync())
        async with asyncio.timeout(10):
            while not counts.total:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            why = await change_of(db, account)
            with pytest.raises((IsPaused, Outdated, NoSuchAccount)) as ended:
                await task
    assert ended.type in {why, IsPaused}  # who removes pauses first


async def spoil(db: Database, account: Account) -> None:
    """The password that is stored is not the server's any more."""
    sealed = credentials.seal(VAULT, ONE, account.public_id, "long ago")
    async with db.transaction(ONE) as conn:
        await conn.execute("UPDATE accounts_account SET secret = $2 WHERE id = $1", account.id, sealed)


async def reconnect(db: Database, server: LabServer, account: Account) -> Account:
    """As its owner does: the account is in trouble, and now its password is another one."""
    settings = {"host": server.host, "port": server.port, "security": "plain"}
    wish = connect.Wish(account.address, server.password, settings=settings, username=server.address)
    providers = Registry(Egress(private_allowed=True))
    made = await connect.connect(db, VAULT, providers, ONE, wish, halt.begin_anew)
    return made.account


async def test_a_pause_stops_the_sync_that_runs_and_is_no_failure(db: Database) -> None:
    async with stalled(db) as (_, account, one):
        await pause(db, account)
        state = (await now(db, account)).state
        async with asyncio.timeout(5):
            job = await until(db, one, is_over)

    after = await now(db, account)
    assert state is AccountState.PAUSED
    assert (job.state, job.error, job.failures) == (State.CANCELLED, None, 0)
    assert (after.state, after.failures, after.last_sync_status) == (AccountState.PAUSED, 0, None)
    assert "jobs.failed" not in await told(db, account)


async def test_nothing_arrives_after_the_sync_of_a_paused_account_has_stopped(db: Database) -> None:
    async with serve(messages=1500, folder_count=1) as server:
        account = await connected(db, server)
        async with running(db):
            one = await wanted(db, account)
            await until(db, one, lambda job: job.progress.items_found > 0)
            await pause(db, account)
            job = await until(db, one, is_over)
            had = len(await copied(db, account))
            assert job.progress.items_found == had < 1500

            await resume(db, account)
            again = await until(db, await wanted(db, account), is_over)

        assert again.state is State.COMPLETED
        assert job.progress.items_found + again.progress.items_found == 1500


async def test_a_poll_that_is_stopped_by_a_pause_leaves_no_row(db: Database) -> None:
    async with serve(messages=3, folder_count=1, faults=["greeting-late"]) as server:
        account = await connected(db, server)
        async with running(db, polls=True):
            await until_jobs(db, lambda jobs: any(job.state is State.RUNNING for job in jobs))
            await pause(db, account)
            await until_jobs(db, lambda jobs: not jobs)

    assert (await now(db, account)).state is AccountState.PAUSED


async def test_an_account_that_is_resumed_at_once_is_polled_though_the_stopped_sync_still_ends(
    db: Database,
) -> None:
    async with serve(messages=3, folder_count=1) as server:
        account = await connected(db, server)
        await enqueue_due(db, EVERY)
        async with db.unbound() as conn:
            await store.queue.claim(conn, "slow", ["sync.account"], 9, EVERY, 0)
        await pause(db, account)
        await resume(db, account)

        await enqueue_due(db, EVERY)

    assert [(job.state, job.cancel_requested) for job in await all_jobs(db)] == [
        (State.PENDING, False),
        (State.RUNNING, True),
    ]


async def test_a_failure_that_comes_after_the_pause_is_neither_the_accounts_nor_the_jobs(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server refuses in the same moment; nobody has heard of the stop yet."""
    async with serve(messages=3, folder_count=1) as server:
        account = await connected(db, server)
        monkeypatch.setattr("postroom.jobs.run.Executor._stop", ignored)
        await spoil(db, account)
        met = meeting(monkeypatch)
        async with running(db):
            one = await wanted(db, account)
            await met.begun.wait()
            await pause(db, account)
            met.goes_on.set()
            job = await until(db, one, is_over)

    after = await now(db, account)
    assert (job.state, job.error) == (State.CANCELLED, None)
    assert (after.state, after.failures, after.last_sync_error) == (AccountState.PAUSED, 0, None)


async def test_a_removal_stops_the_sync_that_runs_and_takes_everything_along(
    db: Database, api: Client
) -> None:
    async with stalled(db) as (_, account, _):
        answer = await api.delete(f"/v1/accounts/{account.public_id}")

        assert answer.status_code == 204
        with pytest.raises(NoSuchAccount):
            await now(db, account)
        await until_jobs(db, lambda jobs: not [job for job in jobs if job.state is not State.CANCELLED])
    assert "accounts.removed" in await told(db, account)


async def test_a_removal_that_something_else_is_in_the_way_of_is_carried_out_once_that_has_ended(
    db: Database, api: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(halt, "PATIENCE", timedelta(seconds=0.1))
    async with serve(messages=3, folder_count=1) as server:
        account = await connected(db, server)
    async with running(db):
        async with leases.holding(db, ONE, key(account.id)):
            answer = await api.delete(f"/v1/accounts/{account.public_id}")
            again = await api.delete(f"/v1/accounts/{account.public_id}")
            assert (await now(db, account)).state is AccountState.PAUSED
        where = answer.headers["Location"]
        async with asyncio.timeout(30):
            while (job := (await api.get(where)).json())["state"] != "completed":  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    assert (answer.status_code, again.status_code) == (202, 202)
    assert answer.json()["id"] == again.json()["id"] == job["id"]
    assert (job["kind"], job["account"], job["error"]) == ("sync.remove", None, None)
    assert (await api.get(f"/v1/accounts/{account.public_id}")).status_code == 404
    assert key(account.id) not in answer.text + again.text


async def test_a_job_that_was_promised_is_there_though_another_removal_was_faster(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(halt, "PATIENCE", timedelta(seconds=0.1))
    async with serve(messages=3, folder_count=1) as server:
        account = await connected(db, server)
    async with leases.holding(db, ONE, key(account.id)):
        promised = await halt.remove(db, account)
    assert await halt.remove(db, account) is None

    assert promised is not None
    async with running(db):
        await until_jobs(db, lambda jobs: [job.state for job in jobs] == [State.COMPLETED])
    assert [job.id for job in await all_jobs(db)] == [promised.id]


async def test_new_credentials_stop_the_sync_with_the_old_ones_and_begin_another(db: Database) -> None:
    async with stalled(db) as (server, account, one):
        server.faults.switch_off(STALLS)
        async with db.transaction(ONE) as conn:
            await conn.execute(FORGET, account.id)
        await reconnect(db, server, account)
        async with asyncio.timeout(10):
            old = await until(db, one, is_over)
            jobs = await until_jobs(db, lambda jobs: len(jobs) == 2 and all(map(is_over, jobs)))

    assert (old.state, old.error) == (State.CANCELLED, None)
    assert {job.state for job in jobs if job.id != one.id} == {State.COMPLETED}
    assert len(await copied(db, account)) == 30
    assert (await now(db, account)).state is AccountState.ACTIVE


@pytest.mark.parametrize("is_right", [False, True], ids=["refused", "accepted"])
async def test_what_comes_of_old_credentials_says_nothing_of_the_new_ones(
    db: Database, monkeypatch: pytest.MonkeyPatch, *, is_right: bool
) -> None:
    async with serve(messages=3, folder_count=1) as server:
        account = await connected(db, server)
        if not is_right:
            await spoil(db, account)
        met = meeting(monkeypatch)
        careful = replace(means(db), manner=replace(means(db).manner, pause=timedelta(hours=1)))
        old = asyncio.create_task(perform(careful, account, every=EVERY))
        await met.begun.wait()
        async with db.transaction(ONE) as conn:
            sealed = credentials.seal(VAULT, ONE, account.public_id, server.password)
            await accounts.set_credentials(conn, ONE, account.id, account.settings, sealed)
        given = await now(db, account)
        met.goes_on.set()
        outcome = await old

        after = await now(db, account)
        assert outcome.status == "busy"
        assert replace(after, sync_started_at=None) == replace(
            given,
            sync_started_at=None,
            compared_at=after.compared_at,
            verified_fresh_at=after.verified_fresh_at,
        )
        assert after.sync_started_at is None
        assert not {"accounts.reauth_required", "accounts.recovered"} & set(await told(db, account))
        # Nor is the server left alone because of them.
        assert (await perform(careful, after, every=EVERY)).status == "success"


class Meeting:
    """A sync that has everything it begins with waits here."""

    def __init__(self) -> None:
        self.begun, self.goes_on = asyncio.Event(), asyncio.Event()


def meeting(monkeypatch: pytest.MonkeyPatch) -> Meeting:
    met, real = Meeting(), Means.opening

    def opening(
        self: Means, account: Account, sealed: str | None, **how: Any
    ) -> AbstractAsyncContextManager[Mailbox]:
        @asynccontextmanager
        async def later() -> AsyncIterator[Mailbox]:
            met.begun.set()
            await met.goes_on.wait()
            async with real(self, account, sealed, **how) as mailbox:
                yield mailbox

        return later()

    monkeypatch.setattr(Means, "opening", opening)
    return met


def ignored(*_: object) -> None: ...
