"""The schedule: what a hundred thousand accounts cost, in the due query and in the memory of a process."""

import asyncio
import resource
import tempfile
import time
from datetime import timedelta
from pathlib import Path

import asyncpg

from bench.report import Table, spread
from postroom.db.embedded.client import running
from postroom.db.migrate import migrate
from postroom.db.pool import Database, open_pool
from postroom.sync.due import STEP, enqueue_due

RUNS = 200
EVERY = timedelta(minutes=15)
MAKE = """
    INSERT INTO postroom.people_tenant (public_id, name)
    SELECT gen_random_uuid(), 'tenant ' || n FROM generate_series(1, $1 / 100) AS n
"""
FILL = """
    INSERT INTO postroom.accounts_account (tenant_id, public_id, address, provider, settings, next_sync_at)
    SELECT 1 + n % ($1 / 100), gen_random_uuid(), n || '@bench.example', 'imap', '{}',
           now() + random() * interval '15 min'
      FROM generate_series(1, $1) AS n
"""
SOME = """
    UPDATE postroom.accounts_account SET next_sync_at = now() - interval '1 s'
     WHERE id IN (SELECT 1 + (random() * 99999)::int FROM generate_series(1, $1))
"""
OVER = "DELETE FROM postroom.jobs_job"


def run(accounts: int) -> Table:
    return asyncio.run(_run(accounts))


async def _run(accounts: int) -> Table:
    with tempfile.TemporaryDirectory() as folder:
        async with running(Path(folder, "data"), ["fsync=off"]) as dsn:
            await migrate(dsn)
            conn = await asyncpg.connect(dsn)
            async with open_pool(dsn) as db:
                await enqueue_due(db, EVERY)  # planned while there was nothing, as at a first start
                before = _memory()
                await conn.execute(MAKE.replace("$1", str(accounts)))
                await conn.execute(FILL.replace("$1", str(accounts)))
                idle: list[float] = []
                some: list[float] = []
                full: list[float] = []
                for _ in range(RUNS):
                    idle.append(await _timed(db))
                for count, times in ((9, some), (STEP, full)):
                    for _ in range(RUNS // 4):
                        await conn.execute(SOME.replace("$1", str(count)))
                        times.append(await _timed(db))
                        await conn.execute(OVER)
                grown = _memory() - before
            await conn.close()
    table = Table(f"The schedule, {accounts:,} accounts", ["one look of one process", "ms"])
    table.add("none is due", spread(idle))
    table.add("9 are due, and become jobs", spread(some))
    table.add(f"{STEP} are due, and become jobs", spread(full))
    table.note(f"The process has grown by {grown:,} kB; the goal is 5 ms and nothing for each account.")
    return table


async def _timed(db: Database) -> float:
    began = time.perf_counter()
    await enqueue_due(db, EVERY)
    return 1000 * (time.perf_counter() - began)


def _memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
