"""Follow jobs live: what happens to each is read once in a process, and given to all who follow it.

    hint "job"  ──┐                                        ┌─▶ Follower
                  ├─▶ a look at a tenant's jobs ──▶ Watch ─┼─▶ Follower
    every second ─┘    that may have news                   └─▶ Follower

Each follower knows the last event that it gave away. A watch keeps the events of its last look and nothing
else: a follower who comes late, or was too slow for that, reads what it lacks by itself. Every look reads the
rows before the events, so whoever sees that a job is over has seen all that it said.
"""

import asyncio
from collections.abc import AsyncIterator, Hashable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from math import inf

import structlog

from postroom.db.beside import beside
from postroom.db.listen import Hints
from postroom.db.pool import Database
from postroom.errors import PostroomError
from postroom.ids import TenantId

from . import store
from .model import CHANGED, OVER, Job, JobEvent, JobId, NoSuchJob
from .store import news

LOOK_EVERY = timedelta(seconds=1)
AWAY = timedelta(seconds=0.5)  # before the database is asked again
PAGE = 100  # events of one job that are read, or kept, at once
AT_ONCE = 50  # jobs in one look

logger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class News:
    """What a follower has not seen: events, and then how the job stands where that has changed."""

    events: Sequence[JobEvent]
    job: Job | None
    is_last: bool = False
    is_gone: bool = False  # the row is there no more; `job` is what was last known of it
    written: dict[Hashable, bytes] = field(
        default_factory=dict, compare=False
    )  # once for all who are told it


@dataclass(eq=False, slots=True)
class Watch:
    """A job that is followed, as it was at the last look."""

    tenant: TenantId
    id: JobId
    top: int  # the number of the last event that was read
    floor: int  # `events` is all that lies between this one and `top`
    events: Sequence[JobEvent] = ()
    job: Job | None = None  # None after a look: the row is gone
    looked_at: float = -inf  # when the look began that found `job`
    followers: "set[Follower]" = field(default_factory=set)
    told: dict[tuple[int, bool], News] = field(default_factory=dict)  # to followers at one place the same

    def take(self, began: float, job: Job | None, events: Sequence[JobEvent]) -> bool:
        """What a look has found; whether that was all there is."""
        is_all = len(events) < PAGE
        self.told = {}
        if events:
            self.floor, self.top, self.events = self.top, events[-1].id, events
        if is_all or (job is not None and job.state not in OVER):  # its end is told after its last event
            self.job, self.looked_at = job, began
        for follower in self.followers:
            if follower.lacks(self):
                follower.wake()
        return is_all


class Follower:
    """One reader of one job, from behind the event `after`. Whoever has it closes it."""

    def __init__(self, following: "Following", job: Job, after: int) -> None:
        self._following, self._job, self._after = following, job, after
        self._read_at = -inf
        self._watch: Watch | None = None
        self._wake = asyncio.Event()
        self._is_over = False

    def wake(self) -> None:
        self._wake.set()

    def end(self) -> None:
        self._is_over = True
        self._wake.set()

    def close(self) -> None:
        self.end()
        if self._watch is not None:
            self._following.leave(self, self._watch)

    def lacks(self, watch: Watch) -> bool:
        """Whether it has news for this one. A look older than its own reading has none of the row."""
        return watch.top > self._after or self._lacks_row(watch)

    def _lacks_row(self, watch: Watch) -> bool:
        return watch.looked_at >= self._read_at and watch.job is not self._job and watch.job != self._job

    async def next(self) -> News | None:
        """What is new, once something is; None after the end.

        It may be cancelled and called again: what was not returned comes then. Raises `Unreachable`, `Busy`.
        """
        while not self._is_over:
            self._wake.clear()
            if self._watch is None:
                return self._told(await self._begin())
            if self.lacks(self._watch):
                return self._told(await self._look(self._watch))
            await self._wake.wait()
        return None

    def _told(self, news: News) -> News:
        self._is_over = self._is_over or news.is_last
        return news

    async def _begin(self) -> News:
        """Page after page of what was said before; with the last one, it joins those who wait."""
        began = _now()
        try:
            async with self._following.db.transaction(self._job.tenant_id) as conn:
                job = await store.get_by_id(conn, self._job.tenant_id, self._job.id)
                events = await store.events(conn, job.tenant_id, job.id, after=self._after, limit=PAGE)
        except NoSuchJob:
            return News((), self._job, is_last=True, is_gone=True)
        self._after = events[-1].id if events else self._after
        if len(events) == PAGE:
            return News(events, None)
        self._job, self._read_at = job, began
        if job.state in OVER:
            return News(events, job, is_last=True)
        self._watch = self._following.join(self, job, self._after)
        return News(events, job)

    async def _look(self, watch: Watch) -> News:
        if watch.floor > self._after:
            return await self._catch_up(watch.top)
        after, self._after = self._after, max(self._after, watch.top)
        has_changed = self._lacks_row(watch)
        if (after, has_changed) in watch.told:
            news = watch.told[after, has_changed]
        else:
            events = [event for event in watch.events if event.id > after]
            job = watch.job if has_changed else None
            news = News(events, job, is_last=job is not None and job.state in OVER)
            watch.told[after, has_changed] = news
        if has_changed and watch.job is None:
            return News(news.events, self._job, is_last=True, is_gone=True)
        self._job = news.job or self._job
        return news

    async def _catch_up(self, top: int) -> News:
        """What was said since a look that it was too slow for."""
        tenant, job = self._job.tenant_id, self._job.id
        async with self._following.db.transaction(tenant) as conn:
            events = await store.events(conn, tenant, job, after=self._after, limit=PAGE)
        self._after = max(events[-1].id if events else 0, self._after if len(events) == PAGE else top)
        return News(events, None)


