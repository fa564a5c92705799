"""Follow logs live: what happens to a tenant is read once in a process, and given to all who follow it.

    hint "events" ──┐                                      ┌─▶ Follower
                    ├─▶ a look at a tenant's log ─▶ Watch ─┼─▶ Follower
    every second  ──┘                                      └─▶ Follower

Each follower knows the place up to which it has seen everything. A watch keeps what its followers have not
taken yet, up to a bound: one who comes from far behind, or is too slow for that, reads what it lacks by
itself, page by page, until it is there. So nothing is skipped or repeated, and nothing grows.

One who may see some accounts only is woken like all, and reads by itself what is theirs: the database says
what that is. What others write is passed without a trace, also in the cursors that it is told.
"""

import asyncio
from bisect import bisect_right
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeAlias
from uuid import UUID

import orjson
import structlog

from postroom.db.beside import beside
from postroom.db.listen import Hints
from postroom.db.model import Busy, Unreachable
from postroom.db.pool import Connection, Database
from postroom.errors import PostroomError
from postroom.ids import AccountId, TenantId

from . import feed
from .model import APPENDED, TENANT, Entry, Place, PlaceRemoved, Stream, stream_of
from .wanted import Wanted

LOOK_EVERY = timedelta(seconds=1)
AT_MOST_EVERY = timedelta(milliseconds=4)  # what comes in between is read at once
AWAY = timedelta(seconds=0.5)  # before the database is asked again
PAGE = 500  # entries that are read at once
KEPT = 2000  # entries for followers who have not taken them yet

logger = structlog.get_logger()

PublicIds: TypeAlias = Callable[
    [Connection, TenantId, Sequence[AccountId]], Awaitable[Mapping[AccountId, UUID]]
]
"""What accounts are called outside; events have only their numbers."""


@dataclass(eq=False, slots=True)
class Heard:
    """An entry, as it is given to all who follow."""

    entry: Entry
    account: UUID | None  # None: it is none's, or its account is gone
    written: dict[str, Any] = field(default_factory=dict)  # as it is told, by form, once for all
    _folders: frozenset[str] | None = None

    @property
    def folders(self) -> frozenset[str]:
        """The folders that it names."""
        if self._folders is None:
            data = orjson.loads(self.entry.body)
            self._folders = frozenset(data[name] for name in ("folder", "from") if name in data)
        return self._folders


class Watch:
    """A tenant's log as far as it was read: `kept` is all that lies between `floor` and `top`."""

    def __init__(self, tenant: TenantId, top: Place) -> None:
        self.tenant, self.floor, self.top = tenant, top, top
        self.kept: list[Heard] = []
        self.followers: set[Follower] = set()
        self._held_for = 0.0
        self._places: list[Place] = []

    def take(self, entries: Sequence[Heard], top: Place) -> None:
        """What a look has found."""
        self._forget()
        self.kept += entries
        self._places += [feed.place_of(heard.entry) for heard in entries]
        self.top = top
        if entries:
            for follower in self.followers:
                follower.wake.set()

    def behind(self, after: Place) -> list[Heard]:
        """What is kept behind a place, which is not below the floor."""
        return self.kept[bisect_right(self._places, after) :]

    def rest(self, seen: feed.Look) -> float:
        """Seconds until the next look: soon where something is held up, as nobody tells when that ends."""
        if not seen.is_all:
            return 0.0
        if not seen.is_held:
            self._held_for = 0.0
            return LOOK_EVERY.total_seconds()
        shortest, longest = feed.HELD_SECONDS
        is_still = self._held_for and not seen.entries
        self._held_for = min(self._held_for * 2, longest) if is_still else shortest
        return self._held_for

    def end(self) -> None:
        """All who follow."""
        for follower in self.followers:
            follower.end()

    def _forget(self) -> None:
        """What all have taken, and for the sake of the slowest no more than so much."""
        lowest = min((follower.after for follower in self.followers), default=self.top)
        count = max(bisect_right(self._places, lowest), len(self.kept) - KEPT)
        if count > 0:
            self.floor = max(self.floor, self._places[count - 1])
            del self.kept[:count], self._places[:count]


