"""Accounts in PostgreSQL: every tenant sees its own, due ones are handed out once."""

from datetime import UTC, date, datetime, timedelta
from uuid import uuid4

import pytest
from servers.tenants import ANNS, BOBS, ONE, TWO

from postroom.accounts import store
from postroom.accounts.model import Account, AccountState, NoSuchAccount, Scope
from postroom.db.pool import Database
from postroom.ids import TenantId

NOW = datetime.now(UTC).replace(microsecond=0)
HOUR = timedelta(hours=1)
SCOPE = Scope(folders="INBOX*", since=date(2024, 2, 29), largest=1 << 20)
pytestmark = pytest.mark.usefixtures("tenants")


async def add(db: Database, tenant: TenantId = ONE, address: str = "eve@example.org") -> Account | None:
    async with db.transaction(tenant) as conn:
        return await store.add(
            conn,
            tenant,
            uuid4(),
            address=address,
            provider="imap",
            settings={"host": "mail.example", "port": 993},
            secret="sealed",
            scope=SCOPE,
            poll_every=timedelta(minutes=5),
        )


async def ann(db: Database) -> Account:
    async with db.transaction(ONE) as conn:
        return await store.get_by_id(conn, ONE, ANNS)


async def test_an_account_comes_back_as_it_was_added(db: Database) -> None:
    added = await add(db)

    assert added is not None
    assert added.scope == SCOPE
    assert added.settings == {"host": "mail.example", "port": 993}
    assert added.poll_every == timedelta(minutes=5)
    async with db.transaction(ONE) as conn:
        assert await store.get(conn, ONE, added.public_id) == added
        assert await store.find(conn, ONE, "eve@example.org") == added
        assert [a.id for a in await store.list_after(conn, ONE)] == [ANNS, added.id]
        assert [a.id for a in await store.list_after(conn, ONE, ANNS, limit=5)] == [added.id]
        assert await store.secret(conn, ONE, added.id) == "sealed"


async def test_an_address_is_connected_once_a_tenant(db: Database) -> None:
    assert await add(db) is not None
    assert await add(db) is None
    assert await add(db, TWO) is not None


async def test_another_tenants_account_does_not_exist(db: Database) -> None:
    async with db.transaction(TWO) as conn:
        bob = await store.get_by_id(conn, TWO, BOBS)
    async with db.transaction(ONE) as conn:
        assert await store.find(conn, ONE, "bob@example.org") is None
        assert await store.secret(conn, ONE, BOBS) is None
        with pytest.raises(NoSuchAccount):
            await store.get(conn, ONE, bob.public_id)
        with pytest.raises(NoSuchAccount):
            await store.set_state(conn, ONE, BOBS, AccountState.PAUSED)
        with pytest.raises(NoSuchAccount):
            await store.remove(conn, ONE, BOBS)
        with pytest.raises(NoSuchAccount):
            await store.get_by_id(conn, TWO, BOBS)  # the wall holds where the argument lies


async def test_a_sync_that_fails_and_one_that_succeeds_leave_their_marks(db: Database) -> None:
    error = {"code": "providers.unreachable", "message": "The server is down."}
    async with db.transaction(ONE) as conn:
        begun = await store.begin_sync(conn, ONE, ANNS, pause=HOUR, full_every=HOUR)
        assert isinstance(begun, tuple)
        assert begun[0] == await store.get_by_id(conn, ONE, ANNS)
        assert begun[0].sync_started_at is not None
        assert begun[2]
        for _ in range(2):
            await store.mark_sync_failed(conn, ONE, ANNS, wait=HOUR, error=error, state=AccountState.ERROR)
    failed = await ann(db)
    assert (failed.state, failed.reason, failed.failures) == (AccountState.ERROR, "The server is down.", 2)
    assert (failed.last_sync_status, failed.last_sync_error) == ("failed", error)
    assert (failed.sync_started_at, failed.sync_count) == (None, 2)
    assert failed.last_sync_at is not None
    assert failed.next_sync_at == failed.last_sync_at + HOUR

    async with db.transaction(ONE) as conn:
        await store.mark_sync_succeeded(conn, ONE, ANNS, wait=HOUR)
        await store.mark_compared(conn, ONE, ANNS, 2 * HOUR, is_equal=True)
        await store.mark_compared(conn, ONE, ANNS, HOUR, is_equal=False)
        for every, is_old in ((HOUR, False), (HOUR / 2, True)):
            begun = await store.begin_sync(conn, ONE, ANNS, pause=HOUR, full_every=every)
            assert isinstance(begun, tuple)
            assert begun[2] is is_old
            await store.mark_sync_succeeded(conn, ONE, ANNS, wait=HOUR)
    healed = await ann(db)
    assert (healed.state, healed.reason, healed.failures) == (AccountState.ACTIVE, None, 0)
    assert (healed.last_sync_status, healed.last_sync_error) == ("success", None)
    assert healed.verified_fresh_at is not None
    assert healed.compared_at == healed.verified_fresh_at + HOUR


async def test_a_pause_outlives_a_sync_that_was_under_way(db: Database) -> None:
    error = {"code": "x.y", "message": "no"}
    async with db.transaction(ONE) as conn:
        await store.set_state(conn, ONE, ANNS, AccountState.PAUSED, "holiday")
        await store.mark_sync_succeeded(conn, ONE, ANNS, wait=timedelta())
        await store.mark_sync_failed(
            conn, ONE, ANNS, wait=timedelta(), error=error, state=AccountState.REAUTH_REQUIRED
        )

    paused = await ann(db)
    assert (paused.state, paused.reason) == (AccountState.PAUSED, "holiday")


async def test_new_credentials_heal_an_account_and_make_it_due(db: Database) -> None:
    async with db.transaction(ONE) as conn:
        await store.set_state(conn, ONE, ANNS, AccountState.REAUTH_REQUIRED, "wrong password")
        await store.set_credentials(conn, ONE, ANNS, {"host": "new"}, "sealed anew")
        assert await store.secret(conn, ONE, ANNS) == "sealed anew"

    healed = await ann(db)
    assert (healed.state, healed.reason, healed.settings) == (AccountState.ACTIVE, None, {"host": "new"})


async def test_a_shorter_interval_takes_effect_now(db: Database) -> None:
    async with db.transaction(ONE) as conn:
        await store.mark_sync_succeeded(conn, ONE, ANNS, wait=24 * HOUR)
        await store.set_interval(conn, ONE, ANNS, timedelta(minutes=1), HOUR)

    account = await ann(db)
    assert account.poll_every == timedelta(minutes=1)
    assert account.next_sync_at < NOW + HOUR


async def test_a_removed_account_is_gone(db: Database) -> None:
    async with db.transaction(ONE) as conn:
        await store.remove(conn, ONE, ANNS)
        with pytest.raises(NoSuchAccount):
            await store.get_by_id(conn, ONE, ANNS)
