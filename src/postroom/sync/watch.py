"""Watch accounts: have their servers tell of changes, and look as soon as they do.

    nobody's, or of a process that is gone
        │ whoever has less than its share claims it
        v
    a poll, here and now ──> its session is kept, and listens ──┬─ told ──> a poll upon that very session ──┐
        ^                        ^                              ├─ silent ─> is it still there? ────────────┤
        │                        └──────────────────────────────┼───────────────────────────────────────────┘
        └──────────────── after a moment ─────── it ended ──────┘

What is told is a hint: a poll finds out what has happened. Polls in their usual turn go on, so who is told of
nothing loses time and no mail. A session that begins to listen says how its folders stand: what came since
the sync began is polled for at once.

Nothing is written for what is watched but whose it is, and how. An account that two processes watch for a
moment is polled twice.
"""

import asyncio
import heapq
import random
import resource
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic

import structlog

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
from postroom.providers.listening import Key
from postroom.providers.model import Means, Watching
from postroom.providers.pool import Pool

from . import live, pace
from .jobs import poll
from .store import watch as store

KIND = "watcher"  # what such a process is registered as
FREE = "watch"  # a hint: some accounts are nobody's any more
LOOK_EVERY = 2.0  # seconds, for what is nobody's
COMPARE_EVERY = 30.0  # seconds, of what is ours with what the database says
TELL_EVERY = 0.5  # seconds
STEP = 500  # accounts claimed at once
LANES = 16  # polls at once, beside those that executors take
PROBE = timedelta(seconds=100)  # of silence, after which a session is asked: with its patience two minutes
PROBES = 50  # at once
TICK = 0.5  # seconds
GAPS = 3  # polls in a row because a folder was not as it had been seen; then its server contradicts itself
SPARE = 256  # files for everything else
MOST_FILES = 65_536
GOODBYE = 2.0  # seconds

Run = Callable[[TenantId, Callable[[Connection], Awaitable[JobId | None]]], Awaitable[bool]]

logger = structlog.get_logger()


@dataclass(slots=True)
class _Watched:
    """An account of ours."""

    watching: Watching | None = None
    began: float = 0.0  # when it began to listen
    brief: int = 0  # sessions in a row that ended soon
    tries: int = 0  # polls in a row that somebody else was at
    gaps: int = 0
    cannot: bool = False  # its server tells of nothing
    waits: bool = False  # it is to be polled later


