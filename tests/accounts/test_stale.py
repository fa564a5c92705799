"""A copy that grows old is told of once, and once that it is up to date again."""

from datetime import UTC, datetime, timedelta

import pytest
from servers.tenants import ANNS, ONE

from postroom.accounts import change, store
from postroom.accounts.model import AccountState
from postroom.accounts.stale import tell_stale
from postroom.db.pool import Database
from postroom.events import log
from postroom.events.model import stream_of

pytestmark = pytest.mark.usefixtures("tenants")

EVERY = timedelta(minutes=15)
HOUR = timedelta(hours=1)


async def told(db: Database) -> list[str]:
    async with db.transaction(ONE) as conn:
        return [entry.kind for entry in await log.read(conn, ONE, stream_of(ANNS))]


async def overdue(db: Database, age: timedelta, state: str = "active") -> None:
    async with db.transaction(ONE) as conn:
        await conn.execute(
            "UPDATE accounts_account SET next_sync_at = now() - $1::interval, state = $2", age, state
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


@pytest.mark.parametrize("state", ["paused", "reauth_required"])
async def test_what_is_not_polled_is_told_of_in_another_way(db: Database, state: str) -> None:
    await overdue(db, 2 * HOUR, state)
    await tell_stale(db, EVERY)

    assert await told(db) == []


async def test_an_account_whose_syncs_fail_is_stale_until_one_succeeds(db: Database) -> None:
    now = datetime.now(UTC)
    async with db.transaction(ONE) as conn:
        await store.mark_sync_failed(
            conn,
            ONE,
            ANNS,
            at=now - 2 * HOUR,
            next_sync_at=now + HOUR,
            error={"code": "a.b", "message": "no"},
            state=AccountState.ERROR,
        )
    await tell_stale(db, EVERY)
    assert await told(db) == ["accounts.stale"]

    async with db.transaction(ONE) as conn:
        account = await store.get_by_id(conn, ONE, ANNS)
        assert account.stale_at is not None
        await store.mark_sync_succeeded(conn, ONE, ANNS, at=now, next_sync_at=now + HOUR)
        assert (await store.get_by_id(conn, ONE, ANNS)).stale_at is None
        await change.tell(conn, account, "accounts.recovered")
    await tell_stale(db, EVERY)
    assert await told(db) == ["accounts.stale", "accounts.recovered"]
