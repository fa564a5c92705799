"""Watch accounts: have their servers tell of changes, and look as soon as they do.

    nobody's, or of a process that is gone
        │ whoever has less than its share claims it
        v
    a glance, or a poll ───> its session is kept, and listens ──┬─ told ──> a poll upon that very session ──┐
        ^                        ^                              ├─ silent ─> is it still there? ────────────┤
        │                        └──────────────────────────────┼───────────────────────────────────────────┘
        └──────────────── after a moment ─────── it ended ──────┘

What is told is a hint: a poll finds out what has happened. Where probably nothing has (an account was just
claimed, is due in its turn, or has lost its session) many are glanced at together, see `glance`. Polls in
their usual turn go on, so who is told of nothing loses time and no mail. A session that begins to listen says
how its folders stand: what came since the sync began is polled for at once.

Nothing is written for what is watched but whose it is, and how. An account that two processes watch for a
moment is polled twice.
"""

import asyncio
import heapq
import random
import resource
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from time import monotonic

import structlog
from asyncpg import ForeignKeyViolationError

from postroom import telemetry
from postroom.accounts import store as accounts
from postroom.accounts.model import DUE, AccountState, NoSuchAccount
from postroom.db import processes
from postroom.db.beside import beside
from postroom.db.listen import Hints
from postroom.db.model import DATABASE_AWAY
from postroom.db.pool import Connection, Database, hint
from postroom.ids import AccountId, TenantId
from postroom.jobs.model import JobId
from postroom.jobs.store import running as jobs
from postroom.providers.model import Means, Watching
from postroom.providers.pool import Pool
from postroom.providers.target import Key

from . import live, pace
from .ask import poll
from .glance import Seen
from .lanes import Lanes
from .model import key as sync_key
from .pace import TICK, Pace
from .silent import Silent
from .store import watch as store
from .watched import Watched

KIND = "watcher"  # what such a process is registered as
FREE = "watch"  # a hint: some accounts are nobody's any more
LOOK_EVERY = 2.0  # seconds, for what is nobody's
COMPARE_EVERY = 30.0  # seconds, of what is ours with what the database says
TELL_EVERY = 0.5  # seconds
STEP = 500  # accounts claimed at once
GATHER = 0.1  # seconds after a hint, for more of them
GAPS = 3  # polls at once in a row because a folder was not as it had been seen; then they come later
SPARE = 256  # files for everything else
MOST_FILES = 65_536
GOODBYE = 2.0  # seconds

Glance = Callable[[Sequence[Key], Seen], Awaitable[None]]
Run = Callable[[TenantId, Callable[[Connection], Awaitable[JobId | None]]], Awaitable[bool]]

logger = structlog.get_logger()


