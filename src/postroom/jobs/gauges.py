"""Numbers of the queue for Prometheus."""

from datetime import timedelta
from functools import partial

from postroom import telemetry
from postroom.db.gauges import Gauges

from .rules import worker_named
from .store import overview
from .store.overview import Overview

RECENT = timedelta(minutes=1)


def gauges() -> Gauges[Overview]:
    return Gauges("jobs", _clear, partial(overview.of_all, recent=RECENT), _put)


def _clear() -> None:
    for gauge in (telemetry.JOBS, telemetry.JOBS_RUNNING, telemetry.JOBS_FAILED, telemetry.JOBS_ENDED):
        gauge.clear()
    telemetry.JOBS_OLDEST_READY.set(float("nan"))


def _put(found: Overview) -> None:
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
