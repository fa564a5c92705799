"""What is told over a channel that comes, goes and comes back."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import pytest
from alerts.receiving import Receiver, receiving
from alerts.test_alerts import URL, happens, live, turn
from servers.tenants import BOBS, TWO

from postroom.alerts import read, store
from postroom.alerts.model import Channel
from postroom.alerts.tell import tell
from postroom.db.pool import Database

pytestmark = pytest.mark.usefixtures("tenants")

A_DAY_PASSES = "UPDATE postroom.alerts_channel SET until = until - interval '1 day'"


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as here:
        yield here


async def a_day_passes(dsn: str) -> None:
    """In which no process names a channel."""
    conn = await asyncpg.connect(dsn)
    await conn.execute(A_DAY_PASSES)
    await conn.close()


async def waiting(db: Database) -> int:
    async with db.unbound() as conn:
        return (await store.counted(conn))[1]


async def test_nothing_waits_for_a_channel_that_was_taken_out_of_the_settings(db: Database, dsn: str) -> None:
    await live(db)
    await happens(db, "accounts.stale")
    await read.look(db, URL)
    before = await waiting(db)
    await a_day_passes(dsn)
    await happens(db, "accounts.reauth_required", code="a.b")
    await read.look(db, [])

    assert (before, await waiting(db)) == (1, 0)


async def test_a_channel_that_comes_back_is_told_what_is_open_then_and_what_it_knows_is_over(
    db: Database, dsn: str, receiver: Receiver
) -> None:
    await live(db)
    await happens(db, "accounts.stale")
    await turn(db, receiver)
    await happens(db, "sync.watch_lapsed", TWO, BOBS)
    await read.look(db, URL)  # nobody is told of that any more
    await a_day_passes(dsn)
    for kind in ("accounts.recovered", "accounts.stale", "accounts.recovered"):
        await happens(db, kind)
    await happens(db, "sync.watch_resumed", TWO, BOBS)
    await happens(db, "accounts.stale", TWO, BOBS)
    await read.look(db, [])
    receiver.got.clear()
    for _ in range(2):
        await turn(db, receiver)

    assert sorted(receiver.told) == [("alerts.closed", "accounts.stale"), ("alerts.opened", "accounts.stale")]
    assert len({body["data"]["tenant"] for body in receiver.bodies}) == 2
    assert await waiting(db) == 0


async def test_a_process_with_other_settings_neither_drops_nor_misses_what_another_tells(
    db: Database, receiver: Receiver
) -> None:
    """As in a restart of one after the other."""
    await live(db)
    await happens(db, "accounts.stale")
    await read.look(db, URL)
    for kind in ("accounts.recovered", "accounts.stale"):
        await happens(db, kind)
        await read.look(db, [Channel.MAIL])
        await tell(db, [])
    await turn(db, receiver)

    told = [told for told, _ in receiver.told]
    assert sorted(told) == ["alerts.closed", "alerts.opened", "alerts.opened"]


async def test_a_channel_that_comes_while_a_log_is_read_for_the_first_time_is_told_nothing_that_is_over(
    db: Database, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    await happens(db, "accounts.stale")
    await happens(db, "accounts.recovered")

    async def broken(*_: object) -> None:
        raise asyncio.CancelledError

    with monkeypatch.context() as patch:
        patch.setattr(read, "PAGE", 1)
        patch.setattr(store, "end", broken)
        with pytest.raises(asyncio.CancelledError):
            await read.look(db, [])
    await turn(db, receiver)

    assert receiver.got == []


async def test_what_is_over_goes_though_it_waits_for_a_channel_that_nobody_wants(
    db: Database, dsn: str
) -> None:
    await live(db)
    await happens(db, "accounts.stale")
    await happens(db, "accounts.recovered")
    await read.look(db, URL)
    await a_day_passes(dsn)
    async with db.unbound() as conn:
        assert await store.clean(conn, timedelta(), 10) == 1
