"""The bench on which trials run: one for a module, with an event loop of its own."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import asyncpg
import pytest
import pytest_asyncio
from crash.bench import Bench, Mode
from crash.interrupts import Interrupts
from servers.postgres import TEMPLATE, named

from postroom.lab.server import serve

DATABASE = "crash"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bench(postgres: str) -> AsyncIterator[Bench]:
    """A migrated database and three lab servers."""
    async with AsyncExitStack() as stack:
        maintenance = await asyncpg.connect(postgres)
        stack.push_async_callback(maintenance.close)
        await maintenance.execute(f"CREATE DATABASE {DATABASE} TEMPLATE {TEMPLATE} STRATEGY file_copy")
        stack.push_async_callback(maintenance.execute, f"DROP DATABASE {DATABASE} WITH (FORCE)")
        dsn = named(postgres, DATABASE)
        observer = await asyncpg.connect(dsn)
        stack.push_async_callback(observer.close)
        servers = {
            mode: await stack.enter_async_context(serve(messages=0, folder_count=1, offers=mode))
            for mode in Mode
        }
        bench = Bench(dsn, servers, Interrupts(stack.enter_context(pytest.MonkeyPatch.context())), observer)
        stack.push_async_callback(bench.close)
        yield bench
