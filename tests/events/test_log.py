import asyncio
from dataclasses import replace

import asyncpg
import pytest
from servers.tenants import ONE, TWO

from postroom.db.pool import Database
from postroom.events import chain, log
from postroom.events.model import ChainBroken, Event, Stream

STREAM = Stream(7)


pytestmark = pytest.mark.usefixtures("tenants")


def added(number: int) -> Event:
    return Event("mail.removed", {"message": f"{number:036}"})


async def test_a_stream_counts_from_one_without_a_gap(db: Database) -> None:
    for events in ([added(1), added(2)], [added(3)]):
        async with db.transaction(ONE) as conn:
            last = await log.append(conn, ONE, STREAM, events)

    async with db.transaction(ONE) as conn:
        entries = await log.read(conn, ONE, STREAM)

    assert last == 3
    assert [entry.seq for entry in entries] == [1, 2, 3]
    assert chain.verify(entries) == (3, entries[-1].hash)


async def test_what_was_rolled_back_leaves_no_gap(db: Database) -> None:
    async def fail() -> None:
        async with db.transaction(ONE) as conn:
            await log.append(conn, ONE, STREAM, [added(1)])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    async with db.transaction(ONE) as conn:
        assert await log.append(conn, ONE, STREAM, [added(2)]) == 1


async def test_writers_at_the_same_time_share_one_chain(db: Database) -> None:
    async def write(number: int) -> None:
        async with db.transaction(ONE) as conn:
            await log.append(conn, ONE, STREAM, [added(number)] * 3)

    async with asyncio.TaskGroup() as group:
        for number in range(8):
            group.create_task(write(number))

    async with db.transaction(ONE) as conn:
        entries = await log.read(conn, ONE, STREAM)
    assert chain.verify(entries)[0] == 24


async def test_another_tenants_stream_is_invisible(db: Database) -> None:
    async with db.transaction(ONE) as conn:
        await log.append(conn, ONE, STREAM, [added(1)])

    async with db.transaction(TWO) as conn:
        assert await log.read(conn, ONE, STREAM) == []
        assert await log.append(conn, TWO, STREAM, [added(1)]) == 1


@pytest.mark.parametrize("statement", ["UPDATE events_event SET body = '{}'", "DELETE FROM events_event"])
async def test_the_running_role_cannot_rewrite_history(db: Database, statement: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with db.transaction(ONE) as conn:
            await conn.execute(statement)


async def test_whatever_is_done_to_an_entry_shows(db: Database) -> None:
    async with db.transaction(ONE) as conn:
        await log.append(conn, ONE, STREAM, [added(n) for n in range(4)])
        entries = await log.read(conn, ONE, STREAM)

    altered = [*entries[:2], replace(entries[2], body='{"message":9}'), entries[3]]
    removed = [entries[0], *entries[2:]]
    swapped = [entries[1], entries[0], *entries[2:]]
    for forged in (altered, removed, swapped):
        with pytest.raises(ChainBroken):
            chain.verify(forged)
