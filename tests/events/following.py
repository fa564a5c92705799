"""Logs that grow while they are followed, and what the log itself says should have been heard."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import uuid4

from servers.tenants import ONE

from postroom.accounts import store as accounts
from postroom.db.listen import open_hints
from postroom.db.pool import Database
from postroom.events import feed, log, store
from postroom.events.follow import Follower, Following, following
from postroom.events.model import Entry, Event, Place, Stream
from postroom.events.wanted import Types, Wanted
from postroom.ids import TenantId

MAIL = str(uuid4())
FOLDERS = [uuid4() for _ in range(3)]
FILTERS = [["mail.added"], ["mail.*"], ["mail.removed", "sync.*"], ["mail.folder_added"], ["*"]]


def event(rng: random.Random) -> Event:
    """Something, about one of a few folders or none."""
    folder = {"folder": str(rng.choice(FOLDERS))}
    match rng.randrange(4):
        case 0:
            return Event("mail.added", {"message": MAIL, **folder, "flags": []})
        case 1:
            return Event("mail.removed", {"message": MAIL})
        case 2:
            return Event("mail.folder_added", folder)
        case _:
            return Event("sync.parked", {**folder, "uid": 1, "code": "a.b"})


async def append(db: Database, stream: int, *events: Event, tenant: TenantId = ONE) -> None:
    async with db.transaction(tenant) as conn:
        await log.append(conn, tenant, Stream(stream), events)


async def write(db: Database, stream: int, times: int, rng: random.Random) -> None:
    """One account's syncs: transactions that take a moment, and some of which come to nothing."""
    for _ in range(times):
        events = [event(rng) for _ in range(rng.randrange(1, 4))]
        try:
            async with db.transaction(ONE) as conn:
                await log.append(conn, ONE, Stream(stream), events)
                if rng.random() < 0.3:
                    await conn.execute("SELECT 1")
                if rng.random() < 0.1:
                    raise Undone
        except Undone:
            pass


class Undone(Exception):
    """Rolls back."""


def any_filter(rng: random.Random, streams: int) -> Wanted:
    return Wanted(
        Types.read(rng.choice(FILTERS)) if rng.random() < 0.6 else None,
        Stream(rng.randrange(1, streams + 1)) if rng.random() < 0.4 else None,
        rng.choice(FOLDERS) if rng.random() < 0.2 else None,
    )


async def everything(db: Database, tenant: TenantId = ONE, after: Place = feed.START) -> list[Entry]:
    """The log, in the order of feeds, by itself."""
    async with db.transaction(tenant) as conn:
        return await store.feed(conn, tenant, after, feed.EVERYTHING, 1_000_000)


def expected(entries: Sequence[Entry], wanted: Wanted, after: Place = feed.START) -> list[Entry]:
    def names(entry: Entry) -> bool:
        return '"folder"' not in entry.body or f'"{wanted.folder}"' in entry.body

    return [
        entry
        for entry in entries
        if feed.place_of(entry) > after
        and (wanted.stream is None or entry.stream == wanted.stream)
        and (wanted.types is None or entry.kind in wanted.types)
        and (wanted.folder is None or names(entry))
    ]


@asynccontextmanager
async def live(db: Database) -> AsyncIterator[Following]:
    async with asyncio.timeout(60), open_hints(db) as hints, following(db, hints, accounts.public_ids) as it:
        yield it


async def heard(follower: Follower) -> list[Entry]:
    """The next that it is given; nothing after the end."""
    while not follower.is_over:
        follower.wake.clear()
        if found := await follower.take():
            return [one.entry for one in found]
        await follower.wake.wait()
    return []
