"""Which processes live: each has one row and renews it, however much it holds.

    registered ──> alive ──renewed──> alive ... ──> the block ends: no row
                     └── not renewed for `TTL`, or seen to be dead: gone, and what it held is free

What a process holds (a connection, an account that it watches) stands under its identity and needs no renewal
of its own: ten thousand of them cost one statement every few seconds. A process that could not renew may have
been taken for dead, and is told so (`lapse`): what it held may be another's now. All times are the database's
clock, but for that one.
"""

import asyncio
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

from postroom.db import process
from postroom.db.beside import beside
from postroom.db.model import DATABASE_AWAY
from postroom.db.pool import Connection, Database
from postroom.errors import PostroomError

TTL = timedelta(seconds=10)
RENEWALS = 4  # in each period, so that three may fail
FORGOTTEN = timedelta(hours=1)  # after its end nobody asks for a process any more
GOODBYE = 2.0  # seconds

RENEW = """
    INSERT INTO db_process AS p (identity, kind, machine, expires_at)
    VALUES ($1, $2, $3, clock_timestamp() + $4::interval)
    ON CONFLICT (identity) DO UPDATE SET expires_at = excluded.expires_at
    RETURNING p.xmax = 0 AS is_new
"""
END = "DELETE FROM db_process WHERE identity = $1"
ALIVE = """
    SELECT identity FROM db_process
     WHERE db_is_alive(expires_at) AND ($1::text IS NULL OR kind = $1)
     ORDER BY identity
"""
SWEEP = """
    DELETE FROM db_process WHERE expires_at < clock_timestamp() - $1::interval OR identity = ANY($2::text[])
"""


class Process:
    """This one, or one of several that live in it, such as two executors of a test."""

    def __init__(self, kind: str) -> None:
        self.identity = f"{process.identity()} {secrets.token_hex(4)}"
        self.kind = kind
        self.lapse = asyncio.Event()
        """Set when others may have taken us for dead; each time another one, so ask for it anew."""

    def _lapse(self) -> None:
        over, self.lapse = self.lapse, asyncio.Event()
        over.set()


@asynccontextmanager
async def registered(db: Database, kind: str, *, ttl: timedelta = TTL) -> AsyncIterator[Process]:
    """This process counts as alive for as long as the block runs. `kind`: what it is there for, in a word."""
    one = Process(kind)
    async with db.unbound() as conn:
        await _sweep(conn)
        await _renew(conn, one, ttl)
    try:
        # Neither the pool's other users nor its end may keep it from being renewed.
        async with db.reserved(1) as own, beside(_keep(own, one, ttl)):
            yield one
    finally:
        with suppress(PostroomError, TimeoutError):  # then it runs out by itself
            async with asyncio.timeout(GOODBYE), db.single() as conn:
                await conn.execute(END, one.identity)


async def alive(conn: Connection, kind: str | None = None) -> list[str]:
    """The identities of all processes that live, in order; with `kind` of those only.

    Without those of this machine that are certainly dead: these are seen at once, others within `TTL`.
    """
    found = await conn.fetch(ALIVE, kind)
    return [row["identity"] for row in found if not process.is_dead(row["identity"])]


async def _renew(conn: Connection, one: Process, ttl: timedelta) -> bool:
    """Whether there was no row of it."""
    return bool(await conn.fetchval(RENEW, one.identity, one.kind, socket.gethostname(), ttl))


async def _sweep(conn: Connection) -> None:
    dead = [row["identity"] for row in await conn.fetch(ALIVE, None) if process.is_dead(row["identity"])]
    await conn.execute(SWEEP, FORGOTTEN, dead)


async def _keep(db: Database, one: Process, ttl: timedelta) -> None:
    """Renew for ever."""
    now, each = asyncio.get_running_loop().time, ttl.total_seconds() / RENEWALS
    ends = now() + ttl.total_seconds()
    while True:
        await asyncio.sleep(each)
        asked, has_lapsed = now(), False
        with suppress(*DATABASE_AWAY, TimeoutError):
            async with asyncio.timeout_at(max(ends, asked + each)), db.single() as conn:
                has_lapsed = await _renew(conn, one, ttl)
            has_lapsed, ends = has_lapsed or now() >= ends, asked + ttl.total_seconds()
        if has_lapsed or now() >= ends:
            one._lapse()
