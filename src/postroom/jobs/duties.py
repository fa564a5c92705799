"""Duties: what recurs for the whole installation, by whichever process comes first when its time has come.

A duty is done by one process at a time, which holds it by a lease; one whose process is gone is another's.
It may be cut off anywhere, and is done anew then: so it must be harmless to do twice. Whoever is stopped
hands back what it holds, or may hold: a claim that was cut off in its commit may stand or not.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from time import monotonic

import structlog

from postroom.db import process
from postroom.db.beside import beside
from postroom.db.model import DATABASE_AWAY
from postroom.db.pool import Database
from postroom.errors import PostroomError

from .guard import failure_of
from .rules import reason
from .store import duties as store

LEASE = timedelta(seconds=30)
HAND_BACK = timedelta(seconds=1)  # how long that may take
LOOK_EVERY = timedelta(seconds=1)
JITTER = 0.1  # of the interval, so that installations that started together part
TURNS = count(1)

logger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Duty:
    """`name` begins with its room. `work` is what is done `every` so often."""

    name: str
    every: timedelta
    work: Callable[[], Awaitable[None]]


async def attend(db: Database, duties: Sequence[Duty]) -> None:
    """Do these whenever they are due, until cancelled. A new one begins at once."""
    holder, idle = _holder(), {duty.name: duty for duty in duties}
    is_planned = False

    async def one(duty: Duty) -> None:
        try:
            await _do(db, duty, holder)
        except DATABASE_AWAY as error:
            logger.warning("jobs.database_away", code=error.code)
            await asyncio.sleep(LOOK_EVERY.total_seconds())
        finally:
            idle[duty.name] = duty

    async with asyncio.TaskGroup() as group:
        while True:
            try:
                if not is_planned:
                    await plan(db, duties)
                    is_planned = True
                while idle and (name := await _claim(db, holder, list(idle))) is not None:
                    group.create_task(one(idle.pop(name)), name=name)
            except DATABASE_AWAY as error:
                logger.warning("jobs.database_away", code=error.code)
            await asyncio.sleep(LOOK_EVERY.total_seconds() * random.uniform(0.8, 1.2))


async def plan(db: Database, duties: Sequence[Duty]) -> None:
    """Let these recur from now on. A new one is due at once."""
    async with db.unbound() as conn:
        every = [duty.every for duty in duties]
        await store.plan(conn, [duty.name for duty in duties], every, [timedelta()] * len(duties))


async def do_one(db: Database, duties: Sequence[Duty]) -> bool:
    """Do one of these that is due and that nobody else does; whether there was one."""
    holder, by_name = _holder(), {duty.name: duty for duty in duties}
    try:
        name = await _claim(db, holder, list(by_name))
    except DATABASE_AWAY:
        await _hand_back(db, holder, list(by_name))
        raise
    if name is not None:
        await _do(db, by_name[name], holder)
    return name is not None


def _holder() -> str:
    """Another one each time: several may do duties in one process, and must know what is whose."""
    return f"{process.identity()} {next(TURNS)}"


async def _claim(db: Database, holder: str, names: Sequence[str]) -> str | None:
    """One of these that is due. The holder does none of them: what it holds was claimed in vain."""
    async with _handed_back(db, holder, names), db.unbound() as conn:
        dead = [other for other in await store.holders(conn) if process.is_dead(other)]
        return await store.claim(conn, holder, names, LEASE, dead)


async def _do(db: Database, duty: Duty, holder: str) -> None:
    began = monotonic()
    async with _handed_back(db, holder, [duty.name]):
        async with beside(_holding(db, duty.name, holder)):
            failure = await failure_of(duty.work())
        if failure is not None:
            logger.warning("jobs.duty_failed", duty=duty.name, exc_info=failure)
        why = reason(failure) if failure else None
        seconds, jitter = monotonic() - began, 1 + random.uniform(-JITTER, JITTER)
        async with db.unbound() as conn:
            error = f"{why.message} [{why.code}]" if why else None
            await store.done(conn, duty.name, holder, seconds=seconds, error=error, jitter=jitter)


@asynccontextmanager
async def _handed_back(db: Database, holder: str, names: Sequence[str]) -> AsyncIterator[None]:
    """Whoever is stopped in the block holds none of these any more."""
    try:
        yield
    except asyncio.CancelledError:
        await _hand_back(db, holder, names)
        raise


async def _hand_back(db: Database, holder: str, names: Sequence[str]) -> None:
    """What cannot be handed back in time is anybody's when its lease has run out."""
    with suppress(PostroomError, TimeoutError):
        async with asyncio.timeout(HAND_BACK.total_seconds()), db.unbound() as conn:
            await store.release(conn, names, holder)


async def _holding(db: Database, name: str, holder: str) -> None:
    """What cannot be held any more goes on nevertheless: doing it twice is harmless."""
    while True:
        await asyncio.sleep(LEASE.total_seconds() / 3)
        try:
            async with db.unbound() as conn:
                await store.hold(conn, name, holder, LEASE)
        except DATABASE_AWAY:
            continue
