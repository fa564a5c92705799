"""Whatever is wanted, taken, ended, cancelled and taken over, by whoever may or may no longer: a job is as
the model says, and none is left behind.

CHAOS=20 plays twenty times as many games.
"""

import asyncio
import os
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import asyncpg
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from servers.tenants import ANNS, BOBS, ONE, TWO

from postroom.db.pool import Database, open_pool
from postroom.ids import TenantId
from postroom.jobs import store
from postroom.jobs.attempt import Attempt
from postroom.jobs.model import (
    OVER,
    IsOver,
    Job,
    JobLost,
    NoSuchJob,
    NotOver,
    Progress,
    State,
    Wish,
)
from postroom.jobs.rules import CRASHED, LOST
from postroom.jobs.store import queue, running
from postroom.jobs.store.queue import End

T = TypeVar("T")
TIMES = int(os.environ.get("CHAOS", "1"))
HOUR = timedelta(hours=1)
TRIES = 3
KINDS = ("test.a", "test.b")
NUMBERS = st.integers(0, 40)
TENANTS = st.sampled_from([ONE, TWO])
HOLDERS = st.sampled_from(["x", "y"])
ACCOUNTS = {ONE: ANNS, TWO: BOBS}  # of whatever has the key `k`

ROWS = """
    SELECT id, tenant_id, state, place, key, dedupe, priority, attempts, failures, cancel_requested, is_kept,
           processed, total_estimate, items_found, holder, gave_way,
           (SELECT count(*) FROM postroom.jobs_event e WHERE e.job_id = j.id) AS events
      FROM postroom.jobs_job j
"""


@dataclass(frozen=True)
class Wanted:
    """A job that may be wanted."""

    tenant: TenantId
    kind: str
    key: str | None
    dedupe: str | None
    priority: int
    is_later: bool
    is_kept: bool

    def wish(self) -> Wish:
        account = ACCOUNTS[self.tenant] if self.key == "k" else None
        run_at = datetime.now(UTC) + HOUR if self.is_later else None
        common = self.key, self.dedupe, self.priority, run_at, TRIES
        return Wish(self.kind, {}, account, *common, is_kept=self.is_kept)


WANTED = st.builds(
    Wanted,
    tenant=TENANTS,
    kind=st.sampled_from(KINDS),
    key=st.sampled_from(["k", "k", "l", None]),
    dedupe=st.sampled_from([None, "d", "e"]),
    priority=st.integers(0, 2),
    is_later=st.sampled_from([False, False, True]),
    is_kept=st.booleans(),
)


@dataclass
class Known:
    """A job as it should be."""

    id: int
    public_id: Any
    tenant: TenantId
    kind: str
    key: str | None
    dedupe: str | None
    priority: int
    is_later: bool
    is_kept: bool
    state: State = State.PENDING
    attempts: int = 0
    failures: int = 0
    is_cancelled: bool = False
    is_joined: bool = False
    holder: str | None = None
    processed: int = 0
    total: int | None = None
    found: int = 0
    events: int = 0
    gave_way: int = 0

    @property
    def named(self) -> tuple[TenantId, str | None]:
        return self.tenant, self.key

    def row(self) -> tuple[object, ...]:
        return (
            *(self.tenant, self.state, self.key, self.dedupe, self.priority, self.attempts, self.failures),
            *(self.is_cancelled, self.is_kept, self.processed, self.total, self.found, self.holder),
            *(self.events, self.gave_way),
        )


def seen(row: asyncpg.Record) -> tuple[object, ...]:
    return (
        *(row["tenant_id"], row["state"], row["key"], row["dedupe"], row["priority"], row["attempts"]),
        *(row["failures"], row["cancel_requested"], row["is_kept"], row["processed"], row["total_estimate"]),
        *(row["items_found"], row["holder"], row["events"], row["gave_way"]),
    )


