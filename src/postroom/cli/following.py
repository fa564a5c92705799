"""One job, followed until it is over: a bar on a terminal, a line now and then anywhere else.

The bar goes to standard error, as every progress does; what the job has to say is told to whoever asked.
"""

import asyncio
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from functools import partial
from time import monotonic
from typing import TypeAlias, TypeVar

from rich.progress import BarColumn, Progress, TextColumn

from postroom.cli import joblook, screen
from postroom.cli.installation import Installation
from postroom.cli.progress import LINE_SECONDS, REFRESH_SECONDS, Pace, paced
from postroom.db.beside import beside
from postroom.db.listen import Hearing, Hint
from postroom.db.model import Busy, Unreachable
from postroom.jobs import store
from postroom.jobs.model import CHANGED, OVER, Job, JobEvent, JobId, NoSuchJob, State

LOOK_SECONDS = 1.0
GATHER_SECONDS = 0.1
PATIENCE_SECONDS = 60.0
AGAIN_SECONDS = 0.5
PAGE = 1000

T = TypeVar("T")

News: TypeAlias = Job | JobEvent
"""A job as it stands after a change, or something that it had to say."""


async def follow(
    house: Installation, job: JobId, *, called: str = "", told: Callable[[News], None] = lambda _: None
) -> Job | None:
    """Show how far a job is, and tell its news, until it is over: as it ended.

    None when its row is gone: it ended and had found nothing, or its account was removed. Raises `NoSuchJob`
    when there was none to begin with. `called` stands before the bar.
    """
    view = _View(called)
    showing = _bar(view) if sys.stderr.isatty() else _lines(view)
    async with aclosing(news(house, job)) as heard, beside(showing):
        async for one in heard:
            if isinstance(one, Job):
                view.job = one
            told(one)
    return view.job if view.job is not None and view.job.state in OVER else None


async def news(house: Installation, job: JobId) -> AsyncGenerator[News, None]:
    """Everything that a job says, from its beginning, and how it stands whenever that has changed.

    Ends with the job as it ended, or when its row is gone. Raises `NoSuchJob` when there was none.
    """
    seen, after = None, 0
    with house.hints.hear(CHANGED) as hearing:
        while True:
            try:
                now, events = await patient(partial(_look, house, job, after))
            except NoSuchJob:
                if seen is None:
                    raise
                return
            for event in events:
                after = event.id
                yield event
            if len(events) == PAGE:
                continue
            if now != seen:
                seen = now
                yield now
            if now.state in OVER:
                return
            await hints(hearing)


async def _look(house: Installation, job: JobId, after: int) -> tuple[Job, list[JobEvent]]:
    """In this order: what is over has said everything."""
    async with house.database.transaction(house.tenant) as conn:
        now = await store.get_by_id(conn, house.tenant, job)
        return now, await store.events(conn, house.tenant, job, after=after, limit=PAGE)


async def patient(look: Callable[[], Awaitable[T]]) -> T:
    """What is seen, once the database is there: jobs outlive its restart, and so do those who follow."""
    until = monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return await look()
        except (Unreachable, Busy):
            if monotonic() > until:
                raise
        await asyncio.sleep(AGAIN_SECONDS)


async def hints(hearing: Hearing) -> set[Hint]:
    """What is heard within a moment; nothing when a second has passed, which is a reason to look as well."""
    heard: set[Hint] = set()
    with suppress(TimeoutError):
        async with asyncio.timeout(LOOK_SECONDS):
            heard.add(await anext(hearing))
        async with asyncio.timeout(GATHER_SECONDS):
            while True:
                heard.add(await anext(hearing))
    return heard


@dataclass(slots=True)
class _View:
    """What is shown of a job: what it is called, how it stands, how fast it goes."""

    called: str
    job: Job | None = None
    pace: Pace = field(default_factory=Pace)

    def told(self) -> str:
        """`1,200/20,000  250/s  1:15 left  300 found`."""
        job = self.job
        if job is None:
            return ""
        so_far = job.progress
        self.pace.update(so_far.processed, monotonic())
        parts = [joblook.progress(job)]
        if job.state is State.RUNNING:
            parts += paced((so_far.total_estimate or 0) - so_far.processed, self.pace.rate)
        if so_far.items_found:
            parts.append(f"{so_far.items_found:,} found")
        if job.state is not State.RUNNING or job.cancel_requested or not parts[0]:
            parts.append(joblook.standing(job))
        return "  ".join(part for part in parts if part)


async def _bar(view: _View) -> None:
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(24),
        TextColumn("{task.fields[told]}", markup=False),
    )
    with Progress(
        *columns,
        console=screen.console(stderr=True),
        auto_refresh=False,
        transient=True,
        redirect_stdout=sys.stdout.isatty(),  # else it is a file that wants the lines
    ) as bars:
        task = bars.add_task(screen.line(view.called), total=None, told="")
        while True:
            so_far = view.job.progress if view.job else None
            if so_far is not None:
                bars.update(task, completed=so_far.processed, total=so_far.total_estimate or None)
            bars.update(task, told=view.told())
            bars.refresh()
            await asyncio.sleep(REFRESH_SECONDS)


async def _lines(view: _View) -> None:
    called = f"{screen.line(view.called)}: " if view.called else ""
    shown, shown_at = "", monotonic()
    while True:
        await asyncio.sleep(1)
        told = view.told()
        if told != shown and monotonic() - shown_at >= LINE_SECONDS:
            shown, shown_at = told, monotonic()
            screen.warn(f"{called}{told}")
