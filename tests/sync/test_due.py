"""Due accounts become jobs, each one job, and come again after their own interval."""

import asyncio
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from servers.tenants import ONE, TWO

from postroom.accounts import store as accounts
from postroom.accounts.model import Account, AccountState
from postroom.db.beside import beside
from postroom.db.listen import open_hints
from postroom.db.pool import Database
from postroom.ids import AccountId, TenantId
from postroom.jobs import store as jobs
from postroom.jobs.model import Job
from postroom.jobs.store import queue
from postroom.sync import due
from postroom.sync.ask import request
from postroom.sync.due import enqueue_due, schedule

pytestmark = pytest.mark.usefixtures("tenants")

EVERY = timedelta(minutes=15)


async def only(db: Database, tenant: TenantId) -> Account:
    async with db.transaction(tenant) as conn:
        (account,) = await accounts.list_after(conn, tenant)
    return account


async def waiting(db: Database, tenant: TenantId) -> list[Job]:
    async with db.transaction(tenant) as conn:
        return await jobs.page(conn, tenant, limit=10)


async def set_due(db: Database, tenant: TenantId) -> None:
    async with db.transaction(tenant) as conn:
        await conn.execute("UPDATE accounts_account SET next_sync_at = now() - interval '1 s'")


async def test_each_due_account_becomes_one_job_however_many_processes_look(db: Database) -> None:
    found = await asyncio.gather(*(enqueue_due(db, EVERY) for _ in range(5)))

    assert sum(found) == 2
    for tenant in (ONE, TWO):
        account = await only(db, tenant)
        (job,) = await waiting(db, tenant)
        assert (job.kind, job.account_id, job.is_kept) == ("sync.account", account.id, False)
        wait = account.next_sync_at - datetime.now(UTC)
        assert EVERY * 0.89 < wait < EVERY * 1.11


async def test_an_account_with_its_own_interval_comes_again_after_that(db: Database) -> None:
    account = await only(db, ONE)
    async with db.transaction(ONE) as conn:
        await accounts.set_interval(conn, ONE, account.id, timedelta(hours=5), EVERY)
    await set_due(db, ONE)

    await enqueue_due(db, EVERY)

    wait = (await only(db, ONE)).next_sync_at - datetime.now(UTC)
    assert timedelta(hours=4) < wait < timedelta(hours=6)


async def test_a_job_that_waits_or_runs_will_do(db: Database) -> None:
    await enqueue_due(db, EVERY)
    await set_due(db, ONE)
    await enqueue_due(db, EVERY)
    assert len(await waiting(db, ONE)) == 1

    async with db.unbound() as conn:
        await queue.claim(conn, "me", ["sync.account"], 10, timedelta(minutes=1), 0)
    await set_due(db, ONE)
    await enqueue_due(db, EVERY)
    assert len(await waiting(db, ONE)) == 1


async def test_a_sync_now_is_merged_with_the_poll_that_waits_and_keeps_its_row(db: Database) -> None:
    await enqueue_due(db, EVERY)
    async with db.transaction(ONE) as conn:
        made = await request(conn, await accounts.get_by_id(conn, ONE, (await only(db, ONE)).id))

    (job,) = await waiting(db, ONE)
    assert (made.is_merged, job.id, job.is_kept, job.priority) == (True, made.id, True, 10)


@pytest.mark.parametrize("state", [AccountState.PAUSED, AccountState.REAUTH_REQUIRED])
async def test_accounts_that_wait_for_somebody_are_not_due(db: Database, state: AccountState) -> None:
    async with db.transaction(ONE) as conn:
        await accounts.set_state(conn, ONE, AccountId((await only(db, ONE)).id), state)
    await set_due(db, ONE)

    assert await enqueue_due(db, EVERY) == 1
    assert await waiting(db, ONE) == []


async def test_nothing_falls_due_while_there_is_enough_to_do(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(due, "ENOUGH", 1)
    await enqueue_due(db, EVERY)
    await set_due(db, ONE)

    assert await enqueue_due(db, EVERY) == 0


FULL_AT_FIRST = """
    CREATE SEQUENCE postroom.written;
    GRANT USAGE ON postroom.written TO PUBLIC;
    CREATE FUNCTION postroom.full_at_first() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF nextval('postroom.written') = 1 THEN
            RAISE EXCEPTION 'no space left' USING ERRCODE = 'disk_full';
        END IF;
        RETURN NEW;
    END $$;
    CREATE TRIGGER full_at_first BEFORE INSERT ON postroom.jobs_job
       FOR EACH ROW EXECUTE FUNCTION postroom.full_at_first();
"""


async def test_the_schedule_outlasts_a_full_disk(db: Database, dsn: str) -> None:
    superuser = await asyncpg.connect(dsn)
    await superuser.execute(FULL_AT_FIRST)
    await superuser.close()

    async with open_hints(db) as hints, beside(schedule(db, hints, EVERY)), asyncio.timeout(30):
        while not await waiting(db, ONE):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_what_has_just_become_due_does_not_wait_for_the_next_look(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = await only(db, ONE)
    async with db.transaction(ONE) as conn:
        await accounts.set_state(conn, ONE, account.id, AccountState.PAUSED)
    monkeypatch.setattr(due, "LOOK_EVERY", timedelta(days=1))

    async with open_hints(db) as hints, beside(schedule(db, hints, EVERY)), asyncio.timeout(30):
        while not await waiting(db, TWO):  # noqa: ASYNC110  the first look is over
            await asyncio.sleep(0.01)
        assert await waiting(db, ONE) == []
        async with db.transaction(ONE) as conn:
            await accounts.set_state(conn, ONE, account.id, AccountState.ACTIVE)
        while not await waiting(db, ONE):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
