"""Syncs as jobs: asked for or due, with progress, cancelled, cut off and gone on with."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import asyncpg
import pytest
from servers.dovecot import Dovecot
from servers.tenants import ONE, TWO
from sync.lab import assert_nothing_wrong
from sync.lab import connected as at_lab
from sync.mailboxes import connected, copied, means
from sync.working import EVERY, all_jobs, filled, is_over, running, until, until_jobs, wanted

from postroom.accounts import change
from postroom.accounts import store as accounts
from postroom.accounts.model import Account, AccountState, NoSuchAccount
from postroom.db.listen import open_hints
from postroom.db.pool import Database, open_pool
from postroom.executor.handlers import Work, handlers
from postroom.executor.run import executing
from postroom.jobs import store
from postroom.jobs.attempt import Attempt
from postroom.jobs.model import State, Wish
from postroom.jobs.run import Executor
from postroom.lab.server import serve
from postroom.sync import halt
from postroom.sync.model import IsPaused
from postroom.sync.remove import remove_account
from postroom.vault.seal import Key, Vault

pytestmark = pytest.mark.usefixtures("tenants", "others")


@pytest.fixture
async def others(db: Database) -> None:
    """The tenants' first accounts lead to no server."""
    for tenant in (ONE, TWO):
        async with db.transaction(tenant) as conn:
            await conn.execute("UPDATE accounts_account SET state = 'paused'")


async def test_a_sync_that_is_asked_for_is_a_job_with_counters_and_a_result(
    db: Database, dovecot: Dovecot
) -> None:
    account = await filled(db, dovecot, 12)
    async with running(db):
        one = await wanted(db, account)
        job = await until(db, one, is_over)

    assert job.state is State.COMPLETED
    assert (job.progress.processed, job.progress.total_estimate, job.progress.items_found) == (12, 12, 12)
    assert job.result is not None
    assert (job.result["added"], job.result["skipped"]) == (12, [])
    assert len(await copied(db, account)) == 12


async def test_a_poll_that_finds_nothing_leaves_no_row_and_one_that_finds_something_does(
    db: Database, dovecot: Dovecot
) -> None:
    account = await filled(db, dovecot, 3)

    async with running(db, polls=True):
        (first,) = await until_jobs(db, lambda jobs: any(job.state is State.COMPLETED for job in jobs))
        async with asyncio.timeout(60):
            async with db.transaction(ONE) as conn:
                await accounts.set_interval(conn, ONE, account.id, timedelta(milliseconds=50), EVERY)
            while True:
                async with db.transaction(ONE) as conn:
                    if (await accounts.get_by_id(conn, ONE, account.id)).sync_count > 3:
                        break
                await asyncio.sleep(0.01)

    assert first.progress.items_found == 3
    assert [job.id for job in await all_jobs(db) if job.state is not State.PENDING] == [first.id]


async def test_a_broken_account_is_its_own_trouble_and_its_polls_leave_no_rows(
    db: Database, dovecot: Dovecot
) -> None:
    good, broken = await filled(db, dovecot, 2), await filled(db, dovecot, 1)
    async with db.transaction(ONE) as conn:
        await conn.execute(
            "UPDATE accounts_account SET settings = settings || '{\"port\": 1}' WHERE id = $1", broken.id
        )

    async with running(db, polls=True), asyncio.timeout(60):
        while True:
            async with db.transaction(ONE) as conn:
                row = await accounts.get_by_id(conn, ONE, broken.id)
            if row.failures and len(await copied(db, good)) == 2:
                break
            await asyncio.sleep(0.01)

    assert (row.state, row.failures, row.sync_started_at) == ("error", 1, None)
    assert [job.account_id for job in await all_jobs(db)] == [good.id]


async def test_a_sync_that_is_asked_for_of_a_broken_account_is_tried_again_and_says_why(
    db: Database, dovecot: Dovecot
) -> None:
    account = await filled(db, dovecot, 1)
    async with db.transaction(ONE) as conn:
        await conn.execute(
            "UPDATE accounts_account SET settings = settings || '{\"port\": 1}' WHERE id = $1", account.id
        )
    async with running(db):
        job = await until(db, await wanted(db, account), lambda job: job.failures == 1)

    assert job.error is not None
    assert (job.state, job.error.code) == (State.PENDING, "providers.port_closed")


async def test_cancelled_syncs_stop_and_the_next_one_goes_on_at_once_and_finishes(db: Database) -> None:
    async with serve(messages=1000, folder_count=1) as server:
        account = await at_lab(db, server)
        async with running(db, pause=timedelta(hours=1)):
            for _ in range(4):
                one = await wanted(db, account)
                await until(db, one, lambda job: bool(job.progress.total_estimate))
                async with db.transaction(ONE) as conn:
                    await store.cancel(conn, ONE, one.public_id)
                job = await until(db, one, is_over)
                assert (job.state, job.attempts) == (State.CANCELLED, 1)
            again = await until(db, await wanted(db, account), is_over)

        assert (again.state, again.attempts) == (State.COMPLETED, 1)
        assert len(await copied(db, account)) == 1000


async def test_what_one_executor_hands_back_another_completes(db: Database, dovecot: Dovecot) -> None:
    account = await filled(db, dovecot, 60)
    async with running(db):
        one = await wanted(db, account)
        await until(db, one, lambda job: job.state is not State.PENDING)
    async with running(db):
        job = await until(db, one, is_over)

    assert (job.state, job.failures) == (State.COMPLETED, 0)
    assert len(await copied(db, account)) == 60