class Jobs(RuleBasedStateMachine):
    """Holders x and y, who remember every try that they ever had; `db` and `eye` are set by the test."""

    runner: asyncio.Runner
    db: Database
    eye: asyncpg.Connection

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[int, Known] = {}
        self.gone: list[Known] = []
        self.tries: list[Job] = []

    @initialize(
        wanted=st.lists(WANTED, min_size=6, max_size=12),
        rooms=st.lists(st.integers(1, 3), min_size=1, max_size=3),
    )
    def begin(self, wanted: list[Wanted], rooms: list[int]) -> None:
        """Hypothesis leaves out some rules in each game: so each begins with something to play with."""
        self._run(self.eye.execute("TRUNCATE postroom.jobs_job CASCADE"))
        self.enqueue(wanted)
        for room in rooms:
            self.claim("x", KINDS, room, ONE)

    @rule(wanted=st.lists(WANTED, min_size=1, max_size=4))
    def enqueue(self, wanted: list[Wanted]) -> None:
        for one in wanted:
            self._enqueue(one)

    def _enqueue(self, wanted: Wanted) -> None:
        tenant, wish = wanted.tenant, wanted.wish()
        (made,) = self._run(self._bound(tenant, lambda conn: store.enqueue(conn, tenant, [wish])))
        same = self._waiting(tenant, wish.dedupe)
        assert made.is_merged == bool(same)
        if same is None:
            assert made.id not in self.known
            self.known[made.id] = Known(
                *(made.id, made.public_id, tenant, wish.kind, wish.key, wish.dedupe, wish.priority),
                *(wanted.is_later, wish.is_kept),
            )
            return
        assert made.id == same.id
        same.priority = max(same.priority, wish.priority)
        same.is_later &= wanted.is_later
        same.is_kept |= wish.is_kept

    @rule(
        holder=HOLDERS, kinds=st.sampled_from([KINDS, KINDS, KINDS[:1]]), room=st.integers(1, 4), turn=TENANTS
    )
    def claim(self, holder: str, kinds: Sequence[str], room: int, turn: int) -> None:
        jobs = self._run(self._unbound(lambda conn: queue.claim(conn, holder, kinds, room, HOUR, turn)))
        assert len(jobs) <= room
        for job in jobs:
            one = self.known[job.id]
            assert one.kind in kinds
            assert one in self._free()
            one.state, one.holder, one.attempts = State.RUNNING, holder, one.attempts + 1
            assert job.attempts == one.attempts
            self.tries.append(job)
        left = self._claimable(kinds)
        assert len(jobs) == room or not left
        for one in left:
            if one.key is None:
                for job in jobs:
                    is_better = (-one.priority, one.id) < (-job.priority, job.id)
                    assert not (is_better and job.key is None and job.tenant_id == one.tenant)

    @rule(
        picks=st.lists(NUMBERS, min_size=1, max_size=3, unique=True),
        what=st.lists(NUMBERS, min_size=3, max_size=3),
    )
    def end(self, picks: list[int], what: list[int]) -> None:
        jobs = {job.id: job for pick in picks if (job := self._any_try(pick))}
        ends = [self._end(job, nr) for job, nr in zip(jobs.values(), what, strict=False)]
        if ends:
            done = self._run(self._unbound(lambda conn: queue.finish(conn, ends)))
            assert done == {end.job.id for end in ends if self._is_current(end.job)}
            self._ended([end for end in ends if end.job.id in done])

    @rule(pick=NUMBERS, commits=st.booleans())
    def complete(self, pick: int, commits: bool) -> None:
        if job := self._any_try(pick):
            attempt, is_current = Attempt(self.db, job), self._is_current(job)
            try:
                self._run(self._complete(attempt, commits))
            except JobLost:
                assert not is_current
            except InterruptedError:
                assert is_current
            else:
                self._ended([End(job, State.COMPLETED, kept=job.is_kept or attempt.has_found)])

    @rule(pick=NUMBERS, steps=st.tuples(st.integers(0, 9), st.none() | st.integers(0, 9), st.integers(0, 1)))
    def progress(self, pick: int, steps: tuple[int, int | None, int]) -> None:
        if job := self._any_try(pick):
            now = Progress(*steps)
            if self._writes(job, lambda conn: store.progress(conn, job, now)):
                one = self.known[job.id]
                one.processed, one.found = max(one.processed, steps[0]), max(one.found, steps[2])
                totals = [total for total in (one.total, steps[1]) if total is not None]
                one.total = max(totals, default=None)

    @rule(pick=NUMBERS, steps=st.tuples(st.integers(0, 9), st.integers(0, 1)))
    def count(self, pick: int, steps: tuple[int, int]) -> None:
        if job := self._any_try(pick):
            more = dict(zip(("processed", "items_found"), steps, strict=True))
            if self._writes(job, lambda conn: running.count(conn, job, {"a": 1}, **more)):
                one = self.known[job.id]
                one.processed, one.found = one.processed + steps[0], one.found + steps[1]

    @rule(wanted=WANTED)
    def join(self, wanted: Wanted) -> None:
        tenant, wish = wanted.tenant, wanted.wish()
        same = [
            one
            for one in self.known.values()
            if one.state is State.RUNNING and not one.is_cancelled and (one.is_joined or not one.is_kept)
            if one.key and one.dedupe and (*one.named, one.dedupe) == (tenant, wish.key, wish.dedupe)
        ]
        found = self._run(self._bound(tenant, lambda conn: running.join(conn, tenant, wish)))
        assert (found and found.id) == (same[0].id if same else None)
        for one in same:
            one.is_joined = one.is_kept = True
            one.priority = max(one.priority, wish.priority)

    @rule(tenant=TENANTS, kind=st.sampled_from(KINDS))
    def call_off(self, tenant: TenantId, kind: str) -> None:
        account = ACCOUNTS[tenant]
        self._run(self._bound(tenant, lambda conn: running.call_off(conn, tenant, account, "k", kind)))
        for one in list(self.known.values()):
            if (*one.named, one.kind) != (tenant, "k", kind):
                continue
            if one.state is State.RUNNING:
                one.is_cancelled = True
            elif one.state is State.PENDING and one.is_kept:
                one.state = State.CANCELLED
            elif one.state is State.PENDING:
                self._forget(one)

    @rule(pick=NUMBERS)
    def say(self, pick: int) -> None:
        job = self._any_try(pick)
        if job is not None and self._writes(job, lambda conn: store.say(conn, job, "hello")):
            self.known[job.id].events += 1

    @rule(pick=NUMBERS)
    def fence(self, pick: int) -> None:
        if job := self._any_try(pick):
            self._writes(job, lambda conn: store.fence(conn, job))

    @rule(holder=HOLDERS)
    def beat(self, holder: str) -> None:
        held = self._run(self._unbound(lambda conn: queue.beat(conn, holder, self.tries, HOUR)))
        ours = {id: one.is_cancelled for id, one in self.known.items() if one.holder == holder}
        assert held == ours

    @rule(tenant=TENANTS, pick=NUMBERS)
    def cancel(self, tenant: TenantId, pick: int) -> None:
        if one := self._any(pick):
            try:
                self._run(self._bound(tenant, lambda conn: store.cancel(conn, tenant, one.public_id)))
            except NoSuchJob:
                assert one.id not in self.known or one.tenant != tenant
            except IsOver:
                assert one.state in OVER
            else:
                assert one.tenant == tenant
                if one.state is State.RUNNING:
                    one.is_cancelled = True
                else:
                    assert one.state is State.PENDING
                    one.state = State.CANCELLED

    @rule(tenant=TENANTS, pick=NUMBERS)
    def requeue(self, tenant: TenantId, pick: int) -> None:
        if one := self._any(pick):
            try:
                self._run(self._bound(tenant, lambda conn: store.requeue(conn, tenant, one.public_id)))
            except NoSuchJob:
                assert one.id not in self.known or one.tenant != tenant
            except NotOver:
                assert one.state not in {State.FAILED, State.CANCELLED}
            else:
                assert one.tenant == tenant
                self._waits(one, is_later=False)
                one.failures, one.is_kept, one.is_cancelled = 0, True, False

    @rule(holder=HOLDERS)
    def lose(self, holder: str) -> None:
        lost = [one for one in self.known.values() if one.holder == holder]
        last = [one for one in lost if one.failures + 1 >= TRIES and not one.is_cancelled]
        again = sorted((one for one in lost if one not in last), key=lambda one: one.id)
        assert self._run(self._unbound(lambda conn: queue.reap(conn, [holder]))) == len(again)
        for one in again:
            one.failures += not one.is_cancelled and not one.is_joined
            one.events += not one.is_cancelled
            one.is_joined = False
            if one.is_cancelled:
                self._over(one, State.CANCELLED)
            else:
                self._waits(one, is_later=False)
        found = self._run(self._unbound(lambda conn: queue.lost(conn, [holder])))
        assert {job.id for job in found} == {one.id for one in last}
        ends = [End(job, State.FAILED, counts=True, error=LOST) for job in found]
        if ends:
            assert len(self._run(self._unbound(lambda conn: queue.finish(conn, ends)))) == len(ends)
            self._ended(ends)

    @rule()
    def clean(self) -> None:
        over = [one for one in self.known.values() if one.state in OVER]
        assert self._run(self._unbound(lambda conn: queue.clean(conn, -HOUR, 1000))) == len(over)
        for one in over:
            self._forget(one)

    @rule(tenant=TENANTS)
    def forget(self, tenant: TenantId) -> None:
        self._run(
            self._bound(tenant, lambda conn: store.forget(conn, tenant, ACCOUNTS[tenant], "test.remove"))
        )
        for one in list(self.known.values()):
            if one.named == (tenant, "k") and one.state is not State.RUNNING:
                self._forget(one)

    @rule()
    def sweep(self) -> None:
        assert self._run(self._unbound(queue.sweep)) == 0

    @rule(tenant=TENANTS)
    def look(self, tenant: TenantId) -> None:
        jobs = self._run(self._bound(tenant, lambda conn: store.page(conn, tenant, limit=1000)))
        assert {job.id for job in jobs} == {one.id for one in self.known.values() if one.tenant == tenant}

    @invariant()
    def is_as_it_should_be(self) -> None:
        rows = {row["id"]: row for row in self._run(self.eye.fetch(ROWS))}
        assert {id: seen(row) for id, row in rows.items()} == {
            id: one.row() for id, one in self.known.items()
        }
        taken = [one.named for one in self.known.values() if one.key and one.state is State.RUNNING]
        assert len(taken) == len(set(taken))
        ready = {
            one.named for id, one in self.known.items() if self._is_ready(one) and rows[id]["place"] == 0
        }
        for id, one in self.known.items():
            if one.state is State.PENDING:
                assert (rows[id]["place"] == 1) == one.is_later
                assert rows[id]["place"] != 2 or one.named in ready or one.named in taken

    def _end(self, job: Job, nr: int) -> End:
        """One of the ends that a try may come to."""
        soon, late = timedelta(), HOUR
        found = job.id in self.known and self.known[job.id].found > 0
        return [
            End(job, State.COMPLETED, kept=job.is_kept or found),
            End(job, State.FAILED, counts=True, kept=job.is_kept or found, error=CRASHED),
            End(job, State.CANCELLED, kept=job.is_kept or found),
            End(job, State.PENDING),
            End(job, State.PENDING, gave_way=True),
            End(job, State.PENDING, wait=soon),
            End(job, State.PENDING, counts=True, wait=late, error=CRASHED),
        ][nr % 7]

    def _ended(self, ends: Sequence[End]) -> None:
        for end in sorted(ends, key=lambda end: end.job.id):
            one = self.known[end.job.id]
            joined, one.is_joined = one.is_joined, False
            one.failures += end.counts and not joined
            one.events += (end.error is not None or end.gave_way) and not one.is_cancelled
            one.gave_way += end.gave_way and not one.is_cancelled
            if one.is_cancelled and end.state is not State.COMPLETED:
                self._over(one, State.CANCELLED)
            elif end.state is State.PENDING or (joined and not one.is_cancelled):
                self._waits(one, is_later=bool(end.wait))
            else:
                self._over(one, end.state)
            if end.state is not State.PENDING and not end.kept and not joined:
                self._forget(one)

    def _over(self, one: Known, state: State) -> None:
        one.state, one.holder = state, None

    def _waits(self, one: Known, *, is_later: bool) -> None:
        if self._waiting(one.tenant, one.dedupe):
            one.dedupe = None
        one.state, one.holder, one.is_later = State.PENDING, None, is_later

    def _forget(self, one: Known) -> None:
        self.gone.append(self.known.pop(one.id))

    def _waiting(self, tenant: TenantId, dedupe: str | None) -> Known | None:
        for one in self.known.values():
            if one.state is State.PENDING and one.tenant == tenant and dedupe and one.dedupe == dedupe:
                return one
        return None

    def _free(self) -> list[Known]:
        """What is ready, and no other of its key runs."""
        taken = {one.named for one in self.known.values() if one.key and one.state is State.RUNNING}
        return [one for one in self.known.values() if self._is_ready(one) and one.named not in taken]

    def _claimable(self, kinds: Sequence[str]) -> list[Known]:
        """What nothing is in the way of. The next of a key may be of a kind that the holder does not know."""
        free = self._free()
        unknown = {one.named for one in free if one.key and one.kind not in kinds}
        return [one for one in free if one.kind in kinds and one.named not in unknown]

    def _is_ready(self, one: Known) -> bool:
        return one.state is State.PENDING and not one.is_later

    def _is_current(self, job: Job) -> bool:
        one = self.known.get(job.id)
        return one is not None and one.state is State.RUNNING and one.attempts == job.attempts

    def _any_try(self, pick: int) -> Job | None:
        """The latest ones for the smallest numbers."""
        return self.tries[-1 - pick % len(self.tries)] if self.tries else None

    def _any(self, pick: int) -> Known | None:
        jobs = [*self.gone, *self.known.values()]
        return jobs[-1 - pick % len(jobs)] if jobs else None

    def _writes(self, job: Job, write: Any) -> bool:
        """Whether this try may write, which it may while it is the current one."""
        is_current = self._is_current(job)
        try:
            self._run(self._bound(job.tenant_id, write))
        except JobLost:
            assert not is_current
        else:
            assert is_current
        return is_current

    async def _complete(self, attempt: Attempt, commits: bool) -> None:
        async with self.db.transaction(attempt.job.tenant_id) as conn:
            await attempt.complete(conn)
            if not commits:
                raise InterruptedError

    async def _bound(self, tenant: TenantId, ask: Any) -> Any:
        async with self.db.transaction(tenant) as conn:
            return await ask(conn)

    async def _unbound(self, ask: Any) -> Any:
        async with self.db.unbound() as conn:
            return await ask(conn)

    def _run(self, doing: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(doing)


async def opened(dsn: str) -> tuple[Any, Database, asyncpg.Connection]:
    pool = open_pool(dsn, size=2)
    return pool, await pool.__aenter__(), await asyncpg.connect(dsn)


@pytest.mark.usefixtures("tenants")
def test_jobs_are_as_the_model_says(dsn: str) -> None:
    with asyncio.Runner() as runner:
        pool, Jobs.db, Jobs.eye = runner.run(opened(dsn))
        Jobs.runner = runner
        try:
            run_state_machine_as_test(
                Jobs,
                settings=settings(
                    max_examples=12 * TIMES,
                    stateful_step_count=50,
                    deadline=None,
                    database=None,
                    print_blob=True,
                    phases=[Phase.generate, Phase.shrink] if TIMES > 1 else [Phase.generate],
                    suppress_health_check=list(HealthCheck),
                ),
            )
        finally:
            runner.run(Jobs.eye.close())
            runner.run(pool.__aexit__(None, None, None))