class Watchers:
    """The accounts that this process watches. Made by `watching`."""

    def __init__(
        self,
        db: Database,
        hints: Hints,
        pool: Pool,
        run: Run,
        glance: Glance,
        me: processes.Process,
        pace: Pace,
        *,
        every: timedelta,
        most: int,
    ) -> None:
        self._db, self._hints, self._pool, self._me = db, hints, pool, me
        self._run, self._look = run, glance
        self._pace, self._every, self._most = pace, every, most
        self._ours: dict[Key, Watched] = {}
        self._silent = Silent(pace, pool.listening.renew)
        self._lanes = Lanes(self._poll, self._glance)
        self._polled: set[Key] = set()  # or glanced at, in this moment
        self._later: list[tuple[float, Key]] = []  # to be polled at that time
        self._door = asyncio.Lock()  # whoever changes what is ours, here and in the database
        self._untold: dict[AccountId, Means | None] = {}
        self._idling = 0
        pool.listening.watcher = self

    # What the pool asks and tells.

    def wants(self, key: Key) -> bool:
        ours = self._ours.get(key)
        return ours is not None and ours.cannot_until <= monotonic()

    def began(self, key: Key, watching: Watching | None, missed: bool) -> None:
        ours = self._ours[key]
        if watching is None:
            ours.cannot_until = monotonic() + pace.CANNOT.total_seconds()
            return
        if ours.watching is None:
            ours.began = monotonic()
        self._set(key, ours, watching)
        ours.gaps = ours.gaps + 1 if missed else 0
        if 0 < ours.gaps <= GAPS:
            self._poll_soon(key)
        elif ours.gaps:
            self._poll_later(key, pace.again_after(ours.gaps, random.random()))

    def heard(self, key: Key) -> None:
        self._silent.heard(key)
        self._poll_soon(key, first=True)

    def lost(self, key: Key) -> None:
        ours = self._ours.get(key)
        if ours is None or ours.watching is None:
            return
        is_brief = monotonic() - ours.began < pace.BRIEF.total_seconds()
        ours.brief = ours.brief + 1 if is_brief else 0
        telemetry.SYNC_LAPSES.inc()
        self._set(key, ours, None)
        self._poll_later(key, pace.back_after(ours.brief, random.random()))

    def interval(self, key: Key, every: timedelta) -> timedelta:
        ours = self._ours.get(key)
        if ours is None or ours.watching is None or ours.watching.folders is None:
            return every
        return self._pace.sweep(every, self._idling)

    # What goes on for as long as the block of `watching` runs.

    def work(self) -> Sequence[Coroutine[None, None, None]]:
        always = [self._claiming(), self._comparing(), self._lanes.work(), self._ticking(), self._telling()]
        return [*always, self._hearing(), self._silent.work(lambda: len(self._ours))]

    async def _claiming(self) -> None:
        """Take what is nobody's, as far as it is our share; let go of more than that."""
        with self._hints.hear(FREE, DUE) as hearing:
            while True:
                # An account that is removed in this moment cannot be claimed.
                with suppress(*DATABASE_AWAY, ForeignKeyViolationError):
                    while await self._claim() == STEP:
                        pass
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_EVERY * random.uniform(0.8, 1.2)):
                        await anext(hearing)
                        await asyncio.sleep(GATHER)

    async def _claim(self) -> int:
        async with self._door:
            me = self._me.identity
            async with self._db.unbound() as conn:
                living = await processes.alive(conn, KIND)
                if me not in living:
                    return 0  # for the moment others may take what is ours
                shares = await store.shares(conn, living)
                held, fair = shares.of[me], min(self._most, pace.share(shares.accounts, shares.of))
                found = await store.claim(conn, me, living, min(STEP, fair - held)) if held < fair else []
                surplus = pace.surplus(held, shares.accounts, shares.of)
                over = random.sample(sorted(self._ours), min(surplus, len(self._ours)))
                if over:
                    await store.release(conn, me, [account for _, account in over])
                    hint(conn, FREE)
            for key in over:
                self._forget(key)
            for key in found:
                self._ours.setdefault(key, Watched())
                self._glance_soon(key)
            return len(found)

    async def _comparing(self) -> None:
        """What others have changed: accounts that rest, or that another process took for nobody's."""
        lapse, wait = self._me.lapse, COMPARE_EVERY
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(wait * random.uniform(0.8, 1.2)):
                    await lapse.wait()
            lapse, wait = self._me.lapse, COMPARE_EVERY
            try:
                await self._compare()
            except DATABASE_AWAY:
                wait = LOOK_EVERY

    async def _compare(self) -> None:
        async with self._door:
            async with self._db.unbound() as conn:
                mine = await store.mine(conn, self._me.identity)
            for key in self._ours.keys() - mine.keys():
                self._forget(key)
            for key, is_well in mine.items():
                ours = self._ours.setdefault(key, Watched())
                if is_well and ours.watching is None and ours.waits is None and self.wants(key):
                    self._glance_soon(key)

    async def _hearing(self) -> None:
        """Somebody else's sync of an account of ours has ended. It may have passed what we were told."""
        with self._hints.hear(live.SYNCS) as hearing:
            async for hint in hearing:
                told = live.read(hint or "")
                if told is None or told.what is not live.What.ENDED:
                    continue
                key = told.tenant, told.account
                if (ours := self._ours.get(key)) is None:
                    continue
                if key in self._polled:
                    ours.ended = True
                elif ours.tries or (ours.watching is None and self.wants(key) and ours.waits is None):
                    self._poll_soon(key)
                elif ours.watching is not None and ours.watching.folders is not None:
                    self._poll_later(key, self._pace.sweep(self._every, self._idling))

    async def _poll(self, key: Key) -> None:
        tenant, number = key
        is_ready = True

        async def want(conn: Connection) -> JobId | None:
            nonlocal is_ready
            with suppress(NoSuchAccount):
                account = await accounts.get_by_id(conn, tenant, number)
                # A first sync is work for an executor, and trouble has a pace of its own.
                is_ready = account.state is AccountState.ACTIVE and account.compared_at is not None
                if is_ready and not await jobs.is_running(conn, tenant, sync_key(number)):
                    return await poll(conn, account)
            return None

        self._begin(key)
        try:
            is_done = await self._run(tenant, want)
        except DATABASE_AWAY as error:
            logger.warning("sync.database_away", code=error.code)
            is_done = False
        finally:
            self._polled.discard(key)
        if (ours := self._ours.get(key)) is not None and is_ready:
            self._go_on(key, ours, is_done=is_done)

    async def _glance(self, keys: Sequence[Key]) -> None:
        open_ones = set(keys)

        def seen(key: Key, *, is_settled: bool) -> None:
            open_ones.discard(key)
            self._polled.discard(key)
            if (ours := self._ours.get(key)) is None:
                return
            if is_settled:
                self._go_on(key, ours, is_done=True)
            else:
                ours.again = False
                self._poll_soon(key)

        for key in keys:
            self._begin(key)
        try:
            await self._look(keys, seen)
        except DATABASE_AWAY as error:
            logger.warning("sync.database_away", code=error.code)
        finally:
            self._polled -= open_ones
        for key in open_ones & self._ours.keys():
            self._go_on(key, self._ours[key], is_done=False)

    def _begin(self, key: Key) -> None:
        """It is looked at: what is told from now on is news."""
        if (ours := self._ours.get(key)) is not None:
            ours.ended = False
            if ours.watching is not None:
                ours.watching.looked()
        self._polled.add(key)

    def _go_on(self, key: Key, ours: Watched, *, is_done: bool) -> None:
        """After a poll of ours, or one that was not to be made because somebody else was at it."""
        is_again, ours.again = ours.again, False
        if not is_done:  # who is at it may have passed the news
            ours.tries += 1
            if ours.ended:
                self._poll_soon(key)
            self._poll_later(key, pace.again_after(ours.tries, random.random()))
            return
        ours.tries = 0
        if ours.watching is None and self.wants(key):  # it could not begin to listen
            ours.brief += 1
            self._poll_later(key, pace.back_after(ours.brief, random.random()))
        elif is_again:
            self._poll_soon(key)

    async def _ticking(self) -> None:
        """Look at what has waited, or is due in its turn."""
        while True:
            await asyncio.sleep(TICK.total_seconds())
            now = monotonic()
            while self._later and self._later[0][0] <= now:
                at, key = heapq.heappop(self._later)
                if (ours := self._ours.get(key)) is not None and ours.waits == at:
                    ours.waits = None
                    self._glance_soon(key)
            if self._ours and self._lanes.has_room:  # else others poll what is due in its turn
                with suppress(*DATABASE_AWAY):
                    async with self._db.unbound() as conn:
                        due = await store.due(conn, self._me.identity, self._every, STEP)
                    for key in due:
                        self._glance_soon(key)

    async def _telling(self) -> None:
        """Write how servers tell, for people."""
        while True:
            await asyncio.sleep(TELL_EVERY)
            untold, self._untold = self._untold, {}
            if untold:
                try:
                    async with self._db.unbound() as conn:
                        await store.tell(conn, self._me.identity, untold)
                except DATABASE_AWAY:
                    self._untold = untold | self._untold

    async def let_go(self) -> None:
        """Of all, so that others take them at once."""
        for key in list(self._ours):
            self._forget(key)
        with suppress(*DATABASE_AWAY, TimeoutError):
            async with asyncio.timeout(GOODBYE), self._db.unbound() as conn:
                await store.release(conn, self._me.identity)
                hint(conn, FREE)

    def _poll_soon(self, key: Key, *, first: bool = False) -> None:
        ours = self._ours.get(key)
        if ours is None:
            return  # it was let go of meanwhile
        if key in self._polled:
            ours.again = True
        else:
            self._lanes.put(key, first=first)

    def _glance_soon(self, key: Key) -> None:
        if key in self._polled:
            self._poll_soon(key)
        elif key in self._ours:
            self._lanes.put_calm(key)

    def _poll_later(self, key: Key, wait: timedelta) -> None:
        ours, at = self._ours.get(key), monotonic() + wait.total_seconds()
        if ours is not None and (ours.waits is None or at < ours.waits):
            ours.waits = at
            heapq.heappush(self._later, (at, key))

    def _forget(self, key: Key) -> None:
        ours = self._ours.pop(key, None)
        if ours is None:
            return
        self._set(key, ours, None)
        self._lanes.drop(key)
        self._pool.listening.drop(key)

    def _set(self, key: Key, ours: Watched, watching: Watching | None) -> None:
        before = ours.watching
        ours.watching = watching
        for one, step in ((before, -1), (watching, 1)):
            if one is not None:
                telemetry.SYNC_WATCHED.labels(one.means).inc(step)
                self._idling += step if one.means is Means.IDLE else 0
        if watching is None:
            self._silent.end(key)
        else:
            self._silent.begin(key)
        if (before and before.means) != (watching and watching.means):
            self._untold[key[1]] = watching.means if watching else None


@asynccontextmanager
async def watching(
    db: Database, hints: Hints, pool: Pool, run: Run, glance: Glance, every: timedelta, pace: Pace
) -> AsyncIterator[None]:
    """Watch this process's share of all accounts for as long as the block runs. `every`: their poll interval.

    `run` runs a job here and now, as `Executor.run_now` does; `glance` looks at many accounts at once.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_FILES if most == resource.RLIM_INFINITY else min(most, MOST_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # each that listens is a file
    async with processes.registered(db, KIND) as me:
        ours = Watchers(db, hints, pool, run, glance, me, pace, every=every, most=most - SPARE)
        try:
            async with beside(*ours.work()):
                yield
        finally:
            pool.listening.watcher = None
            await ours.let_go()
