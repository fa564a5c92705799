"""Read the streams of a tenant as one, in an order that never changes, skipping and repeating nothing.

    (position, stream, seq)     position = the number of the entry's transaction, see `log`

Transactions commit in another order than their numbers are given out, so whoever reads up to the last row
that it sees may pass one that is not committed yet. A feed therefore ends before the oldest transaction that
is still running: what lies below is all there will ever be. One transaction that stays open, anybody's in the
same PostgreSQL, holds feeds up; it loses nothing.

A log that is kept for so long only (`remove`) begins behind what was removed. Whoever had not read that yet
is told so, and not given what comes after it as if nothing had been before.

A cursor names the last entry read, and enough of its hash to notice a log that is not the one it was read
from: a database that went back to an older backup has no such entry. One that was restored from a dump has
it, but counts its transactions from a smaller number; `mind_restore` makes positions go on growing then.
"""

import asyncio
import base64
import binascii
import struct
from collections.abc import AsyncGenerator, Collection
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from asyncpg import Connection

from postroom.db.listen import Hints
from postroom.db.pool import Database
from postroom.ids import TenantId

from . import store
from .model import APPENDED, TENANT, BadCursor, Entry, Place, PlaceLost, PlaceRemoved, Stream
from .store.removed import of_one, until

START: Place = (0, 0, 0)
POLL_SECONDS = 1.0
HELD_SECONDS = 0.002, 0.1  # before the next look for what is held up: the first time, and at most
PAGE = 1000
EVERYTHING = (1 << 63) - 1

CURSOR = struct.Struct(">BQQQ6s")
VERSION = 1


def place_of(entry: Entry) -> Place:
    return entry.position, entry.stream, entry.seq


def cursor_of(entry: Entry) -> str:
    """The cursor that stands behind this entry."""
    return _packed(place_of(entry), entry.hash)


async def place(
    conn: Connection,
    tenant: TenantId,
    cursor: str,
    stream: Stream | None = None,
    *,
    is_limited: bool = False,
) -> Place:
    """Where a cursor stands, for who reads all streams, or one; or, if limited, those of some accounts.

    Raises `BadCursor`; `PlaceLost` when its entry is no more what it was; `PlaceRemoved` when something
    behind it was removed.
    """
    position, of, seq, digest = _unpacked(cursor)
    at = position, of, seq
    if at == START:
        return START
    _, removed = await store.horizon(conn, tenant, stream)
    _begin(at, removed)
    found = await store.hash_at(conn, tenant, at)
    if found is None and (gone := await of_one(conn, tenant, Stream(of))) and seq <= gone.seq:
        found = gone.hash if seq == gone.seq else digest  # of what is gone only the last is known
    if found is None and is_limited and of == TENANT:
        found = digest  # which is theirs to see for as long as its job is kept
    if found is None or found[:6] != digest:
        raise PlaceLost(
            "The entry behind which this cursor stands is not in the log any more; was the database restored "
            "from a backup? Read again from the beginning."
        )
    return at


def require_cursor(cursor: str) -> None:
    """Raises `BadCursor`, unless it may be one, wherever it stands."""
    _unpacked(cursor)


def _begin(after: Place, removed: Place | None) -> Place:
    """Where to read on: behind what was removed. Raises `PlaceRemoved`."""
    if removed is None or after >= removed:
        return after
    if after == START:
        return removed
    raise PlaceRemoved(
        "Events behind this cursor were removed, because they were older than the log is kept. Begin from "
        "the start: that is what there is."
    )


