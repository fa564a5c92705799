"""Numbers of the queue for Prometheus: of the whole installation, and nothing of any tenant."""

import asyncio
from datetime import timedelta

from postroom import telemetry
from postroom.db.pool import Database
from postroom.errors import PostroomError

from .rules import worker_named
from .store import overview
from .store.overview import Overview

AGE = timedelta(seconds=5)
"""How old the numbers may be: whoever asks without end does not keep the database busy."""
PATIENCE = timedelta(seconds=2)
RECENT = timedelta(minutes=1)


class Gauges:
    """Sets the gauges in `telemetry`; those of a database that does not answer have no values."""

    def __init__(self, age: timedelta = AGE) -> None:
        self._age = age.total_seconds()
        self._good_until = 0.0
        self._one = asyncio.Lock()

    async def refresh(self, db: Database) -> None:
        now = asyncio.get_running_loop().time
        async with self._one:
            if now() < self._good_until:
                return
            for gauge in (
                telemetry.JOBS,
                telemetry.JOBS_RUNNING,
                telemetry.JOBS_FAILED,
                telemetry.JOBS_ENDED,
            ):
                gauge.clear()
            telemetry.JOBS_OLDEST_READY.set(float("nan"))
            try:
                async with asyncio.timeout(PATIENCE.total_seconds()), db.unbound() as conn:
                    found = await overview.of_all(conn, RECENT)
            except (PostroomError, TimeoutError) as error:
                telemetry.logger().warning("jobs.not_counted", reason=type(error).__name__)
            else:
                _set(found)
            self._good_until = now() + self._age


def _set(found: Overview) -> None:
    waiting = {"ready": found.ready, "later": found.later, "behind": found.behind}
    over = {"running": sum(found.running.values()), "failed": sum(found.failed.values())}
    for state, jobs in (waiting | over).items():
        telemetry.JOBS.labels(state).set(jobs)
    for holder, jobs in found.running.items():
        telemetry.JOBS_RUNNING.labels(worker_named(holder)).set(jobs)
    for code, jobs in found.failed.items():
        telemetry.JOBS_FAILED.labels(code).set(jobs)
    for state, jobs in found.ended.items():
        telemetry.JOBS_ENDED.labels(state).set(jobs)
    age = found.oldest_ready_age or timedelta()
    telemetry.JOBS_OLDEST_READY.set(max(0.0, age.total_seconds()))
