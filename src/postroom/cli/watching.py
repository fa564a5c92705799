"""All jobs, as they go: a live table on a terminal, a line for each change anywhere else."""

import sys
from collections.abc import AsyncIterator, Callable, Mapping, Set
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial

from rich.console import Group
from rich.live import Live
from rich.text import Text

from postroom.cli import joblook, screen
from postroom.cli.following import hints, patient
from postroom.cli.installation import Installation
from postroom.cli.joblook import Names
from postroom.db.listen import Hint
from postroom.ids import AccountId
from postroom.jobs import store
from postroom.jobs.model import CHANGED, OVER, READY, Job, JobId, NoSuchJob, State

HEADING = 3  # lines of a terminal that hold no job


@dataclass(frozen=True, slots=True)
class Which:
    """What is watched: all that fits, what runs first, then the latest."""

    limit: int
    kind: str | None = None
    account: AccountId | None = None

    def fits(self, job: Job) -> bool:
        return self.kind in {None, job.kind} and self.account in {None, job.account_id}


@dataclass(slots=True)
class Watch:
    """Looks whenever there is a hint, and each second."""

    house: Installation
    which: Which
    jobs: dict[JobId, Job] = field(default_factory=dict)  # as they were at the last look
    changed: list[Job] = field(default_factory=list)  # since the look before, the oldest first
    newest: int = 0  # the number of the latest job seen

    async def looks(self) -> AsyncIterator[None]:
        """Each time that there may be something new to be seen, until cancelled."""
        await patient(partial(self._look, set()))
        yield
        with self.house.hints.hear(CHANGED, READY) as hearing:
            while True:
                await patient(partial(self._look, await hints(hearing)))
                yield

    async def _look(self, heard: set[Hint]) -> None:
        """What runs and what is new, and of the rest what was heard of, or ran before."""
        tenant, which = self.house.tenant, self.which
        async with self.house.database.transaction(tenant) as conn:
            found: dict[JobId, Job] = {}
            for state in (State.RUNNING, None):
                page = await store.page(
                    conn, tenant, limit=which.limit, state=state, kind=which.kind, account=which.account
                )
                found |= {job.id: job for job in page if job.id not in found}
            named = {JobId(int(hint)) for hint in heard if hint is not None and hint.isdecimal()}
            ran = {job.id for job in self.jobs.values() if job.state is State.RUNNING}
            others = {}
            for number in (named | ran) - found.keys():
                with suppress(NoSuchJob):
                    others[number] = await store.get_by_id(conn, tenant, number)
        seen = [job for job in (found | others).values() if which.fits(job)]
        self.changed = sorted((job for job in seen if self._is_news(job, named)), key=lambda job: job.id)
        self.jobs, self.newest = found, max([self.newest, *found])

    def _is_news(self, job: Job, named: Set[JobId]) -> bool:
        """One that was not seen before may be an old one, in sight again because newer ones left no row."""
        known = self.jobs.get(job.id)
        if known is not None:
            return known != job
        return job.id > self.newest or job.id in named or job.state is State.RUNNING


async def watch(
    house: Installation, which: Which, tell: Callable[[Job, Names], None], *, as_table: bool
) -> None:
    """Until cancelled; as a table where that is wanted and possible, else each change is told."""
    if as_table and sys.stdout.isatty():
        await live(Watch(house, which))
    else:
        await changes(Watch(house, which), tell)


async def live(seen: Watch) -> None:
    """A table that keeps itself up to date."""
    called, console = Names(seen.house), screen.console()
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as shown:
        async for _ in seen.looks():
            rows = list(seen.jobs.values())[: min(seen.which.limit, max(console.height - HEADING, 1))]
            await patient(partial(called.learn, rows))
            shown.update(Group(joblook.table(rows, called), Text(_summary(seen.jobs))), refresh=True)


async def changes(seen: Watch, tell: Callable[[Job, Names], None]) -> None:
    """Tell each change that is seen; at first what is not over yet."""
    called, is_first = Names(seen.house), True
    async for _ in seen.looks():
        news = [job for job in seen.changed if not (is_first and job.state in OVER)]
        is_first = False
        await patient(partial(called.learn, [*seen.jobs.values(), *news]))
        for job in news:
            tell(job, called)


def _summary(jobs: Mapping[JobId, Job]) -> str:
    running = sum(job.state is State.RUNNING for job in jobs.values())
    return f"{running:,} running at {datetime.now(UTC):%H:%M:%S} UTC. Ctrl-C ends this, and no job."
