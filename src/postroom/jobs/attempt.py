"""One try of a job, as whoever does the work sees it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from postroom.db.pool import Connection, Database

from . import store
from .model import Job, JobLost, Level, Progress, State
from .store import queue, running
from .store.queue import End

SAY_EVERY = 0.2  # seconds between two reports of how far it is


class Attempt:
    """A job that runs. What it writes under `fence` is refused when somebody else has taken the job."""

    def __init__(self, db: Database, job: Job) -> None:
        self.db, self.job = db, job
        self._now = job.progress
        self.tally = job.tally  # what all tries have stored, by name
        self._changed = asyncio.Event()

    async def fence(self, conn: Connection) -> None:
        """Call it first in every transaction that writes what this job is for. Raises `JobLost`."""
        await store.fence(conn, self.job)

    def progress(
        self, *, processed: int = 0, total_estimate: int | None = None, items_found: int = 0
    ) -> None:
        """How far it is. Never waits; what comes in quick succession is written once."""
        self._now = Progress(processed, total_estimate, items_found)
        self._changed.set()

    async def count(
        self, conn: Connection, tally: Mapping[str, int], *, processed: int = 0, items_found: int = 0
    ) -> None:
        """Count what this transaction stores: both, or neither. Raises `JobLost`.

        `tally` says more by names of the handler's own. Let the transaction end soon: it holds the job's row.
        """
        if tally:
            given = {"processed": processed, "items_found": items_found}
            self.tally = await running.count(conn, self.job, tally, **given)

    @property
    def has_found(self) -> bool:
        """Whether there is something to tell of it."""
        return self._now.items_found > 0 or self.job.progress.items_found > 0 or any(self.tally.values())

    async def complete(self, conn: Connection, result: Mapping[str, Any] | None = None) -> None:
        """End the job in the transaction that writes what it is for: both, or neither. Raises `JobLost`.

        So that happens exactly once, whatever becomes of this process. Return soon after the commit.
        """
        await store.lock_key(conn, self.job.tenant_id, self.job.public_id)
        await store.progress(conn, self.job, self._now)
        self._changed.clear()
        kept = self.job.is_kept or self.has_found
        if not await queue.finish(conn, [End(self.job, State.COMPLETED, kept=kept, result=result)]):
            raise JobLost("This try is over: another executor has taken the job.")

    async def say(self, message: str, *, level: Level = Level.INFO, **data: Any) -> None:
        """Tell whoever follows. Raises `JobLost`."""
        async with self.db.transaction(self.job.tenant_id) as conn:
            await store.say(conn, self.job, message, level=level, data=data)

    async def flush(self) -> None:
        """Write what was not written yet."""
        if self._changed.is_set():
            self._changed.clear()
            async with self.db.transaction(self.job.tenant_id) as conn:
                await store.progress(conn, self.job, self._now)


Handler: TypeAlias = Callable[[Attempt], Awaitable[Mapping[str, Any] | None]]
"""Does the work of one kind of job; what it returns is the result. It may be cancelled at any moment."""


@dataclass(frozen=True, slots=True)
class Resumes:
    """A handler whose next try goes on where this one is stopped: so it may be, to let others have a turn."""

    handler: Handler

    def __call__(self, attempt: Attempt) -> Awaitable[Mapping[str, Any] | None]:
        return self.handler(attempt)