class Following:
    """Everybody in this process who follows a job. Made by `following`."""

    def __init__(self, db: Database, hints: Hints, every: timedelta = LOOK_EVERY) -> None:
        self.db = db
        self._hints, self._every = hints, every.total_seconds()
        self._watches: dict[JobId, Watch] = {}
        self._look_at: dict[TenantId, float] = {}  # when all watches of a tenant are looked at next
        self._urgent: dict[TenantId, set[Watch]] = {}  # in the order in which they became so
        self._wanted, self._wake = asyncio.Event(), asyncio.Event()
        self._is_closed = self._has_polled = False

    def follower(self, job: Job, after: int) -> Follower:
        return Follower(self, job, after)

    def join(self, follower: Follower, job: Job, top: int) -> Watch:
        """Have the follower woken whenever there is news of the job behind the event `top`."""
        watch = self._watches.get(job.id)
        if watch is None:
            watch = self._watches[job.id] = Watch(job.tenant_id, job.id, top, top)
            self._look_at.setdefault(job.tenant_id, _now() + self._every)
        watch.followers.add(follower)
        self._hurry(watch)
        self._wanted.set()
        if self._is_closed:
            follower.end()
        return watch

    def leave(self, follower: Follower, watch: Watch) -> None:
        watch.followers.discard(follower)
        if not watch.followers and self._watches.get(watch.id) is watch:
            del self._watches[watch.id]

    def close(self) -> None:
        """End all of them, and whoever comes later."""
        self._is_closed = True
        for watch in self._watches.values():
            for follower in watch.followers:
                follower.end()

    async def hear(self) -> None:
        await self._wanted.wait()
        with self._hints.hear(CHANGED) as hearing:
            async for hint in hearing:
                if hint is None:
                    self._look_at = dict.fromkeys(self._look_at, -inf)
                    self._wake.set()
                elif hint.isdecimal() and (watch := self._watches.get(JobId(int(hint)))) is not None:
                    self._hurry(watch)

    async def look(self) -> None:
        while True:
            tenant, watches = await self._next()
            try:
                for start in range(0, len(watches), AT_ONCE):
                    await self._look_at_some(tenant, watches[start : start + AT_ONCE])
            except PostroomError as error:
                logger.warning("jobs.database_away", code=error.code)
                await asyncio.sleep(AWAY.total_seconds())

    def _hurry(self, watch: Watch) -> None:
        self._urgent.setdefault(watch.tenant, set()).add(watch)
        self._wake.set()

    async def _next(self) -> tuple[TenantId, list[Watch]]:
        """Whose jobs to look at now: those with hints first, in turn with those that waited for too long."""
        while True:
            self._wake.clear()
            now = _now()
            tenant = min(self._look_at, key=self._look_at.__getitem__, default=None)
            due = inf if tenant is None else self._look_at[tenant]
            if self._urgent and (self._has_polled or due + self._every > now):
                self._has_polled, tenant = False, next(iter(self._urgent))
                return tenant, list(self._urgent.pop(tenant))
            if tenant is not None and due <= now:
                self._urgent.pop(tenant, None)
                watches = [watch for watch in self._watches.values() if watch.tenant == tenant]
                del self._look_at[tenant]
                if watches:
                    self._has_polled, self._look_at[tenant] = True, now + self._every
                    return tenant, watches
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(None if tenant is None else due - now):
                    await self._wake.wait()

    async def _look_at_some(self, tenant: TenantId, watches: Sequence[Watch]) -> None:
        # One that was left may have read further than the next of the same job.
        watches = [watch for watch in watches if self._watches.get(watch.id) is watch]
        began, after = _now(), {watch.id: watch.top for watch in watches}
        async with self.db.transaction(tenant) as conn:
            rows = await news.rows(conn, tenant, list(after))
            events = await news.events(conn, tenant, after, PAGE)
        for watch in watches:
            if not watch.take(began, rows.get(watch.id), events[watch.id]) and watch.followers:
                self._hurry(watch)


@asynccontextmanager
async def following(db: Database, hints: Hints, every: timedelta = LOOK_EVERY) -> AsyncIterator[Following]:
    """Jobs can be followed for as long as the block runs; at its end everybody who follows one is told so."""
    found = Following(db, hints, every)
    async with beside(found.hear(), found.look()):
        try:
            yield found
        finally:
            found.close()


def _now() -> float:
    return asyncio.get_running_loop().time()
