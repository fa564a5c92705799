"""Databases of many messages, in an embedded PostgreSQL with its own settings, but for fsync.

POSTROOM_BENCH_KEEP=FOLDER keeps the large ones there, and uses those that an earlier run has left: to fill
one takes longer than to measure it. They are brought to the present schema.
"""

import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from bench import multiply
from bench.multiply import Mailbox
from postroom.db.embedded.client import running
from postroom.db.migrate import migrate
from postroom.db.pool import Database, open_pool

KEEP = "POSTROOM_BENCH_KEEP"
DATABASES = "SELECT datname FROM pg_database"


@asynccontextmanager
async def cluster() -> AsyncIterator[str]:
    """The URL of a PostgreSQL for the length of the block."""
    kept = os.environ.get(KEEP)
    with nullcontext(kept) if kept else tempfile.TemporaryDirectory(prefix="postroom-bench-") as folder:
        async with running(Path(folder, "data"), ["fsync=off"]) as dsn:
            yield dsn


@dataclass(frozen=True, slots=True)
class Filled:
    db: Database
    owner: asyncpg.Connection
    mailboxes: Sequence[Mailbox]


@asynccontextmanager
async def filled(server: str, name: str, count: int, *, anew: bool = False) -> AsyncIterator[Filled]:
    """A database of its own with so many messages; one of this name that is there already, unless `anew`."""
    conn = await asyncpg.connect(server)
    try:
        if anew or name not in [row[0] for row in await conn.fetch(DATABASES)]:
            await conn.execute("DROP DATABASE IF EXISTS unfinished")
            await conn.execute("CREATE DATABASE unfinished")
            await _fill(_database(server, "unfinished"), count)
            await conn.execute(f"DROP DATABASE IF EXISTS {name}")
            await conn.execute(f"ALTER DATABASE unfinished RENAME TO {name}")
    finally:
        await conn.close()
    dsn = _database(server, name)
    await migrate(dsn)
    owner = await asyncpg.connect(dsn)
    try:
        async with open_pool(dsn, size=4) as db:
            yield Filled(db, owner, await multiply.mailboxes(db, owner))
    finally:
        await owner.close()


def _database(server: str, name: str) -> str:
    return server.replace("/postgres?", f"/{name}?")


async def _fill(dsn: str, count: int) -> None:
    await migrate(dsn)
    owner = await asyncpg.connect(dsn)
    try:
        async with open_pool(dsn, size=4) as db:
            began = time.perf_counter()
            await multiply.fill(db, owner, count)
            print(f"filled {count:,} in {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
    finally:
        await owner.close()
