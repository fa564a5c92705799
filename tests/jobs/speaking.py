"""Jobs that say things, for tests of those who listen."""

from datetime import timedelta

from servers.tenants import ONE

from postroom.db.pool import Database
from postroom.ids import TenantId
from postroom.jobs import store
from postroom.jobs.model import Job, Progress, State, Wish
from postroom.jobs.store import queue
from postroom.jobs.store.queue import End

LEASE = timedelta(minutes=5)
KIND = "test.speaks"


async def started(db: Database, tenant: TenantId = ONE, **more: object) -> Job:
    """A new job that runs."""
    async with db.transaction(tenant) as conn:
        (made,) = await store.enqueue(conn, tenant, [Wish(KIND, **more)])  # type: ignore[arg-type]
    async with db.unbound() as conn:
        (job,) = await queue.claim(conn, "machine 1 1", [KIND], 1, LEASE, tenant - 1)
    assert job.id == made.id
    return job


async def say(db: Database, job: Job, *messages: str) -> list[int]:
    """In one transaction."""
    async with db.transaction(job.tenant_id) as conn:
        return [await store.say(conn, job, message, data={"job": job.id}) for message in messages]


async def get_on(db: Database, job: Job, processed: int, found: int = 0) -> None:
    async with db.transaction(job.tenant_id) as conn:
        await store.progress(conn, job, Progress(processed, 100, found))


async def end(db: Database, job: Job, state: State = State.COMPLETED, **more: object) -> None:
    async with db.unbound() as conn:
        assert await queue.finish(conn, [End(job, state, **more)])  # type: ignore[arg-type]


async def said(db: Database, job: Job) -> list[int]:
    """The numbers of all that it said."""
    async with db.transaction(job.tenant_id) as conn:
        return [event.id for event in await store.events(conn, job.tenant_id, job.id, limit=100_000)]
