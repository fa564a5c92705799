"""Executors that sync, and what their tests ask of jobs.

python -m sync.working DSN      is one of them, in a process that may be killed
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import structlog
from servers.dovecot import Dovecot
from servers.mailbox import other_client
from servers.tenants import ONE
from sync.mailboxes import connected, means

from postroom.accounts import store as accounts
from postroom.accounts.model import Account
from postroom.db.listen import open_hints
from postroom.db.pool import Connection, Database, open_pool
from postroom.executor.handlers import Work
from postroom.executor.run import executing
from postroom.ids import TenantId
from postroom.jobs import store
from postroom.jobs.model import Enqueued, Job
from postroom.sync.ask import request
from postroom.sync.run import Manner

EVERY = timedelta(minutes=15)


@asynccontextmanager
async def running(
    db: Database, *, polls: bool = False, pause: timedelta = timedelta(0)
) -> AsyncIterator[None]:
    manner = Manner(grace=timedelta(0), pause=pause)
    work = Work(replace(means(db), manner=manner), EVERY)
    async with (
        open_hints(db) as hints,
        executing(work, hints, workers=3, patience=timedelta(0), polls=polls),
    ):
        yield


async def wanted(db: Database, account: Account, *, full: bool = False) -> Enqueued:
    async with db.transaction(ONE) as conn:
        return await wanted_in(conn, account, full=full)


async def wanted_in(conn: Connection, account: Account, *, full: bool = False) -> Enqueued:
    return await request(conn, await accounts.get_by_id(conn, ONE, account.id), full=full)


async def until(db: Database, one: Enqueued, is_so: Callable[[Job], bool], tenant: TenantId = ONE) -> Job:
    async with asyncio.timeout(60):
        while True:
            async with db.transaction(tenant) as conn:
                found = await store.get_by_id(conn, tenant, one.id)
            if is_so(found):
                return found
            await asyncio.sleep(0.01)


def is_over(job: Job) -> bool:
    return job.finished_at is not None


async def filled(db: Database, dovecot: Dovecot, messages: int) -> Account:
    user = dovecot.user("jobs")
    with other_client(dovecot, user) as client:
        for number in range(messages):
            client.append("INBOX", b"Subject: mail %d\r\n\r\nhello %d" % (number, number))
    return await connected(db, dovecot, user)


async def until_jobs(db: Database, is_so: Callable[[list[Job]], bool]) -> list[Job]:
    async with asyncio.timeout(60):
        while not is_so(found := await all_jobs(db)):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return found


async def all_jobs(db: Database) -> list[Job]:
    async with db.transaction(ONE) as conn:
        return await store.page(conn, ONE, limit=100)


async def work(dsn: str) -> None:
    async with open_pool(dsn) as db, running(db):
        print("ready", flush=True)  # noqa: T201
        await asyncio.Event().wait()


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    asyncio.run(work(sys.argv[1]))
