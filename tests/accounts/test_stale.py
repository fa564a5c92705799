"""A copy that grows old is told of once, and once that it is up to date again."""

from datetime import timedelta

import asyncpg
import pytest
from servers.tenants import ANNS, BOBS, ONE, TWO

from postroom.accounts import change, store
from postroom.accounts.model import AccountState
from postroom.accounts.stale import tell_stale
from postroom.accounts.store.overdue import mark_stale
from postroom.db.model import Busy
from postroom.db.pool import Database
from postroom.events import log
from postroom.events.model import stream_of
from postroom.ids import AccountId, TenantId
from postroom.sync.due import enqueue_due

pytestmark = pytest.mark.usefixtures("tenants")

EVERY = timedelta(minutes=15)
HOUR = timedelta(hours=1)


async def told(db: Database, tenant: TenantId = ONE, account: AccountId = ANNS) -> list[str]:
    async with db.transaction(tenant) as conn:
        return [entry.kind for entry in await log.read(conn, tenant, stream_of(account))]


async def overdue(db: Database, age: timedelta, state: str = "active", tenant: TenantId = ONE) -> None:
    async with db.transaction(tenant) as conn:
        await conn.execute(
            "UPDATE accounts_account SET wanted_at = now() - $1::interval, state = $2", age, state
        )


async def synced(db: Database, ago: timedelta) -> None:
    """It succeeded so long ago."""
    async with db.transaction(ONE) as conn:
        await store.mark_sync_succeeded(conn, ONE, ANNS, wait=EVERY - ago)
        await conn.execute("UPDATE accounts_account SET last_sync_at = now() - $1::interval", ago)


async def failed(db: Database) -> None:
    async with db.transaction(ONE) as conn:
        await store.mark_sync_failed(
            conn,
            ONE,
            ANNS,
            wait=HOUR,
            error={"code": "a.b", "message": "no"},
            state=AccountState.ERROR,
        )


async def test_an_account_that_nobody_polls_is_told_of_once(db: Database) -> None:
    await overdue(db, 2 * HOUR)
    await tell_stale(db, EVERY)
    await tell_stale(db, EVERY)

    assert await told(db) == ["accounts.stale"]


async def test_what_is_not_long_overdue_is_not_stale(db: Database) -> None:
    await overdue(db, HOUR * 0.9)
    await tell_stale(db, EVERY)
    await overdue(db, 2 * HOUR)
    await tell_stale(db, HOUR)  # less than three intervals

    assert await told(db) == []


FAIL_FOR = """
    CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NEW.tenant_id = {tenant:d} THEN RAISE EXCEPTION USING ERRCODE = '{sqlstate}'; END IF;
        RETURN NEW;
    END $$;
    CREATE TRIGGER fail BEFORE UPDATE ON postroom.accounts_account FOR EACH ROW EXECUTE FUNCTION fail()
"""


@pytest.mark.parametrize("sqlstate", ["23514", "deadlock_detected"], ids=["a bug", "busy"])
@pytest.mark.parametrize(("bad", "good", "account"), [(ONE, TWO, BOBS), (TWO, ONE, ANNS)])
async def test_a_tenant_that_cannot_be_told_keeps_no_other_from_hearing_and_is_not_passed_over(
    db: Database, dsn: str, sqlstate: str, bad: TenantId, good: TenantId, account: AccountId
) -> None:
    for tenant in (ONE, TWO):
        await overdue(db, 2 * HOUR, tenant=tenant)
    superuser = await asyncpg.connect(dsn)
    await superuser.execute(FAIL_FOR.format(tenant=bad, sqlstate=sqlstate))

    with pytest.raises((asyncpg.CheckViolationError, Busy)):
        await tell_stale(db, EVERY)
    assert await told(db, good, account) == ["accounts.stale"]

    await superuser.execute("DROP TRIGGER fail ON postroom.accounts_account")
    await superuser.close()
    await tell_stale(db, EVERY)
    assert (await told(db, ONE, ANNS), await told(db, TWO, BOBS)) == (["accounts.stale"], ["accounts.stale"])


@pytest.mark.parametrize("state", ["paused", "reauth_required"])
async def test_what_is_not_polled_is_told_of_in_another_way(db: Database, state: str) -> None:
    await overdue(db, 2 * HOUR, state)
    await tell_stale(db, EVERY)

    assert await told(db) == []


