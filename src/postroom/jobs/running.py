"""One try of a job that runs in this process: how it is stopped, and what it came to."""

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from time import monotonic
from typing import Any, TypeAlias

import structlog

from postroom.db.model import DATABASE_AWAY
from postroom.vault.model import WrongKey

from .attempt import Attempt, Handler
from .model import Job, JobId, JobLost, NotNow, State, TookTooLong
from .rules import CRASHED, LOST, after_cut, bounded, reason, retry_after, storable
from .store.queue import End

SELDOM = {CRASHED.code, LOST.code, WrongKey.code}  # what somebody must see, whatever else becomes of the row

logger = structlog.get_logger()


class Stopped(Enum):
    """Why a job was stopped from outside."""

    CANCELLED = "cancelled"
    LOST = "lost"
    LEAVING = "leaving"
    GIVING_WAY = "giving way"


Try: TypeAlias = tuple[JobId, int]
"""Of which job and which: one that was lost may still be ending while the next has begun beside it."""


@dataclass(slots=True)
class Running:
    attempt: Attempt
    is_aside: bool = False  # it takes no worker
    task: asyncio.Task[None] = field(init=False)
    began: float = field(default_factory=monotonic)
    stopped: Stopped | None = None
    has_ended: bool = False  # which may not be recorded yet
    result: Mapping[str, Any] | None = None
    reports: asyncio.Lock = field(default_factory=asyncio.Lock)
    recorded: asyncio.Event = field(default_factory=asyncio.Event)  # what became of it

    @property
    def job(self) -> Job:
        return self.attempt.job

    def stop(self, why: Stopped) -> None:
        """Once; what was stopped may take its time to end."""
        if self.stopped is None:
            self.stopped = why
            # A task that is cancelled before its first step never runs, and could not say that it has ended.
            asyncio.get_running_loop().call_soon(self.task.cancel)

    async def report(self) -> None:
        """Write how far it is, where that is news. Raises `JobLost`."""
        async with self.reports:
            await self.attempt.flush()

    async def work(self, handler: Handler) -> None:
        """What the job is for. A handler that keeps to itself that it was stopped has not come through."""
        if self.stopped:
            raise JobLost("It was stopped.")
        try:
            async with asyncio.timeout(self.job.limit.total_seconds()) as limit:
                self.result = storable(await handler(self.attempt))
                if self.job.is_kept or self.attempt.has_found:  # else nothing is left of it
                    await self.report()
        except TimeoutError:
            if not limit.expired():
                raise
        if limit.expired():
            raise TookTooLong(f"It took longer than {self.job.limit}.")
        if self.stopped:
            raise JobLost("It was stopped.")

    def end(self, failure: BaseException | None) -> End:
        """What the try came to, and whether anything is left of it."""
        end = End(self.job, State.COMPLETED, result=self.result) if failure is None else self._missed(failure)
        is_seldom = end.error is not None and end.error.code in SELDOM
        kept = self.job.is_kept or self.attempt.has_found or is_seldom
        return end if kept else replace(end, kept=False)

    def _missed(self, error: BaseException) -> End:
        """What a try that did not come through means."""
        job, stopped = self.job, self.stopped
        if stopped is Stopped.CANCELLED:
            return End(job, State.CANCELLED)
        if stopped is not None or isinstance(error, JobLost):
            return End(job, State.PENDING, gave_way=stopped is Stopped.GIVING_WAY)
        if isinstance(error, NotNow):
            return End(job, State.PENDING, wait=bounded(error.wait))
        said, is_cut = reason(error), isinstance(error, DATABASE_AWAY)
        if (soon := after_cut(job, error)) is not None:
            logger.warning("jobs.cut", job=str(job.public_id), kind=job.kind, code=said.code)
            return End(job, State.PENDING, wait=soon, error=said, is_cut=True)
        bug = error if said is CRASHED else None
        logger.warning("jobs.failed", job=str(job.public_id), kind=job.kind, code=said.code, exc_info=bug)
        wait = retry_after(job, error, random.random())
        if wait is None:
            return End(job, State.FAILED, counts=True, error=said)
        return End(job, State.PENDING, counts=True, wait=wait, error=said, is_cut=is_cut)
