"""Jobs as tasks of Celery: a message carries the job's number, and the row stays the truth.

  any process: enqueue ──commit──> hint ──> Publisher of any worker process ──> Redis ──> task `postroom.run`
  beat ──> `postroom.sweep`  let wait again what dead workers held; publish what is due, and what Redis lost
       ──> `postroom.duty`   do what recurs
       ──> `postroom.due`    let accounts become jobs whose time has come

The task takes the job by its row, and runs it as any executor does: under its fence, with its own heartbeat,
limit, cancellation and retries. So Celery retries nothing, keeps no results, and may deliver twice.

In each process that runs tasks one event loop lives in a thread: in every child of the prefork pool, in the
only process of the thread pool and of the solo pool. (Not for eventlet or gevent.)
"""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import asyncpg
from celery import Celery, signals
from kombu.exceptions import OperationalError

from postroom.db.beside import beside
from postroom.db.listen import Hints
from postroom.db.pool import Database
from postroom.errors import PostroomError
from postroom.ids import TenantId
from postroom.jobs import duties
from postroom.jobs.attempt import Handler
from postroom.jobs.duties import Duty
from postroom.jobs.model import JobId
from postroom.jobs.run import Executor
from postroom.jobs.store.published import Address

from .hosted import Hosted
from .publish import BrokerAway, Publisher

JOBS, BEAT = "postroom.jobs", "postroom.beat"  # queues
RUN, SWEEP, DUTY, DUE = "postroom.run", "postroom.sweep", "postroom.duty", "postroom.due"  # tasks
EVERY = {SWEEP: timedelta(seconds=2), DUTY: timedelta(seconds=2), DUE: timedelta(seconds=2)}
# What beat sends goes after a while, or it would pile up where no worker is. Celery compares two machines'
# clocks for that, which may differ by this much.
LASTS = timedelta(minutes=10)

CONFIGURATION: Mapping[str, Any] = {
    "task_queues": {JOBS: {}, BEAT: {}},
    "task_default_queue": JOBS,
    "task_routes": {name: {"queue": BEAT} for name in EVERY},
    "beat_schedule": {
        name: {"task": name, "schedule": every, "options": {"expires": LASTS.total_seconds()}}
        for name, every in EVERY.items()
    },
    # A message is done when the row says what became of the job; whoever is busy takes none in advance.
    "task_acks_late": True,
    "worker_prefetch_multiplier": 1,
    "worker_cancel_long_running_tasks_on_connection_loss": False,
    # Later than that Redis delivers what nobody has acknowledged again; then the row is over, or runs.
    "broker_transport_options": {"visibility_timeout": 3600},
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,  # for ever
    "task_ignore_result": True,
    "task_serializer": "json",
    "accept_content": ["json"],
    "worker_send_task_events": True,
    "worker_redirect_stdouts": False,
    "worker_soft_shutdown_timeout": 20.0,
    "timezone": "UTC",
}


@dataclass(frozen=True, slots=True)
class House:
    """What a process needs open to run jobs."""

    db: Database
    hints: Hints
    handlers: Mapping[str, Handler]
    duties: Sequence[Duty] = ()
    enqueue_due: Callable[[], Awaitable[object]] | None = None  # accounts


Opening = Callable[[], AbstractAsyncContextManager[House]]
Trying = Callable[[], Coroutine[None, None, None]]


async def _nothing() -> None: ...


def make_app(broker_url: str, opening: Opening, trying: Trying = _nothing) -> Celery:
    """An app whose processes open, each for itself and not before it runs tasks, what `opening` opens.

    A worker that `trying` fails for ends at once, with one sentence and status 1.
    """
    app = Celery("postroom", broker=broker_url, set_as_current=False)
    app.conf.update(CONFIGURATION)
    process = _Process(lambda: _working(opening, Messages(app)))

    def begin(**_signal: object) -> None:
        try:
            asyncio.run(trying())
        except PostroomError as error:
            raise SystemExit(f"postroom: {error} [{error.code}]") from None

    def run(tenant: int, job: int) -> None:
        process.do(lambda works: works.run(TenantId(tenant), JobId(job)))

    def sweep() -> None:
        process.do(_Works.sweep)

    def duty() -> None:
        process.do(_Works.duty)

    def due() -> None:
        process.do(_Works.due)

    for name, work in ((RUN, run), (SWEEP, sweep), (DUTY, duty), (DUE, due)):
        app.task(name=name, lazy=False, shared=False, throws=(PostroomError,))(work)
    signals.worker_init.connect(begin, weak=False)
    signals.worker_process_init.connect(process.open, weak=False)
    signals.worker_process_shutdown.connect(process.close, weak=False)
    signals.worker_shutdown.connect(process.close, weak=False)
    return app


class Messages:
    """The broker of an app."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        transport = app.connection_for_write()  # which connects to nothing yet
        self._failures = (
            *transport.connection_errors,
            *transport.channel_errors,
            OperationalError,
            OSError,
        )

    def waiting(self) -> int:
        with self._translating(), self._app.connection_or_acquire() as connection:
            return int(connection.default_channel.queue_declare(JOBS).message_count)

    def send(self, addresses: Sequence[Address]) -> None:
        with self._translating(), self._app.producer_or_acquire() as producer:
            for address in addresses:
                self._app.send_task(
                    RUN, (address.tenant, address.job), queue=JOBS, producer=producer, retry=False
                )

    @contextmanager
    def _translating(self) -> Iterator[None]:
        try:
            yield
        except self._failures as error:
            raise BrokerAway("The broker of messages does not answer.") from error


@dataclass(frozen=True, slots=True)
class _Works:
    """What is open in a process that runs tasks."""

    house: House
    executor: Executor
    publisher: Publisher

    async def run(self, tenant: TenantId, job: JobId) -> None:
        self.publisher.taken()
        await self.executor.run_one(tenant, job)

    async def sweep(self) -> None:
        with suppress(asyncpg.UniqueViolationError):  # one like it came to wait in this moment: the next time
            await self.executor.reap()
        await self.publisher.publish()

    async def duty(self) -> None:
        await duties.do_one(self.house.db, self.house.duties)

    async def due(self) -> None:
        if self.house.enqueue_due is not None:
            await self.house.enqueue_due()


@asynccontextmanager
async def _working(opening: Opening, messages: Messages) -> AsyncIterator[_Works]:
    async with opening() as house:
        publisher = Publisher(house.db, house.hints, list(house.handlers), messages)
        executor = Executor(house.db, house.hints, house.handlers, workers=0)
        await duties.plan(house.db, house.duties)
        # Celery waits for tasks itself; what runs when it no longer does is handed back at once.
        async with beside(publisher.publishing()), executor.working(timedelta()):
            yield _Works(house, executor, publisher)


class _Process:
    """What is open in this process; after a fork the child opens its own."""

    def __init__(self, opening: Callable[[], AbstractAsyncContextManager[_Works]]) -> None:
        self._opening = opening
        self._lock = threading.Lock()
        self._pid = 0
        self._hosted: Hosted[_Works] | None = None

    def do(self, work: Callable[[_Works], Coroutine[Any, Any, None]]) -> None:
        self.open().run(work)

    def open(self, **_signal: object) -> Hosted[_Works]:
        """Begin to open, unless that was done; does not wait for it."""
        with self._lock:
            if self._hosted is None or self._pid != os.getpid() or not self._hosted.is_open:
                self._hosted, self._pid = Hosted(self._opening), os.getpid()
            return self._hosted

    def close(self, **_signal: object) -> None:
        with self._lock:
            if self._hosted is not None and self._pid == os.getpid():
                self._hosted.close()