class Follower:
    """One reader of a tenant's log, from behind a place. Whoever has it closes it.

    `wake` is set when there may be something to take, or all is over.
    """

    def __init__(
        self,
        following: "Following",
        tenant: TenantId,
        accounts: frozenset[AccountId] | None,
        wanted: Wanted,
        after: Place,
    ) -> None:
        self.after, self.wake, self.is_over = after, asyncio.Event(), False
        self.last: Entry | None = None  # that was passed and may be seen, wanted or not
        self._following, self._tenant, self._accounts = following, tenant, accounts
        self._wanted = wanted
        self._watch: Watch | None = None
        self.wake.set()

    async def take(self) -> list[Heard]:
        """What is wanted of the next that is there; empty where nothing is there at present.

        It may be cancelled and called again: what was not returned comes then. A database that is away is
        waited for.
        """
        wanted = self._wanted
        while not self.is_over:
            watch = self._watch
            if watch is None or watch.floor > self.after or self._reads_itself(watch):
                try:
                    passed = await self._read()
                except (Unreachable, Busy):
                    await asyncio.sleep(AWAY.total_seconds())
                    continue
            elif watch.top > self.after:
                passed, self.after = watch.behind(self.after) if self._accounts is None else [], watch.top
            else:
                return []
            if passed:
                self.last = passed[-1].entry
            if found := [one for one in passed if wanted.fits(one.entry.stream, one.entry.kind, one)]:
                return found
        return []

    def end(self) -> None:
        self.is_over = True
        self.wake.set()

    def close(self) -> None:
        self.end()
        if self._watch is not None:
            self._following.leave(self, self._watch)

    def _reads_itself(self, watch: Watch) -> bool:
        """Whether there may be something for one who sees some accounts only."""
        if self._accounts is None:
            return False
        theirs = _streams(self._accounts)
        return any(heard.entry.stream in theirs for heard in watch.behind(self.after))

    async def _read(self) -> list[Heard]:
        """A page of what lies behind; with the last one, it joins those who wait."""
        seen, found = await self._following.read(
            self._tenant, self._accounts, self.after, self._wanted.stream
        )
        self.after = seen.top
        if seen.is_all and self._watch is None:
            self._watch = self._following.join(self, self._tenant, seen.top)
        return found


