"""Accounts whose servers tell of changes: what comes is there at once, whoever dies meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from servers.dovecot import Dovecot
from servers.mailbox import other_client
from servers.tenants import ONE
from sync.mailboxes import connected, copied, means

from postroom.accounts.model import Account
from postroom.db.listen import open_hints
from postroom.db.pool import Database
from postroom.executor.handlers import Work
from postroom.executor.run import executing
from postroom.providers.model import Means
from postroom.sync.store import watch

pytestmark = pytest.mark.usefixtures("tenants")

EVERY = timedelta(days=1)  # so nothing is found in its turn


@asynccontextmanager
async def watching(db: Database, every: timedelta = EVERY) -> AsyncIterator[None]:
    work = Work(means(db), every)
    async with (
        open_hints(db) as hints,
        executing(work, hints, workers=3, patience=timedelta(0), polls=True),
    ):
        yield


async def until(is_so: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(30):
        while not await is_so():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def watched(db: Database, account: Account, how: Means | None) -> None:
    async def is_so() -> bool:
        async with db.transaction(ONE) as conn:
            found = await watch.watched(conn, ONE, account.id)
        return (found and found.means) == how

    await until(is_so)


async def holds(db: Database, account: Account, messages: int) -> None:
    async def is_so() -> bool:
        return len(await copied(db, account)) == messages

    await until(is_so)


def put(server: Dovecot, user: str, number: int, folder: str = "INBOX") -> None:
    with other_client(server, user) as client:
        client.append(folder, b"Subject: mail %d\r\n\r\nhello %d" % (number, number))


async def test_what_comes_is_stored_as_soon_as_the_server_tells(db: Database, dovecot: Dovecot) -> None:
    user = dovecot.user("told")
    put(dovecot, user, 0)
    account = await connected(db, dovecot, user)
    async with watching(db):
        await watched(db, account, Means.NOTIFY)
        for number in range(1, 6):
            await asyncio.to_thread(put, dovecot, user, number)
            await holds(db, account, number + 1)