class Watchers:
    """The accounts that this process watches. Made by `watching`."""

    def __init__(
        self,
        db: Database,
        hints: Hints,
        pool: Pool,
        run: Run,
        me: processes.Process,
        *,
        every: timedelta,
        most: int,
    ) -> None:
        self._db, self._hints, self._pool, self._run, self._me = db, hints, pool, run, me
        self._every, self._most = every, most
        self._ours: dict[Key, _Watched] = {}
        self._silent: OrderedDict[Key, float] = OrderedDict()  # since when; the longest first
        self._due: OrderedDict[Key, None] = OrderedDict()  # to be polled now
        self._polled: set[Key] = set()  # in this moment
        self._later: list[tuple[float, Key]] = []  # and at that time
        self._wake = asyncio.Event()
        self._untold: dict[AccountId, Means | None] = {}
        self._idling = 0
        pool.listening.watcher = self

    # What the pool asks and tells.

    def wants(self, key: Key) -> bool:
        ours = self._ours.get(key)
        return ours is not None and not ours.cannot

    def began(self, key: Key, watching: Watching | None, missed: bool) -> None:
        ours = self._ours[key]
        if watching is None:
            ours.cannot = True
            return
        ours.tries = 0
        if ours.watching is None:
            ours.began = monotonic()
        self._set(key, ours, watching)
        ours.gaps = ours.gaps + 1 if missed else 0
        if 0 < ours.gaps <= GAPS:
            self._poll_soon(key)

    def heard(self, key: Key) -> None:
        self._silent[key] = monotonic()
        self._silent.move_to_end(key)
        self._poll_soon(key)

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
        return pace.sweep(every, self._idling)

    # What goes on for as long as the block of `watching` runs.

    def work(self) -> Sequence[Coroutine[None, None, None]]:
        always = [self._claiming(), self._comparing(), self._polling(), self._ticking(), self._telling()]
        return [*always, self._hearing()]

    async def _claiming(self) -> None:
        """Take what is nobody's, as far as it is our share; let go of more than that."""
        with self._hints.hear(FREE, DUE) as hearing:
            while True:
                with suppress(*DATABASE_AWAY):
                    while await self._claim() == STEP:
                        pass
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_EVERY * random.uniform(0.8, 1.2)):
                        await anext(hearing)

    async def _claim(self) -> int:
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
            self._ours.setdefault(key, _Watched())
            self._poll_soon(key)
        return len(found)

    async def _comparing(self) -> None:
        """What others have changed: accounts that rest, or that another process took for nobody's."""
        while True:
            lapse = self._me.lapse
            with suppress(TimeoutError):
                async with asyncio.timeout(COMPARE_EVERY * random.uniform(0.8, 1.2)):
                    await lapse.wait()
            with suppress(*DATABASE_AWAY):
                async with self._db.unbound() as conn:
                    mine = await store.mine(conn, self._me.identity)
                for key in self._ours.keys() - mine.keys():
                    self._forget(key)
                for key, is_well in mine.items():
                    ours = self._ours.setdefault(key, _Watched())
                    if is_well and ours.watching is None and not ours.cannot and not ours.waits:
                        self._poll_soon(key)

    async def _hearing(self) -> None:
        """Somebody else's sync of an account of ours has ended: from now on it can be listened to."""
        with self._hints.hear(live.SYNCS) as hearing:
            async for hint in hearing:
                told = live.read(hint or "")
                if told is None or told.what is not live.What.ENDED:
                    continue
                key = told.tenant, told.account
                ours = self._ours.get(key)
                if ours is not None and ours.watching is None and not ours.cannot and key not in self._polled:
                    self._poll_soon(key)

    async def _polling(self) -> None:
        """Poll what is due, `LANES` at once; one account's trouble is not the others'."""
        lanes = asyncio.Semaphore(LANES)
        async with asyncio.TaskGroup() as group:
            while True:
                await lanes.acquire()
                while not self._due:
                    self._wake.clear()
                    await self._wake.wait()
                key, _ = self._due.popitem(last=False)
                group.create_task(self._poll(key)).add_done_callback(lambda _: lanes.release())

    async def _poll(self, key: Key) -> None:
        tenant, number = key
        is_well = True

        async def want(conn: Connection) -> JobId | None:
            nonlocal is_well
            with suppress(NoSuchAccount):
                account = await accounts.get_by_id(conn, tenant, number)
                is_well = account.state is AccountState.ACTIVE
                ours = self._ours.get(key)
                is_first = account.compared_at is None
                if not is_well or (is_first and (ours is None or ours.watching is None)):
                    return None  # the schedule has it synced, the first time, too
                made = await poll(conn, account)
                return None if is_first else made  # a first sync is work for an executor
            return None

        self._polled.add(key)
        try:
            is_done = await self._run(tenant, want)
        except DATABASE_AWAY as error:
            logger.warning("sync.database_away", code=error.code)
            is_done = False
        finally:
            self._polled.discard(key)
        ours = self._ours.get(key)
        if is_well and not is_done and ours is not None and ours.watching is None:
            # Whoever was at it does not listen for us.
            ours.tries += 1
            self._poll_later(key, pace.again_after(ours.tries, random.random()))

    async def _ticking(self) -> None:
        """Poll what has waited, or is due in its turn; ask sessions that were silent for long."""
        while True:
            await asyncio.sleep(TICK)
            now = monotonic()
            while self._later and self._later[0][0] <= now:
                key = heapq.heappop(self._later)[1]
                if (ours := self._ours.get(key)) is not None:
                    ours.waits = False
                    self._poll_soon(key)
            if self._ours:
                with suppress(*DATABASE_AWAY):
                    async with self._db.unbound() as conn:
                        due = await store.due(conn, self._me.identity, self._every, STEP)
                    for key in due:
                        self._poll_soon(key)
            await self._probe(now)

    async def _probe(self, now: float) -> None:
        silent: list[Key] = []
        for key, since in self._silent.items():
            if now - since < PROBE.total_seconds() or len(silent) == PROBES:
                break
            silent.append(key)
        for key in silent:
            self._silent[key] = now
            self._silent.move_to_end(key)
        await asyncio.gather(*map(self._pool.listening.renew, silent))

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
        self._ours.clear()
        with suppress(*DATABASE_AWAY, TimeoutError):
            async with asyncio.timeout(GOODBYE), self._db.unbound() as conn:
                await store.release(conn, self._me.identity)
                hint(conn, FREE)

    def _poll_soon(self, key: Key) -> None:
        self._due[key] = None
        self._wake.set()

    def _poll_later(self, key: Key, wait: timedelta) -> None:
        ours = self._ours.get(key)
        if ours is not None and not ours.waits:
            ours.waits = True
            heapq.heappush(self._later, (monotonic() + wait.total_seconds(), key))

    def _forget(self, key: Key) -> None:
        ours = self._ours.pop(key)
        self._set(key, ours, None)
        self._due.pop(key, None)
        self._pool.listening.drop(key)

    def _set(self, key: Key, ours: _Watched, watching: Watching | None) -> None:
        before = ours.watching
        ours.watching = watching
        for one, step in ((before, -1), (watching, 1)):
            if one is not None:
                telemetry.SYNC_WATCHED.labels(one.means).inc(step)
                self._idling += step if one.means is Means.IDLE else 0
        if watching is None:
            self._silent.pop(key, None)
        else:
            self._silent[key] = monotonic()
            self._silent.move_to_end(key)
        if (before and before.means) != (watching and watching.means):
            self._untold[key[1]] = watching.means if watching else None


@asynccontextmanager
async def watching(db: Database, hints: Hints, pool: Pool, run: Run, every: timedelta) -> AsyncIterator[None]:
    """Watch this process's share of all accounts for as long as the block runs. `every`: their poll interval.

    `run` runs a job here and now, as `Executor.run_now` does.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_FILES if most == resource.RLIM_INFINITY else min(most, MOST_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # each that listens is a file
    async with processes.registered(db, KIND) as me:
        ours = Watchers(db, hints, pool, run, me, every=every, most=most - SPARE)
        try:
            async with beside(*ours.work()):
                yield
        finally:
            pool.listening.watcher = None
            await ours.let_go()
