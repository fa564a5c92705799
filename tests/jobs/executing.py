"""Executors for tests, and what their tests ask of jobs."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

from servers.tenants import ONE

from postroom.db.listen import open_hints
from postroom.db.pool import Database
from postroom.ids import TenantId
from postroom.jobs import store
from postroom.jobs.attempt import Handler
from postroom.jobs.model import Enqueued, Job, State, Wish
from postroom.jobs.run import LEASE, LOOK_EVERY, SLICE, Executor

NOW = timedelta(0)
A_MOMENT = 0.005  # seconds
LIMIT = 20  # seconds


@asynccontextmanager
async def executing(
    db: Database,
    patience: timedelta = NOW,
    workers: int = 3,
    lease: timedelta = LEASE,
    slice: timedelta = SLICE,
    waits: timedelta = LOOK_EVERY,
    **handlers: Handler,
) -> AsyncIterator[Executor]:
    """Runs jobs of the kinds `test.<name>`."""
    async with open_hints(db) as hints:
        known = {f"test.{name}": handler for name, handler in handlers.items()}
        executor = Executor(db, hints, known, workers=workers, lease=lease, slice=slice, waits=waits)
        async with executor.working(patience):
            yield executor


async def want(db: Database, *wishes: Wish, tenant: TenantId = ONE) -> list[Enqueued]:
    async with db.transaction(tenant) as conn:
        return await store.enqueue(conn, tenant, wishes)


async def claim(db: Database, holder: str = "me", room: int = 10, lease: timedelta = LEASE) -> list[Job]:
    """Of the kinds `test.a` and `test.b`."""
    async with db.unbound() as conn:
        return await store.queue.claim(conn, holder, ["test.a", "test.b"], room, lease, 0)


async def job(db: Database, one: Enqueued, tenant: TenantId = ONE) -> Job:
    async with db.transaction(tenant) as conn:
        return await store.get_by_id(conn, tenant, one.id)


async def until(db: Database, one: Enqueued, is_so: Callable[[Job], bool], tenant: TenantId = ONE) -> Job:
    async with asyncio.timeout(LIMIT):
        while not is_so(found := await job(db, one, tenant)):  # noqa: ASYNC110
            await asyncio.sleep(A_MOMENT)
    return found


async def until_state(db: Database, one: Enqueued, state: State, tenant: TenantId = ONE) -> Job:
    return await until(db, one, lambda found: found.state is state, tenant)
