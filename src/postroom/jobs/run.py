"""The executor's loop: take jobs, run them, say what became of them.

         hint, or a second has passed        a try ends
                     │                           │
    ┌────────────────v───────────────────────────v──────────────┐
    │ one transaction: record ends, claim for what room there is │ ──> a task for each job
    └────────────────────────────────────────────────────────────┘
           two of these may be under way: jobs run here while PostgreSQL is busy with others;
           where it takes long to give jobs, no more are taken for a while
    beat   every third of a lease: hold them; stop what was cancelled or is another's now
    reap   let wait again what executors held that are gone
    share  when no worker is free: have one who has run long enough give way to who waits (`slices`)

A job whose lease was lost is stopped and nothing of it recorded: its fence would refuse that anyway.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from time import monotonic

import asyncpg
import structlog

from postroom.db import process
from postroom.db.beside import beside
from postroom.db.listen import Hearing, Hints
from postroom.db.model import DATABASE_AWAY
from postroom.db.pool import Connection, Database, hint
from postroom.errors import PostroomError
from postroom.events import log
from postroom.events.model import TENANT, Event
from postroom.ids import TenantId

from . import store
from .attempt import SAY_EVERY, Attempt, Handler, Resumes
from .guard import failure_of
from .model import READY, STOP, Job, JobId, JobLost, State
from .rules import CRASHED, LOST, rest
from .running import Running, Stopped, Try
from .share import Share
from .slices import Ran
from .store import published, queue
from .store.queue import End

LEASE = timedelta(seconds=10)
BEATS = 3  # in a lease, so that two may fail
LOOK_EVERY = timedelta(seconds=1)
REAP_EVERY = timedelta(seconds=2)
SLICE = timedelta(seconds=20)  # how long a job that resumes keeps its worker though others wait
HAND_BACK = timedelta(seconds=5)  # how long that may take
LANES = 2  # turns that may be under way at once
RESERVED = LANES + 2  # connections that no handler can take: for turns, the heartbeat and the reaper
AWAY = timedelta(seconds=0.5)  # before the database is asked again

logger = structlog.get_logger()


@dataclass(slots=True)
class Executor:
    """Runs jobs of these kinds, `workers` at a time.

    One without workers takes what it is told to take, by `run_one`, and leaves reaping to its caller, too.
    """

    db: Database
    hints: Hints
    handlers: Mapping[str, Handler]
    workers: int = 3
    lease: timedelta = LEASE
    slice: timedelta = SLICE
    waits: timedelta = LOOK_EVERY  # how long a job looks for a worker before another gives way to it
    holder: str = field(default_factory=process.identity)
    _own: Database = field(init=False)
    _running: dict[Try, Running] = field(default_factory=dict)
    _ended: list[End] = field(default_factory=list)
    _asked: int = 0  # jobs for workers that are on their way
    _aside: int = 0  # and others
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _door: asyncio.Lock = field(default_factory=asyncio.Lock)  # one waits there to be woken
    _over: asyncio.Event = field(default_factory=asyncio.Event)
    _rests_until: float = 0.0  # nothing is taken before
    _turn: int = 0
    _is_more: bool = True
    _leaves: bool = False

    def __post_init__(self) -> None:
        self._own = self.db

    @asynccontextmanager
    async def working(self, patience: timedelta) -> AsyncIterator[None]:
        """Take and run jobs for as long as the block runs.

        At its end no more are taken. What runs may end within `patience`; the rest is handed back.
        """
        with self.hints.hear(READY) as ready, self.hints.hear(STOP) as stop:
            takes = [self._taking() for _ in range(LANES)]
            background = [self._hearing(ready), self._reporting(), self._beating(stop)]
            if self.workers:
                background += [self._reaping(), self._sharing()]
            async with self.db.reserved(RESERVED) as self._own, beside(*takes, *background):
                try:
                    yield
                finally:
                    await asyncio.shield(self._leave(patience))

    async def run_one(self, tenant: TenantId, number: JobId) -> bool:
        """Run this job until its end is recorded, if it is ready and its key free; whether that was so."""
        if any(job == number for job, _ in self._running):
            return False

        async def this(_conn: Connection) -> JobId:
            return number

        return await self.run_now(tenant, this)

    async def run_now(self, tenant: TenantId, want: Callable[[Connection], Awaitable[JobId | None]]) -> bool:
        """The same of the job that `want` enqueues, or finds; in one transaction, so nobody else takes it.

        It takes no worker. If its key is not free it waits, like any other. `want` may think better of it.
        """
        if self._leaves:
            return False
        self._aside += 1
        try:
            async with self.db.transaction(tenant) as conn:
                number = await want(conn)
                kinds, job = list(self.handlers), None
                if number is not None:
                    job = await published.take(conn, self.holder, kinds, tenant, number, self.lease)
            one = None if job is None else self._begin(job, is_aside=True)
        finally:
            self._aside -= 1
        if one is not None:
            await one.recorded.wait()
        return one is not None

    async def reap(self) -> None:
        """Let wait again what was held by executors that are gone, and bury what had its last try there."""
        async with self._own.unbound() as conn:
            dead = [holder for holder in await queue.holders(conn) if process.is_dead(holder)]
            if gone := await queue.reap(conn, dead):
                logger.warning("jobs.taken_over", jobs=gone)
            lost = await queue.lost(conn, dead)
            await queue.sweep(conn)
        for job in lost:
            await self._bury(End(job, State.FAILED, counts=True, error=LOST))

    async def _leave(self, patience: timedelta) -> None:
        self._leaves = True
        if self._running:
            await asyncio.wait([one.task for one in self._running.values()], timeout=patience.total_seconds())
        for one in list(self._running.values()):
            one.stop(Stopped.LEAVING)
        self._wake.set()
        with suppress(TimeoutError):  # whose end cannot be recorded is taken over by another
            async with asyncio.timeout(HAND_BACK.total_seconds()):
                await self._over.wait()

    async def _hearing(self, ready: Hearing) -> None:
        async for _ in ready:
            self._wake.set()

    async def _taking(self) -> None:
        try:
            while not self._leaves or self._running or self._asked or self._aside:
                async with self._door:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(LOOK_EVERY.total_seconds()):
                            await self._wake.wait()
                    self._wake.clear()
                await self._take()
        finally:
            self._over.set()

    async def _take(self) -> None:
        """Record what has ended, and take what there is room for."""
        ends, self._ended = self._ended, []
        free = self.workers - self._busy - self._asked
        free = 0 if self._leaves else max(0, free)
        room = min(free, (self.workers + 1) // 2) if monotonic() >= self._rests_until else 0
        if self._is_more and 0 < room < free:
            self._wake.set()  # for the other lane
        self._asked += room
        try:
            if ends or room:
                await self._turn_over(ends, room)
        except DATABASE_AWAY as error:
            self._ended = ends + self._ended
            logger.warning("jobs.database_away", code=error.code)
            await asyncio.sleep(AWAY.total_seconds())
            self._wake.set()
        except asyncpg.UniqueViolationError:  # one like it came to wait in this moment: it is seen next time
            self._ended = ends + self._ended
            self._wake.set()
        finally:
            self._asked -= room

    async def _turn_over(self, ends: list[End], room: int) -> None:
        for end in ends:
            if end.state is State.FAILED and end.kept:
                await self._bury(end)
        jobs = []
        # What waits is taken at once: a single statement.
        async with self._own.unbound() if ends else self._own.single() as conn:
            if ends:
                await queue.record(conn, ends)
            began = monotonic()
            if room:
                jobs = await queue.claim(conn, self.holder, list(self.handlers), room, self.lease, self._turn)
            self._rests(timedelta(seconds=monotonic() - began))
            self._is_more = len(jobs) == room
            if self._is_more and any(queue.frees(end) for end in ends):
                hint(conn, READY)  # otherwise we have just seen that nothing is left
        for end in ends:
            self._running.pop((end.job.id, end.job.attempts)).recorded.set()
        for job in jobs:
            self._turn = job.tenant_id
            self._begin(job)
        if self._is_more:
            self._wake.set()

    @property
    def _busy(self) -> int:
        """Workers that have something to do."""
        return sum(not (one.is_aside or one.has_ended) for one in self._running.values())

    def _rests(self, took: timedelta) -> None:
        if pause := rest(took).total_seconds():
            logger.warning("jobs.database_slow", seconds=round(took.total_seconds(), 3))
            self._rests_until = monotonic() + pause

    def _begin(self, job: Job, *, is_aside: bool = False) -> Running:
        if job.attempts > 1:
            for other in self._running.values():
                if other.job.id == job.id:
                    other.stop(Stopped.LOST)
        self._running[job.id, job.attempts] = one = Running(Attempt(self.db, job), is_aside)
        one.task = asyncio.create_task(self._run(one), name=f"{job.kind} {job.id}")
        if self._leaves:
            one.stop(Stopped.LEAVING)  # it was on its way when we were told to
        return one

    async def _bury(self, end: End) -> None:
        """A job that has failed for good is told of, once, in the transaction that says so."""
        job, error = end.job, end.error or CRASHED
        event = Event("jobs.failed", {"job": str(job.public_id), "kind": job.kind, "code": error.code})
        async with self._own.transaction(job.tenant_id) as conn:
            done = await queue.finish(conn, [end])
            # One that was joined waits again, and one that was to stop is cancelled.
            if done and (await store.get_by_id(conn, job.tenant_id, job.id)).state is State.FAILED:
                await log.append(conn, job.tenant_id, TENANT, [event])

    async def _run(self, one: Running) -> None:
        """One try, from its beginning to its end, which is recorded later."""
        failure: BaseException | None
        try:
            failure = await failure_of(one.work(self.handlers[one.job.kind]))
        except asyncio.CancelledError as cancelled:
            failure = cancelled
            with suppress(PostroomError):
                await one.report()
        one.has_ended = True
        self._ended.append(one.end(failure))
        self._wake.set()

    async def _reporting(self) -> None:
        """Write how far jobs are, of each what has changed since the last time."""
        while True:
            await asyncio.sleep(SAY_EVERY)
            for one in list(self._running.values()):
                try:
                    await one.report()
                except JobLost:
                    one.stop(Stopped.LOST)
                except DATABASE_AWAY as error:
                    logger.warning("jobs.database_away", code=error.code)
                    break

    async def _beating(self, stop: Hearing) -> None:
        """Hold what runs. Without a word from the database for a whole lease nothing is ours any more."""
        now = asyncio.get_running_loop().time
        held, lease = now(), self.lease.total_seconds()
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(lease / BEATS):
                    await anext(stop)
            jobs = [one.job for one in self._running.values()]
            asked = now()
            try:
                async with asyncio.timeout_at(max(held + lease, asked + lease / BEATS)):
                    async with self._own.unbound() as conn:
                        ours = await queue.beat(conn, self.holder, jobs, self.lease) if jobs else {}
                held = asked
            except (*DATABASE_AWAY, TimeoutError):
                if now() - held < lease:
                    continue
                ours = {}
            self._stop(jobs, ours)

    def _stop(self, jobs: list[Job], ours: Mapping[JobId, bool]) -> None:
        for job in jobs:
            one = self._running.get((job.id, job.attempts))
            if one is None or one.task.done():
                continue
            if job.id not in ours:
                one.stop(Stopped.LOST)
            elif ours[job.id]:
                one.stop(Stopped.CANCELLED)

    async def _reaping(self) -> None:
        while True:
            try:
                await self.reap()
            except asyncpg.UniqueViolationError:  # one like it came to wait in this moment
                continue
            except DATABASE_AWAY as error:
                logger.warning("jobs.database_away", code=error.code)
            await asyncio.sleep(REAP_EVERY.total_seconds() * random.uniform(0.8, 1.2))

    async def _sharing(self) -> None:
        share = Share(self.db, list(self.handlers), self.slice)
        while True:
            await asyncio.sleep(self.waits.total_seconds() * random.uniform(0.9, 1.1))
            if pair := await share.look(self._ran, self._turn):
                one, other = pair
                self._turn = other.tenant - 1  # whose worker it will be
                self._running[one.job.id, one.job.attempts].stop(Stopped.GIVING_WAY)

    def _ran(self) -> list[Ran]:
        """What runs, without what was told to stop; nothing at all while a worker is free."""
        if self._leaves or self._asked or self._ended or self._busy < self.workers:
            return []
        now, handlers = monotonic(), self.handlers
        return [
            Ran(one.job, timedelta(seconds=now - one.began), isinstance(handlers[one.job.kind], Resumes))
            for one in self._running.values()
            if one.stopped is None and not (one.is_aside or one.has_ended)
        ]