async def test_a_first_sync_that_gives_way_in_the_middle_goes_on_and_copies_every_mail_once(
    db: Database,
) -> None:
    async def quick(_attempt: Attempt) -> None: ...

    slices, looks = timedelta(milliseconds=100), timedelta(milliseconds=10)
    async with serve(messages=400, folder_count=2) as server, open_hints(db) as hints:
        account = await at_lab(db, server)
        known = {**handlers(Work(means(db), EVERY)), "test.quick": quick}
        async with Executor(db, hints, known, workers=1, slice=slices, waits=looks).working(timedelta()):
            one = await wanted(db, account)
            await until(db, one, lambda job: bool(job.progress.total_estimate))
            for _ in range(2):
                async with db.transaction(TWO) as conn:
                    (other,) = await store.enqueue(conn, TWO, [Wish("test.quick")])
                await until(db, other, is_over, TWO)
            job = await until(db, one, is_over)

        assert (job.state, job.failures, job.attempts) == (State.COMPLETED, 0, 1 + job.gave_way)
        assert job.gave_way > 0
        assert (job.progress.processed, job.progress.items_found) == (400, 400)
        await assert_nothing_wrong(db, account, server)
        assert len(await copied(db, account)) == 400


async def test_a_paused_account_is_not_synced(db: Database, dovecot: Dovecot) -> None:
    account = await connected(db, dovecot, dovecot.user("paused"))
    async with db.transaction(ONE) as conn:
        await accounts.set_state(conn, ONE, account.id, AccountState.PAUSED)
    with pytest.raises(IsPaused):
        await wanted(db, account)


async def test_a_sync_that_waits_when_its_account_is_paused_copies_nothing(
    db: Database, dovecot: Dovecot
) -> None:
    account = await filled(db, dovecot, 3)
    one = await wanted(db, account)
    async with db.transaction(ONE) as conn:
        await change.pause(conn, account, halt.stop)

    async with running(db):
        job = await until(db, one, is_over)

    assert (job.state, job.error, job.attempts) == (State.CANCELLED, None, 0)
    assert await copied(db, account) == {}


async def test_a_removal_that_was_cut_off_is_finished_by_a_job(
    db: Database, dovecot: Dovecot, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = await filled(db, dovecot, 2)
    with monkeypatch.context() as patch:
        patch.setattr("postroom.sync.remove.store.forget", refused)
        with pytest.raises(RuntimeError):
            await halt.remove(db, account)
    (job,) = await all_jobs(db)
    assert job.kind == "sync.remove"
    async with db.transaction(ONE) as conn:
        await conn.execute("UPDATE jobs_job SET run_at = now()")

    async with running(db):
        await until_jobs(db, lambda jobs: not jobs)

    async with db.transaction(ONE) as conn:
        with pytest.raises(NoSuchAccount):
            await accounts.get_by_id(conn, ONE, account.id)


async def test_a_removal_takes_the_accounts_jobs_along(db: Database, dovecot: Dovecot) -> None:
    account = await filled(db, dovecot, 1)
    await wanted(db, account)

    await remove_account(db, account)

    assert await all_jobs(db) == []


async def refused(*_: object) -> None:
    raise RuntimeError("cut off")


async def as_stored(db: Database, account: Account) -> Account:
    async with db.transaction(ONE) as conn:
        return await accounts.get_by_id(conn, ONE, account.id)


@pytest.mark.parametrize("asked", [True, False], ids=["asked for", "polled"])
async def test_a_process_with_another_key_fails_the_job_and_leaves_the_account_as_it_is(
    db: Database, asked: bool
) -> None:
    async with serve() as server:
        account = await at_lab(db, server)
        before = await as_stored(db, account)
        work = Work(replace(means(db), vault=Vault([Key.derived(b"some other key here")])), EVERY)
        if asked:
            await wanted(db, account)
        async with (
            open_hints(db) as hints,
            executing(work, hints, workers=1, patience=timedelta(0), polls=not asked),
        ):
            jobs = await until_jobs(db, lambda found: any(job.error for job in found))

    assert [job.error and job.error.code for job in jobs] == ["vault.wrong_key"]
    assert jobs[0].state is (State.PENDING if asked else State.FAILED)
    after = await as_stored(db, account)
    assert (after.state, after.failures, after.last_sync_status, after.sync_started_at) == (
        before.state,
        before.failures,
        before.last_sync_status,
        None,
    )


CUT_OFF = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
     WHERE application_name = 'postroom' AND datname = current_database() AND pid <> pg_backend_pid()
"""


async def test_a_database_that_goes_away_under_a_sync_leaves_no_mark_on_account_or_job(
    db: Database, dsn: str
) -> None:
    async with serve(messages=1000, folder_count=1) as server:
        account = await at_lab(db, server)
        superuser = await asyncpg.connect(dsn)
        async with running(db):
            one = await wanted(db, account)
            await until(db, one, lambda job: bool(job.progress.total_estimate))
            await superuser.execute(CUT_OFF)
            async with open_pool(dsn) as other:
                done = await until(other, one, is_over)
                after = await as_stored(other, account)
        await superuser.close()

    assert (done.state, done.failures, after.failures) == (State.COMPLETED, 0, 0)
