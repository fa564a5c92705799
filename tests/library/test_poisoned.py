"""An event that ends its process stops its handler in the end, and not the application."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

import orjson
import pytest
from library.desk import Desk, added, arrive, room_of, write
from library.poisoned import ATTEMPTS
from servers.nursery import Nursery, kill, nursery, over
from servers.tenants import ONE, TWO

from postroom.db.pool import Database
from postroom.library import Event

DEATHS = 2 + ATTEMPTS  # one among others, and one that is not held against it
MARKS = "SELECT begun, retry_at, stopped_at FROM postroom.library_handler"
BEGUN = "SELECT bool_or(begun = 1) FROM postroom.library_handler"
WAIT = """
    SELECT retry_at - clock_timestamp() FROM postroom.library_handler WHERE tenant_id = 1 AND name = 'ticket'
"""
STOPPED = """
    SELECT stopped_at IS NOT NULL FROM postroom.library_handler WHERE tenant_id = 1 AND name = 'ticket'
"""
NOW = "UPDATE postroom.library_handler SET retry_at = clock_timestamp() WHERE retry_at IS NOT NULL"
TOLD = "SELECT body FROM postroom.events_event WHERE kind = 'library.handler_stopped'"
NOTES = "SELECT message FROM public.note"


@dataclass
class Host:
    """The application, which is started again whenever it is gone."""

    desk: Desk
    nursery: Nursery
    poison: list[str] = field(default_factory=list)
    waits: list[timedelta] = field(default_factory=list)  # after each death
    number: int = 0

    async def live(self, until: str) -> None:
        """Start it anew until it lives to see this."""
        await self.end()
        while True:
            await self.desk.conn.execute(NOW)
            self.number = await self.nursery.begin(dsn=self.desk.dsn, poison=self.poison)
            dying, wanted = asyncio.create_task(over(self.number)), asyncio.create_task(self.so(until))
            done, others = await asyncio.wait((dying, wanted), return_when=asyncio.FIRST_COMPLETED)
            for other in others:
                other.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            if wanted in done:
                return
            self.number = 0
            self.waits.append(await self.desk.conn.fetchval(WAIT))

    async def end(self) -> None:
        with suppress(ProcessLookupError):
            if self.number:
                await kill(self.number)

    async def so(self, until: str) -> None:
        """Wait until a statement gives a row that says yes."""

        async def is_so() -> bool:
            return bool(await self.desk.conn.fetchval(until))

        await self.desk.until(is_so)


@pytest.fixture
async def host(desk: Desk) -> AsyncIterator[Host]:
    await desk.conn.execute("CREATE TABLE public.note (message uuid)")
    async with nursery("library.poisoned") as begun:
        made = Host(desk, begun)
        yield made
        await made.end()


@pytest.mark.slow
async def test_a_handler_that_ends_its_process_stops_there_and_all_else_goes_on(
    host: Host, desk: Desk, db: Database
) -> None:
    ones, twos = await arrive(db, *added(5)), await arrive(db, *added(5), tenant=TWO)
    tenant = await public_id(desk)
    host.poison = [str(ones[2])]
    await host.live(STOPPED)
    await host.so("SELECT count(*) = 10 FROM public.note")

    assert len(host.waits) == DEATHS
    assert host.waits[1:] == sorted(host.waits[1:])
    assert {message for (message,) in await desk.conn.fetch(NOTES)} == {*ones, *twos}
    assert set(await desk.messages()) == {*ones[:2], *twos}
    [told] = [orjson.loads(body) for (body,) in await desk.conn.fetch(TOLD)]
    assert (told["handler"], told["seq"]) == ("library.ticket", 3)
    assert "account" in told

    twos += await arrive(db, *added(1), tenant=TWO)
    await desk.until_tickets(8)
    assert set(await desk.messages()) == {*ones[:2], *twos}

    ones += await arrive(db, *added(1))
    await host.live(
        "SELECT count(*) = 12 FROM public.note"
    )  # it does not begin anew because it is started again
    assert len(host.waits) == DEATHS
    assert set(await desk.messages()) == {*ones[:2], *twos}

    await host.end()
    await resume(desk, tenant)
    await host.live(STOPPED)
    assert len(host.waits) == DEATHS + 1  # one try more

    await host.end()
    host.poison = []
    await resume(desk, tenant)
    await host.live("SELECT count(*) = 12 FROM public.ticket")
    assert set(await desk.messages()) == {*ones, *twos}


async def raises(_tx: Any) -> None:
    raise ValueError


async def returns(_tx: Any) -> None: ...


async def asks(tx: Any) -> None:
    await tx.execute("SELECT")
    raise ValueError


@pytest.mark.parametrize("end", [None, raises, returns, asks])
async def test_an_application_that_ends_in_good_order_leaves_no_mark(
    desk: Desk, db: Database, end: Callable[[Any], Awaitable[None]] | None
) -> None:
    """Its handler was at work; that is nobody's fault, whatever it makes of being cancelled."""
    messages, begun = await arrive(db, *added(2)), asyncio.Event()
    ending, again = room_of(desk.dsn), room_of(desk.dsn)

    @ending.on("mail.added", name="ticket", attempts=1)
    async def wait(_event: Event, tx: Any) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if end is None:
                raise
            await end(tx)

    again.on("mail.added", name="ticket")(desk.ticket)
    async with asyncio.timeout(30), ending:
        await begun.wait()
        assert await desk.conn.fetchval(BEGUN)

    assert {tuple(row) for row in await desk.conn.fetch(MARKS)} == {(0, None, None)}
    async with again:
        await desk.until_tickets(2)
    assert await desk.messages() == messages


async def test_what_fails_while_the_process_lives_leaves_no_mark(desk: Desk, db: Database) -> None:
    await arrive(db, *added(1))
    room = room_of(desk.dsn)

    @room.on("mail.added", attempts=2)
    async def ticket(event: Event, tx: Any) -> None:
        await write(event, tx)
        raise ValueError

    async def stopped() -> bool:
        return any(one.stopped_at for one in await room.handlers(await public_id(desk)))

    async with room:
        await desk.until(stopped)

    assert await desk.conn.fetchval("SELECT sum(begun) FROM postroom.library_handler") == 0


async def public_id(desk: Desk) -> UUID:
    found: UUID = await desk.conn.fetchval(
        "SELECT public_id FROM postroom.people_tenant WHERE tenant_id = $1", ONE
    )
    return found


async def resume(desk: Desk, tenant: UUID) -> None:
    async with room_of(desk.dsn) as room:
        assert await room.resume("ticket", tenant)
