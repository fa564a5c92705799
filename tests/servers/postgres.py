"""One PostgreSQL for the whole run; every test gets its own copy of a migrated database."""

import asyncio
import fcntl
import shutil
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import asyncpg
import pytest

from postroom.db.embedded.client import running
from postroom.db.migrate import migrate
from postroom.db.pool import Database, open_pool

TEMPLATE = "template_postroom"
FAST = [
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "autovacuum=off",
    "max_connections=200",
]
NUMBERS = count(1)


def named(dsn: str, database: str) -> str:
    """The same server, another database."""
    return dsn.replace("@/postgres?", f"@/{database}?")


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a server's maintenance database. A kill -9 of the tests does not leave it behind."""
    folder = tempfile.mkdtemp(prefix="postroom-tests-")
    ready: Future[str] = Future()
    stop = threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(_hold(Path(folder), ready, stop)))
    thread.start()
    try:
        yield ready.result()
    finally:
        stop.set()
        thread.join()
        with Path(folder, "postgres", "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH)  # held until nothing of the server is left
        shutil.rmtree(folder)


async def _hold(folder: Path, ready: "Future[str]", stop: threading.Event) -> None:
    try:
        async with running(folder, FAST) as dsn:
            conn = await asyncpg.connect(dsn)
            await conn.execute(f"CREATE DATABASE {TEMPLATE}")
            await conn.close()
            await migrate(named(dsn, TEMPLATE))
            ready.set_result(dsn)
            await asyncio.to_thread(stop.wait)
    except BaseException as error:
        ready.set_exception(error)
        raise


@pytest.fixture
async def empty_dsn(postgres: str) -> AsyncIterator[str]:
    """The URL of a fresh database without our schema."""
    async with copied(postgres, "template1") as dsn:
        yield dsn


@pytest.fixture
async def dsn(postgres: str) -> AsyncIterator[str]:
    """The URL of a fresh migrated database."""
    async with copied(postgres) as dsn:
        yield dsn


@asynccontextmanager
async def copied(postgres: str, template: str = TEMPLATE) -> AsyncIterator[str]:
    """The URL of a fresh database, for as long as the block runs."""
    name = f"test_{next(NUMBERS)}"
    conn = await asyncpg.connect(postgres)
    await conn.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
    try:
        yield named(postgres, name)
    finally:
        await conn.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await conn.close()


@pytest.fixture
async def db(dsn: str) -> AsyncIterator[Database]:
    """A pool on a fresh migrated database."""
    async with open_pool(dsn) as database:
        yield database


@pytest.fixture
async def owners_dsn(empty_dsn: str) -> AsyncIterator[str]:
    """The URL of a database whose owner is no superuser and may make no roles: a hosted PostgreSQL."""
    conn = await asyncpg.connect(empty_dsn)
    database = await conn.fetchval("SELECT current_database()")
    owner = f"owner_of_{database}"
    await conn.execute(f"CREATE ROLE {owner} LOGIN; ALTER DATABASE {database} OWNER TO {owner}")
    yield empty_dsn.replace("//postroom@", f"//{owner}@")
    await conn.execute(f"REASSIGN OWNED BY {owner} TO postroom; DROP OWNED BY {owner}; DROP ROLE {owner}")
    await conn.close()