async def read(
    conn: Connection,
    tenant: TenantId,
    after: Place = START,
    *,
    stream: Stream | None = None,
    limit: int = PAGE,
) -> list[Entry]:
    """The next entries of all streams, or of one. None at all: there is nothing more at present.

    Raises `PlaceRemoved`.
    """
    below, removed = await store.horizon(conn, tenant, stream)
    after = _begin(after, removed)
    if stream is None:
        return await store.feed(conn, tenant, after, below, limit)
    return await store.feed_of_one(conn, tenant, after, below, limit, stream)


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen of the log behind a place."""

    entries: list[Entry]
    top: Place  # up to here it was read, and nothing will ever come below
    is_all: bool  # there is nothing more at present
    is_held: bool  # something is there, but not to be read before an older transaction has ended


async def look(
    conn: Connection,
    tenant: TenantId,
    after: Place,
    *,
    stream: Stream | None = None,
    some: Collection[Stream] | None = None,
    limit: int = PAGE,
) -> Look:
    """The next entries of all streams, of one, or of `some`, and what is to be expected behind them.

    Raises `PlaceRemoved`.
    """
    below, removed = await store.horizon(conn, tenant, stream)
    after = _begin(after, removed)
    if some is not None:
        found = await store.feed_of_some(conn, tenant, after, EVERYTHING, limit, some)
    elif stream is None:
        found = await store.feed(conn, tenant, after, EVERYTHING, limit)
    else:
        found = await store.feed_of_one(conn, tenant, after, EVERYTHING, limit, stream)
    entries = [entry for entry in found if entry.position < below]
    if len(entries) == limit:
        return Look(entries, place_of(entries[-1]), is_all=False, is_held=False)
    return Look(entries, (below, 0, 0), is_all=True, is_held=len(entries) < len(found))


@dataclass(frozen=True, slots=True)
class State:
    """What is true of a whole log. `epoch`: its history; another one than before: it may have gone back."""

    epoch: str
    removed_until: datetime | None  # what was logged up to then was removed; None: nothing was


async def state(conn: Connection, tenant: TenantId) -> State:
    return State(await store.epoch(conn), await until(conn, tenant))


async def end(conn: Connection, tenant: TenantId) -> Place:
    """Behind the last entry that can be read at present."""
    return (await end_with_cursor(conn, tenant))[0]


async def end_with_cursor(conn: Connection, tenant: TenantId) -> tuple[Place, str]:
    """The same, and the cursor that stands there; also in a log that is empty."""
    below, _ = await store.horizon(conn, tenant)
    found = await store.last(conn, tenant, below)
    at, digest = found or (START, bytes(6))
    return at, _packed(at, digest)


async def end_of_some(conn: Connection, tenant: TenantId, streams: Collection[Stream]) -> tuple[Place, str]:
    """Behind all that can be read at present, and the cursor of the last entry of these streams."""
    below, _ = await store.horizon(conn, tenant)
    at, digest = await store.last_of_some(conn, tenant, below, streams) or (START, bytes(6))
    return (below, 0, 0), _packed(at, digest)


async def follow(
    db: Database, hints: Hints, tenant: TenantId, after: Place = START, *, stream: Stream | None = None
) -> AsyncGenerator[list[Entry], None]:
    """Entries as they come, page by page, for ever.

    A hint (`APPENDED`) makes it quick, looking every second makes it certain. What is held up by an older
    transaction is looked for more often: nobody tells when that ends.
    """
    shortest, longest = HELD_SECONDS
    delay = shortest
    with hints.hear(APPENDED) as hearing:
        while True:
            async with db.transaction(tenant, lasting_plans=True) as conn:  # of 25 months' tables
                seen = await look(conn, tenant, after, stream=stream)
            after = seen.top
            if seen.entries:
                delay = shortest
                yield seen.entries
            if seen.is_all:
                with suppress(TimeoutError):
                    async with asyncio.timeout(delay if seen.is_held else POLL_SECONDS):
                        await anext(hearing)
                delay = min(delay * 2, longest) if seen.is_held else shortest


async def mind_restore(db: Database) -> int:
    """Make positions go on growing in a database that was restored from a dump; how many tenants' did not.

    To be called at each start, before anything is appended.
    """
    async with db.unbound() as conn:
        return await store.mind_restore(conn)


def _packed(at: Place, digest: bytes) -> str:
    packed = CURSOR.pack(VERSION, *at, digest[:6])
    return base64.urlsafe_b64encode(packed).rstrip(b"=").decode()


def _unpacked(cursor: str) -> tuple[int, int, int, bytes]:
    try:
        data = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        version, position, stream, seq, digest = CURSOR.unpack(data)
    except (binascii.Error, ValueError, struct.error):
        version = 0
    if version != VERSION or max(position, stream, seq) >= 1 << 63:
        raise BadCursor("This is not a cursor of the log; take one that `postroom events --json` wrote.")
    return position, stream, seq, digest


BEGINNING = _packed(START, bytes(6))
"""The cursor of `START`."""
