"""A change is told once, and only if it is one."""

import asyncio
from datetime import timedelta
from functools import partial

import pytest
from servers.tenants import ANNS, ONE

from postroom.accounts import change, store
from postroom.accounts.model import Account, AccountState
from postroom.db.pool import Database
from postroom.events import log
from postroom.events.model import stream_of
from postroom.sync import halt

pytestmark = pytest.mark.usefixtures("tenants")

DAY = timedelta(days=1)


async def anns(db: Database) -> Account:
    async with db.transaction(ONE) as conn:
        return await store.get_by_id(conn, ONE, ANNS)


async def told(db: Database) -> list[str]:
    async with db.transaction(ONE) as conn:
        return [entry.kind for entry in await log.read(conn, ONE, stream_of(ANNS))]


async def test_a_pause_and_its_end_are_told_once_each(db: Database) -> None:
    account = await anns(db)
    pause = partial(change.pause, stop=halt.stop)
    for act in (change.resume, pause, pause, change.resume, change.resume):
        async with db.transaction(ONE) as conn:
            await act(conn, account)

    assert await told(db) == ["accounts.paused", "accounts.resumed"]
    assert (await anns(db)).state is AccountState.ACTIVE


async def test_two_who_pause_at_once_are_told_as_one(db: Database) -> None:
    account = await anns(db)

    async def pause() -> None:
        async with db.transaction(ONE) as conn:
            await change.pause(conn, account, halt.stop)

    await asyncio.gather(*(pause() for _ in range(5)))

    assert await told(db) == ["accounts.paused"]


async def test_an_interval_that_stays_the_same_is_no_change(db: Database) -> None:
    account = await anns(db)
    for every in (None, timedelta(minutes=5), timedelta(minutes=5), None):
        async with db.transaction(ONE) as conn:
            await change.poll(conn, account, every, DAY)

    assert await told(db) == ["accounts.changed", "accounts.changed"]
