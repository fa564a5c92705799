"""Three job queues behind one face, each in a database of its own: ours, Procrastinate, PgQueuer.

Each with the settings that drained fastest in a trial on the same machine, in one process of one event loop.
"""

import asyncio
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any, Self

import asyncpg
import procrastinate
from pgqueuer import PgQueuer
from pgqueuer.adapters.drivers.asyncpg import AsyncpgPoolDriver
from pgqueuer.domain.models import Job
from pgqueuer.queries import Queries

from postroom.db.listen import open_hints
from postroom.db.migrate import migrate
from postroom.db.pool import open_pool
from postroom.ids import TenantId
from postroom.jobs import store
from postroom.jobs.attempt import Attempt
from postroom.jobs.model import Wish
from postroom.jobs.run import Executor

TENANT = TenantId(1)
PATIENCE = timedelta(seconds=30)
CONNECTIONS = 20

Ran = Callable[[int], None]
"""Told of each job by its number, in the first line of its handler."""

MAKE_TENANT = "INSERT INTO postroom.people_tenant (public_id, name) VALUES (gen_random_uuid(), 'bench')"
LEFT = {
    "postroom": "SELECT EXISTS (SELECT FROM postroom.jobs_job WHERE state IN ('pending', 'running'))",
    "Procrastinate": "SELECT EXISTS (SELECT FROM procrastinate_jobs WHERE status IN ('todo', 'doing'))",
    "PgQueuer": "SELECT EXISTS (SELECT FROM pgqueuer)",
}


class Queue(AsyncExitStack):
    """One side, for as long as its block runs."""

    settings: str

    def __init__(self, dsn: str) -> None:
        super().__init__()
        self.dsn = dsn

    @abstractmethod
    async def enqueue(self, number: int) -> None:
        """One job, in a transaction of its own."""

    @abstractmethod
    async def enqueue_all(self, numbers: Sequence[int], *, one_key: bool = False) -> None:
        """All in one call; with `one_key` no two of them may run at once."""

    @abstractmethod
    def working(self, ran: Ran) -> AbstractAsyncContextManager[None]:
        """Run jobs for as long as the block runs."""


class Postroom(Queue):
    settings = f"200 workers, pool of {CONNECTIONS}"

    async def __aenter__(self) -> Self:
        self.db = await self.enter_async_context(open_pool(self.dsn, size=CONNECTIONS))
        self.hints = await self.enter_async_context(open_hints(self.db))
        return self

    async def enqueue(self, number: int) -> None:
        async with self.db.transaction(TENANT) as conn:
            await store.enqueue(conn, TENANT, [Wish("bench.free", {"number": number})])

    async def enqueue_all(self, numbers: Sequence[int], *, one_key: bool = False) -> None:
        key = "one" if one_key else None
        async with self.db.transaction(TENANT) as conn:
            await store.enqueue(conn, TENANT, [Wish("bench.free", {"number": n}, key=key) for n in numbers])

    @asynccontextmanager
    async def working(self, ran: Ran) -> AsyncIterator[None]:
        async def handle(attempt: Attempt) -> None:
            ran(attempt.job.args["number"])

        async with Executor(self.db, self.hints, {"bench.free": handle}, workers=200).working(PATIENCE):
            yield


class Procrastinate(Queue):
    settings = f"concurrency 20, pool of {CONNECTIONS}; one job a query is all it offers"

    async def __aenter__(self) -> Self:
        connector = procrastinate.PsycopgConnector(conninfo=self.dsn, min_size=4, max_size=CONNECTIONS)
        self.app = procrastinate.App(connector=connector)
        self.ran: Ran = lambda _number: None
        self.task = self.app.task(name="free")(self._handle)
        await self.enter_async_context(self.app.open_async())
        return self

    async def _handle(self, number: int) -> None:
        self.ran(number)

    async def enqueue(self, number: int) -> None:
        await self.task.defer_async(number=number)

    async def enqueue_all(self, numbers: Sequence[int], *, one_key: bool = False) -> None:
        wanted = self.task.configure(lock="one" if one_key else None)
        args: list[dict[str, Any]] = [{"number": number} for number in numbers]
        await wanted.batch_defer_async(*args)

    @asynccontextmanager
    async def working(self, ran: Ran) -> AsyncIterator[None]:
        self.ran = ran
        work = asyncio.create_task(
            self.app.run_worker_async(concurrency=20, install_signal_handlers=False, delete_jobs="never")
        )
        try:
            yield
        finally:
            work.cancel()
            await asyncio.wait([work])


class PgQueuerSide(Queue):
    settings = f"batches of 200, asyncpg pool of {CONNECTIONS}, tables logged"

    async def __aenter__(self) -> Self:
        self.pool = await self.enter_async_context(
            asyncpg.create_pool(self.dsn, min_size=4, max_size=CONNECTIONS)
        )
        self.queries = Queries(AsyncpgPoolDriver(self.pool))
        return self

    async def enqueue(self, number: int) -> None:
        await self.queries.enqueue("free", str(number).encode())

    async def enqueue_all(self, numbers: Sequence[int], *, one_key: bool = False) -> None:
        payloads: list[bytes | None] = [str(number).encode() for number in numbers]
        names = ["one" if one_key else "free"] * len(payloads)
        await self.queries.enqueue(names, payloads, [0] * len(payloads))

    @asynccontextmanager
    async def working(self, ran: Ran) -> AsyncIterator[None]:
        async def handle(job: Job) -> None:
            ran(int(job.payload or b""))

        worker = PgQueuer(AsyncpgPoolDriver(self.pool))
        worker.entrypoint("free")(handle)
        # It has no locks by key; a kind of job of which one may run at a time is what comes nearest.
        worker.entrypoint("one", concurrency_limit=1)(handle)
        work = asyncio.create_task(worker.run(batch_size=200))
        try:
            yield
        finally:
            worker.shutdown.set()
            await asyncio.wait([work])


SIDES: Mapping[str, type[Queue]] = {
    "postroom": Postroom,
    "Procrastinate": Procrastinate,
    "PgQueuer": PgQueuerSide,
}


async def install(name: str, dsn: str) -> None:
    """What a side needs in an empty database."""
    if name == "postroom":
        await migrate(dsn)
        conn = await asyncpg.connect(dsn)
        await conn.execute(MAKE_TENANT)
        await conn.close()
    elif name == "Procrastinate":
        app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=dsn))
        async with app.open_async():
            await app.schema_manager.apply_schema_async()
    else:
        pool = await asyncpg.create_pool(dsn, min_size=1, max_size=2)
        await Queries(AsyncpgPoolDriver(pool)).install()
        await pool.close()
