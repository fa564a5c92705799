"""A ticket desk: an application with a table of its own, in whose database postroom lives."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import asyncpg
from servers.tenants import ONE
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from postroom import Postroom
from postroom.db.pool import Database
from postroom.events import log
from postroom.events.model import Event, Stream
from postroom.ids import TenantId
from postroom.library import Event as Told

SECRET = "a secret of this application"
# Nothing keeps it from having two tickets of one message but that each event is handled once.
MAKE = (
    "CREATE TABLE IF NOT EXISTS public.ticket (number serial, tenant uuid, message uuid, stream int, seq int)"
)
BY_CONNECTION = "INSERT INTO public.ticket (tenant, message, stream, seq) VALUES ($1, $2, $3, $4)"
BY_SESSION = (
    "INSERT INTO public.ticket (tenant, message, stream, seq) VALUES (:tenant, :message, :stream, :seq)"
)
TICKETS = "SELECT tenant, message, stream, seq FROM public.ticket ORDER BY number"
PUBLIC = {"search_path": "public"}  # the superuser of the tests is called as our schema
ENDED = "SELECT count(*) FROM public.ticket"


def room_of(dsn: str, session: Any = None, **settings: Any) -> Postroom:
    return Postroom(dsn, secret_key=SECRET, session=session, executor=False, **settings)


async def write(event: Told, tx: Any) -> None:
    """A ticket, by whatever the handler was given."""
    if isinstance(tx, AsyncSession):
        values = {"tenant": event.tenant, "message": event.message, "stream": event.stream, "seq": event.seq}
        await tx.execute(text(BY_SESSION), values)
    else:
        await tx.execute(BY_CONNECTION, event.tenant, event.message, event.stream, event.seq)


def added(count: int) -> list[Event]:
    return [
        Event("mail.added", {"message": str(uuid4()), "folder": str(uuid4()), "flags": []})
        for _ in range(count)
    ]


async def arrive(db: Database, *events: Event, stream: int = 1, tenant: TenantId = ONE) -> list[UUID]:
    """The messages, in order."""
    async with db.transaction(tenant) as conn:
        await log.append(conn, tenant, Stream(stream), events)
    return [UUID(event.data["message"]) for event in events]


@dataclass
class Desk:
    """Its database, as its owner sees it."""

    dsn: str
    conn: asyncpg.Connection
    handled: list[UUID | None] = field(default_factory=list)  # also what came to nothing
    told: asyncio.Event = field(default_factory=asyncio.Event)

    async def tickets(self) -> list[asyncpg.Record]:
        return list(await self.conn.fetch(TICKETS))

    async def messages(self) -> list[UUID]:
        return [ticket["message"] for ticket in await self.tickets()]

    async def until(self, is_so: Callable[[], Any]) -> None:
        """Wait until something is so; it is looked at when a handler has run, and a few times a second."""
        async with asyncio.timeout(30):
            while not await is_so():
                self.told.clear()
                try:
                    async with asyncio.timeout(0.05):
                        await self.told.wait()
                except TimeoutError:
                    continue

    async def until_tickets(self, count: int) -> None:
        async def are_there() -> bool:
            return int(await self.conn.fetchval(ENDED)) >= count

        await self.until(are_there)

    async def ticket(self, event: Told, tx: Any) -> None:
        """A handler."""
        self.handled.append(event.message)
        await write(event, tx)
        self.told.set()


@asynccontextmanager
async def desk_of(dsn: str) -> AsyncIterator[Desk]:
    conn = await asyncpg.connect(dsn)
    await conn.execute(MAKE)
    try:
        yield Desk(dsn, conn)
    finally:
        await conn.close()


@asynccontextmanager
async def given(dsn: str, way: str) -> AsyncIterator[Any]:
    """What an application gives as `session`."""
    async with AsyncExitStack() as stack:
        if way == "nothing":
            yield None
        elif way == "pool":
            pool = asyncpg.create_pool(dsn, min_size=0, max_size=5, server_settings=PUBLIC)
            yield await stack.enter_async_context(pool)
        else:
            url = dsn.replace("postgresql", "postgresql+asyncpg")
            engine = create_async_engine(url, connect_args={"server_settings": PUBLIC})
            stack.push_async_callback(engine.dispose)
            yield async_sessionmaker(engine, expire_on_commit=False)
