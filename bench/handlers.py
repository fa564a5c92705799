"""`python -m bench.handlers`: events that an application's handlers take in a second, each with one INSERT.

The application, its handlers and whoever fills the log are this process; PostgreSQL is one of its own, as
durable as users have it. The log is filled first, so a handler never waits. Beside it the floor: the same
INSERTs, as many in a transaction, by hand on the same connection, without cursors, events or order.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Any
from uuid import uuid4

import asyncpg
import structlog
import uvloop
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from bench.report import Table, machine
from postroom import Postroom
from postroom.db.embedded.client import running
from postroom.db.pool import open_pool
from postroom.events import log
from postroom.events.model import Event as Appended
from postroom.events.model import Stream
from postroom.ids import TenantId
from postroom.library import Event
from postroom.library.handle import TOGETHER

GOAL = 1000
STREAMS = 10
MAKE = "CREATE TABLE IF NOT EXISTS public.ticket (number bigserial PRIMARY KEY, message uuid, at timestamptz)"
INSERT = "INSERT INTO public.ticket (message, at) VALUES ($1, $2)"
BY_SESSION = text("INSERT INTO public.ticket (message, at) VALUES (:message, :at)")
COUNT = "SELECT count(*), count(DISTINCT message) FROM public.ticket"
COMMITTED = "SELECT count(*) FROM public.ticket"
WAYS = ("asyncpg", "SQLAlchemy", "floor")
PUBLIC = {"search_path": "public"}  # the superuser is called as our schema


async def handle(event: Event, tx: Any) -> None:
    if isinstance(tx, AsyncSession):
        await tx.execute(BY_SESSION, {"message": event.message, "at": event.at})
    else:
        await tx.execute(INSERT, event.message, event.at)


def run(events: int, rounds: int) -> Table:
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    return uvloop.run(_run(events, rounds))


async def _run(events: int, rounds: int) -> Table:
    table = Table(f"{events:,} events, each handled by one INSERT, {rounds} rounds", ["", "events a second"])
    with tempfile.TemporaryDirectory() as folder:
        async with running(Path(folder, "data")) as dsn:
            async with Postroom(dsn, secret_key="a secret of the bench", executor=False) as room:
                await room.pool.execute(MAKE)
            await _fill(dsn, events)
            found: dict[str, list[float]] = {way: [] for way in WAYS}
            for number in range(rounds):
                for way in WAYS:
                    found[way].append(
                        events / await _round(dsn, way, events, f"round.{number}.{way.lower()}")
                    )
    for way, speeds in found.items():
        table.add(way, f"{median(speeds):,.0f} ({min(speeds):,.0f} to {max(speeds):,.0f})")
    verdict = "reached" if min(median(found[way]) for way in WAYS[:2]) >= GOAL else "missed"
    table.note(f"Goal {GOAL:,} a second: {verdict}.")
    return table


async def _fill(dsn: str, events: int) -> None:
    async with open_pool(dsn) as db:
        for first in range(0, events, 100):
            many = [
                Appended("mail.added", {"message": str(uuid4()), "folder": str(uuid4()), "flags": []})
                for _ in range(min(100, events - first))
            ]
            async with db.transaction(TenantId(1)) as conn:
                await log.append(conn, TenantId(1), Stream(1 + first // 100 % STREAMS), many)


async def _round(dsn: str, way: str, events: int, name: str) -> float:
    """Seconds from the first event to the commit of the last."""
    conn = await asyncpg.connect(dsn)
    await conn.execute("TRUNCATE public.ticket")
    try:
        took = await (_floor(conn, events) if way == "floor" else _handled(conn, dsn, way, events, name))
        assert tuple(await conn.fetchrow(COUNT) or ()) == (events, events)
    finally:
        await conn.close()
    return took


async def _handled(conn: asyncpg.Connection, dsn: str, way: str, events: int, name: str) -> float:
    began, seen, done = 0.0, 0, asyncio.Event()
    async with _session(dsn, way) as session:
        room = Postroom(dsn, secret_key="a secret of the bench", executor=False, session=session)

        @room.on("mail.added", name=name)
        async def ticket(event: Event, tx: Any) -> None:
            nonlocal began, seen
            began = began or time.perf_counter()
            await handle(event, tx)
            seen += 1
            if seen == events:
                done.set()

        async with room:
            await done.wait()
            while await conn.fetchval(COMMITTED) < events:
                pass
            return time.perf_counter() - began


@asynccontextmanager
async def _session(dsn: str, way: str) -> AsyncIterator[Any]:
    if way == "asyncpg":
        yield None
        return
    engine = create_async_engine(
        "postgresql+asyncpg://", async_creator=lambda: asyncpg.connect(dsn, server_settings=PUBLIC)
    )
    yield async_sessionmaker(engine)
    await engine.dispose()


async def _floor(conn: asyncpg.Connection, events: int) -> float:
    began, messages = time.perf_counter(), [uuid4() for _ in range(events)]
    for first in range(0, events, TOGETHER):
        async with conn.transaction():
            for message in messages[first : first + TOGETHER]:
                await conn.execute(INSERT, message, None)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=10_000, help="events")
    parser.add_argument("-r", type=int, default=3, help="rounds")
    chosen = parser.parse_args()
    print(machine())
    print(run(chosen.n, chosen.r))


if __name__ == "__main__":
    main()