class Following:
    """Everybody in this process who follows a log. Made by `following`."""

    def __init__(self, db: Database, hints: Hints, public_ids: PublicIds) -> None:
        self._db, self._hints, self._public_ids = db, hints, public_ids
        self._watches: dict[TenantId, Watch] = {}
        self._due: dict[TenantId, float] = {}  # when each is looked at next
        self._called: dict[TenantId, dict[Stream, UUID]] = {}
        self._wanted, self._wake = asyncio.Event(), asyncio.Event()
        self._is_closed = False

    def follower(
        self,
        tenant: TenantId,
        accounts: frozenset[AccountId] | None,
        wanted: Wanted,
        after: Place,
    ) -> Follower:
        """`accounts`: those that may be seen, None: all; `after`: see `feed.place` and `feed.end`."""
        return Follower(self, tenant, accounts, wanted, after)

    def join(self, follower: Follower, tenant: TenantId, top: Place) -> Watch:
        """Have the follower woken whenever something was read."""
        watch = self._watches.get(tenant)
        if watch is None:
            watch = self._watches[tenant] = Watch(tenant, top)
        watch.followers.add(follower)
        self._hurry(tenant)
        self._wanted.set()
        if self._is_closed:
            follower.end()
        return watch

    def leave(self, follower: Follower, watch: Watch) -> None:
        watch.followers.discard(follower)
        if not watch.followers:
            self._forget(watch)

    def close(self) -> None:
        """End all of them, and whoever comes later."""
        self._is_closed = True
        for watch in self._watches.values():
            watch.end()

    async def read(
        self,
        tenant: TenantId,
        accounts: frozenset[AccountId] | None,
        after: Place,
        stream: Stream | None = None,
        limit: int | None = None,
    ) -> tuple[feed.Look, list[Heard]]:
        """What lies behind a place, and who it is of; `stream` is one of the `accounts`, where these are."""
        some = None if accounts is None else _streams(accounts) if stream is None else {stream}
        data = self._db.limited_to(accounts)
        async with data.transaction(tenant, lasting_plans=True) as conn:
            seen = await feed.look(conn, tenant, after, stream=stream, some=some, limit=limit or PAGE)
            called = self._called.setdefault(tenant, {})
            unknown = {entry.stream for entry in seen.entries} - called.keys() - {TENANT}
            if unknown:
                found = await self._public_ids(conn, tenant, [AccountId(stream) for stream in unknown])
                called |= {Stream(account): public_id for account, public_id in found.items()}
        return seen, [Heard(entry, called.get(entry.stream)) for entry in seen.entries]

    async def hear(self) -> None:
        """Have a log looked at when a hint says that it has grown, for ever."""
        await self._wanted.wait()
        with self._hints.hear(APPENDED) as hearing:
            async for hint in hearing:
                if hint is None:
                    for tenant in self._watches:
                        self._hurry(tenant)
                elif hint.isdecimal() and TenantId(int(hint)) in self._watches:
                    self._hurry(TenantId(int(hint)))

    async def look(self) -> None:
        """Look at each log that is followed when that is due, for ever."""
        while True:
            watch = await self._next()
            began = _now()
            try:
                wait = await self._look(watch)
            except PostroomError as error:
                logger.warning("events.database_away", code=error.code)
                wait = AWAY.total_seconds()
                await asyncio.sleep(wait)
            due = self._due.get(watch.tenant, began + wait)  # sooner, if a hint came meanwhile
            self._due[watch.tenant] = max(due, began + AT_MOST_EVERY.total_seconds())

    def _hurry(self, tenant: TenantId) -> None:
        self._due[tenant] = min(self._due.get(tenant, _now()), _now())
        self._wake.set()

    async def _next(self) -> Watch:
        """Whose log to look at now: the one that has waited for the longest."""
        while True:
            self._wake.clear()
            tenant = min(self._due, key=self._due.__getitem__, default=None)
            if tenant is not None and tenant not in self._watches:
                del self._due[tenant]
            elif tenant is not None and self._due[tenant] <= _now():
                del self._due[tenant]
                return self._watches[tenant]
            else:
                with suppress(TimeoutError):
                    async with asyncio.timeout(None if tenant is None else self._due[tenant] - _now()):
                        await self._wake.wait()

    async def _look(self, watch: Watch) -> float:
        """Give its followers what has come; seconds until the next look, unless there is a hint.

        Where they cannot go on they are ended: who comes again is told why.
        """
        try:
            seen, found = await self.read(watch.tenant, None, watch.top)
        except PlaceRemoved:  # this process has slept for as long as the log is kept
            self._end(watch)
            return 0.0
        if seen.top < watch.top:  # the database went back to a backup
            self._end(watch)
            return 0.0
        watch.take(found, seen.top)
        return watch.rest(seen)

    def _end(self, watch: Watch) -> None:
        """Whoever comes next has a watch that begins anew."""
        self._forget(watch)
        watch.end()

    def _forget(self, watch: Watch) -> None:
        if self._watches.get(watch.tenant) is watch:
            del self._watches[watch.tenant]
            self._called.pop(watch.tenant, None)


@asynccontextmanager
async def following(db: Database, hints: Hints, public_ids: PublicIds) -> AsyncIterator[Following]:
    """Logs can be followed for as long as the block runs; at its end everybody who follows one is told so."""
    found = Following(db, hints, public_ids)
    async with beside(found.hear(), found.look()):
        try:
            yield found
        finally:
            found.close()


def _streams(accounts: frozenset[AccountId]) -> frozenset[Stream]:
    """Where something of these accounts may stand: in the tenant's stream, too."""
    return frozenset({TENANT, *map(stream_of, accounts)})


def _now() -> float:
    return asyncio.get_running_loop().time()