async def test_an_account_whose_syncs_fail_is_stale_until_one_succeeds(db: Database) -> None:
    await overdue(db, 2 * HOUR)
    await failed(db)
    await tell_stale(db, EVERY)
    assert await told(db) == ["accounts.stale"]

    async with db.transaction(ONE) as conn:
        account = await store.get_by_id(conn, ONE, ANNS)
        assert account.stale_at is not None
    await synced(db, timedelta())
    async with db.transaction(ONE) as conn:
        assert (await store.get_by_id(conn, ONE, ANNS)).stale_at is None
        await change.tell(conn, account, "accounts.recovered")
    await tell_stale(db, EVERY)
    assert await told(db) == ["accounts.stale", "accounts.recovered"]


async def test_a_copy_is_stale_that_waits_for_a_worker_however_often_its_time_comes(db: Database) -> None:
    await synced(db, HOUR + EVERY * 0.9)
    assert await enqueue_due(db, EVERY) > 0
    await tell_stale(db, EVERY)
    assert await told(db) == []

    await synced(db, HOUR + EVERY * 1.1)
    await enqueue_due(db, EVERY)
    await tell_stale(db, EVERY)
    assert await told(db) == ["accounts.stale"]


async def test_who_comes_back_has_its_time_to_become_fresh(db: Database) -> None:
    async with db.transaction(ONE) as conn:
        account = await store.get_by_id(conn, ONE, ANNS)

    await overdue(db, 99 * HOUR, "paused")
    async with db.transaction(ONE) as conn:
        await store.set_state(conn, ONE, ANNS, AccountState.ACTIVE)
    await tell_stale(db, EVERY)
    await overdue(db, 99 * HOUR, "reauth_required")
    async with db.transaction(ONE) as conn:
        await store.make_due(conn, ONE, [ANNS])
    await tell_stale(db, EVERY)
    await overdue(db, 99 * HOUR, "reauth_required")
    async with db.transaction(ONE) as conn:
        await store.set_credentials(conn, ONE, ANNS, account.settings, None)
    await tell_stale(db, EVERY)

    assert await told(db) == []


async def test_trying_again_makes_nothing_fresh(db: Database) -> None:
    await overdue(db, 2 * HOUR)
    async with db.transaction(ONE) as conn:
        await store.make_due(conn, ONE, [ANNS])
        await store.set_interval(conn, ONE, ANNS, EVERY, EVERY)
        await store.begin_sync(conn, ONE, ANNS, pause=HOUR, full_every=HOUR)
    await tell_stale(db, EVERY)

    assert await told(db) == ["accounts.stale"]


async def test_a_copy_that_grows_is_not_stale_and_one_that_grows_no_more_is(db: Database, dsn: str) -> None:
    await overdue(db, 2 * HOUR)
    async with db.transaction(ONE) as conn:
        account = await store.get_by_id(conn, ONE, ANNS)
        await store.begin_sync(conn, ONE, ANNS, pause=HOUR, full_every=HOUR)
        await change.tell(conn, account, "accounts.resumed")  # any news of the account
    await tell_stale(db, EVERY)
    assert await told(db) == ["accounts.resumed"]

    owner = await asyncpg.connect(dsn)
    await owner.execute("UPDATE postroom.events_event SET at = at - interval '61 min'")
    await owner.close()
    await tell_stale(db, EVERY)
    assert await told(db) == ["accounts.resumed", "accounts.stale"]


async def test_a_copy_whose_syncs_fail_after_some_mail_is_stale_though_it_grows(db: Database) -> None:
    await overdue(db, 2 * HOUR)
    await failed(db)
    async with db.transaction(ONE) as conn:
        account = await store.get_by_id(conn, ONE, ANNS)
        await store.begin_sync(conn, ONE, ANNS, pause=HOUR, full_every=HOUR)
        await change.tell(conn, account, "accounts.resumed")
    await tell_stale(db, EVERY)

    assert await told(db) == ["accounts.resumed", "accounts.stale"]


async def test_a_success_in_the_very_moment_is_not_told_of_as_stale(db: Database) -> None:
    await overdue(db, 2 * HOUR)
    await synced(db, timedelta())
    async with db.transaction(ONE) as conn:
        assert not await mark_stale(conn, ONE, ANNS)


async def test_a_success_that_the_previous_release_tells_counts(db: Database) -> None:
    await overdue(db, 2 * HOUR)
    async with db.transaction(ONE) as conn:
        await conn.execute("UPDATE accounts_account SET last_sync_at = now(), last_sync_status = 'success'")
    await tell_stale(db, EVERY)

    assert await told(db) == []
