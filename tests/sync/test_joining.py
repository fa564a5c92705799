"""Who says "sync now" while a poll runs joins it: one job, and what was there is here in the end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from servers.api import Client
from servers.tenants import ONE, TWO
from sync.lab import assert_equal, connected
from sync.working import EVERY, all_jobs, is_over, running, until, until_jobs, wanted, wanted_in

from postroom.accounts.model import Account
from postroom.db.pool import Database
from postroom.jobs import store
from postroom.jobs.model import Job, State
from postroom.lab.server import LabServer, serve
from postroom.sync.due import enqueue_due
from postroom.sync.perform import Outcome, perform

pytestmark = pytest.mark.usefixtures("tenants", "others")


@pytest.fixture
async def others(db: Database) -> None:
    """The tenants' first accounts lead to no server."""
    for tenant in (ONE, TWO):
        async with db.transaction(tenant) as conn:
            await conn.execute("UPDATE accounts_account SET state = 'paused'")


class Gate:
    """Polls wait here when they have looked at everything and stored it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached, self.opened = asyncio.Event(), asyncio.Event()

        async def waiting(*args: object, **more: object) -> Outcome:
            outcome = await perform(*args, **more)  # type: ignore[arg-type]
            self.reached.set()
            await self.opened.wait()
            return outcome

        monkeypatch.setattr("postroom.sync.jobs.perform", waiting)


@asynccontextmanager
async def polled(db: Database, messages: int = 5) -> AsyncIterator[tuple[LabServer, Account]]:
    """An account on a server, of which a poll waits."""
    async with serve(messages=messages, folder_count=1) as server:
        account = await connected(db, server)
        assert await enqueue_due(db, EVERY) == 1
        yield server, account


async def test_a_poll_that_runs_becomes_the_job_that_was_asked_for_and_looks_once_more(
    db: Database, api: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)
    async with polled(db) as (server, account), running(db):
        await gate.reached.wait()
        (poll,) = await all_jobs(db)
        server.arrive()  # the poll has passed it
        answer = await api.post(f"/v1/accounts/{account.public_id}/sync")
        again = await api.post(f"/v1/accounts/{account.public_id}/sync")
        (meanwhile,) = await all_jobs(db)
        gate.opened.set()
        (job,) = await until_jobs(db, lambda jobs: all(map(is_over, jobs)))
        await assert_equal(db, account, server)

    assert (answer.status_code, answer.json()["state"]) == (202, "running")
    assert answer.json()["id"] == again.json()["id"] == str(poll.public_id)
    assert (poll.is_kept, meanwhile.is_kept) == (False, True)
    assert (job.id, job.state, job.attempts, job.failures) == (poll.id, State.COMPLETED, 2, 0)
    assert job.result is not None
    assert (job.progress.items_found, job.result["added"]) == (6, 6)


async def test_a_poll_that_was_joined_stays_though_it_finds_nothing(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with polled(db, messages=0) as (_, account), running(db):
        gate = Gate(monkeypatch)
        await gate.reached.wait()
        one = await wanted(db, account)
        gate.opened.set()
        job = await until(db, one, is_over)

    assert (job.state, job.progress.items_found) == (State.COMPLETED, 0)
    assert [found.id for found in await all_jobs(db)] == [job.id]


async def test_a_poll_that_fails_is_tried_again_for_who_joined_it(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)
    async with serve(messages=5, folder_count=1) as server:
        account = await connected(db, server)
        async with db.transaction(ONE) as conn:
            await conn.execute("UPDATE accounts_account SET settings = settings || '{\"port\": 1}'")
        await enqueue_due(db, EVERY)
        async with running(db):
            await gate.reached.wait()
            one = await wanted(db, account)
            async with db.transaction(ONE) as conn:
                await conn.execute(
                    "UPDATE accounts_account SET settings = settings || jsonb_build_object('port', $1::int)",
                    server.port,
                )
            gate.opened.set()
            job = await until(db, one, is_over)

    assert (job.state, job.attempts, job.failures) == (State.COMPLETED, 2, 0)
    assert job.progress.items_found == 5


async def test_who_asks_while_an_asked_sync_looks_once_more_gets_one_that_begins_behind_it(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that whoever waits for the first is not kept waiting by others who ask."""
    gate = Gate(monkeypatch)
    async with polled(db) as (server, account), running(db):
        await gate.reached.wait()
        first = await wanted(db, account)
        gate.reached.clear()
        gate.opened.set()
        await until(db, first, lambda job: job.attempts == 2)
        gate.opened.clear()
        await gate.reached.wait()
        server.arrive()
        second = await wanted(db, account)
        gate.opened.set()
        jobs = await until_jobs(db, lambda jobs: all(map(is_over, jobs)))
        await assert_equal(db, account, server)

    assert first.id != second.id
    assert [found(job) for job in jobs] == [1, 5]


async def test_a_full_comparison_is_no_poll(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)
    async with polled(db) as (_, account), running(db):
        await gate.reached.wait()
        full = await wanted(db, account, full=True)
        gate.opened.set()
        job = await until(db, full, is_over)

    assert (job.state, job.args, job.attempts) == (State.COMPLETED, {"full": True}, 1)


async def test_a_poll_that_is_to_stop_is_not_joined(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)
    async with polled(db) as (server, account), running(db):
        await gate.reached.wait()
        (poll,) = await all_jobs(db)
        async with db.transaction(ONE) as conn:
            await store.cancel(conn, ONE, poll.public_id)
            one = await wanted_in(conn, account)
        gate.opened.set()
        job = await until(db, one, is_over)
        await assert_equal(db, account, server)

    assert job.id != poll.id
    assert job.state is State.COMPLETED


async def test_a_joined_poll_whose_executor_is_lost_is_done_once_more_and_not_twice(db: Database) -> None:
    async with polled(db) as (_, account):
        async with db.unbound() as conn:
            await store.queue.claim(conn, "gone", ["sync.account"], 9, timedelta(hours=1), 0)
        one = await wanted(db, account)
        async with db.unbound() as conn:
            assert await store.queue.reap(conn, ["gone"]) == 1
        async with running(db):
            job = await until(db, one, is_over)

    assert (job.state, job.attempts, job.failures) == (State.COMPLETED, 2, 0)


def found(job: Job) -> int:
    return job.progress.items_found
