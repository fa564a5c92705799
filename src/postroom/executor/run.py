"""One executor with all that belongs to it: jobs, the schedule, duties, webhooks."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial

from postroom.db.beside import beside
from postroom.db.listen import Hints
from postroom.jobs import duties as jobs_duties
from postroom.jobs.run import Executor
from postroom.providers.pool import open_pool
from postroom.sync.due import schedule
from postroom.sync.glance import glance
from postroom.sync.watch import watching
from postroom.webhooks.run import delivering

from .duties import duties
from .handlers import Work, handlers


@asynccontextmanager
async def executing(
    work: Work, hints: Hints, *, workers: int, patience: timedelta, polls: bool
) -> AsyncIterator[None]:
    """Run jobs, `workers` at a time, and do duties while the block runs; with `polls` accounts fall due, too.

    At its end what runs may end within `patience`; the rest is handed back to whoever comes next.
    """
    share = max(1, workers // 2)  # of the workers may be at one host that is slow
    async with open_pool(hints, work.means.pool.slots, share=share) as pool:
        work = replace(work, means=replace(work.means, pool=pool))
        async with _executing(work, hints, workers, patience, polls=polls):
            yield


@asynccontextmanager
async def _executing(
    work: Work, hints: Hints, workers: int, patience: timedelta, *, polls: bool
) -> AsyncIterator[None]:
    db = work.means.db
    executor = Executor(db, hints, handlers(work), workers=workers)
    recurring = [jobs_duties.attend(db, duties(work, polls=polls))]
    if polls:
        recurring.append(schedule(db, hints, work.every))
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(executor.working(patience))
        await stack.enter_async_context(beside(*recurring))
        if work.allowed is not None:
            await stack.enter_async_context(delivering(db, hints, work.vault, work.allowed))
        if polls:
            look = partial(glance, work.means, work.every, work.told)
            watches = watching(db, hints, work.means.pool, executor.run_now, look, work.every, work.pace)
            await stack.enter_async_context(watches)
        yield
