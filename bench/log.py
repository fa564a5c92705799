"""The log: what an event costs where mail is stored, and how fast log and exports are checked."""

import asyncio
import io
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from bench.report import Table, ratio, spread
from postroom.db.embedded.client import running
from postroom.db.migrate import migrate
from postroom.db.pool import Database, open_pool
from postroom.events import log
from postroom.events.check import check
from postroom.events.export import export
from postroom.events.model import Event, Stream
from postroom.events.seal import seal
from postroom.events.verify import verify
from postroom.ids import TenantId, new_public_id
from postroom.vault.sign import Signer

TENANT = TenantId(1)
SIGNER = Signer(bytes(32))
ACCOUNTS = 10
BATCH = 100  # messages that one transaction of a first sync stores
RUNS = 5
TICKS = 100  # of /proc, a second

MAKE = "INSERT INTO postroom.people_tenant (public_id, name) VALUES (gen_random_uuid(), 'bench')"
BACKEND = "SELECT pg_backend_pid()"


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one event."""

    wall: float
    ours: float  # processor time of this process
    theirs: float  # and of PostgreSQL's

    def __str__(self) -> str:
        return f"{self.ours * 1e6:.1f} us here, {self.theirs * 1e6:.1f} us in PostgreSQL"


def run(events: int) -> Table:
    """A log of so many events over ten accounts."""
    return asyncio.run(_run(events))


async def _run(events: int) -> Table:
    with tempfile.TemporaryDirectory() as folder:
        async with running(Path(folder, "data"), ["fsync=off"]) as dsn:
            await migrate(dsn)
            conn = await asyncpg.connect(dsn)
            await conn.execute(MAKE)
            await conn.close()
            async with open_pool(dsn, size=1) as db:
                return await _measured(db, events)


async def _measured(db: Database, events: int) -> Table:
    table = Table(f"The log, {events:,} events", ["", "events a second", "processor time of one event"])
    appended = await _cost(db, events, lambda: append(db, events))
    table.add(f"append, {BATCH} in a transaction", f"{1 / appended.wall:,.0f}", str(appended))
    await seal(db, SIGNER, TENANT)
    verified = [await _cost(db, events, lambda: _verify(db)) for _ in range(RUNS)]
    rates = [1 / cost.wall for cost in verified]
    table.add("`postroom events verify`", spread(rates, 0), str(min(verified, key=lambda cost: cost.wall)))
    file = io.BytesIO()
    await export(db, TENANT, file)
    began = time.perf_counter()
    assert check(io.StringIO(file.getvalue().decode()), [SIGNER.public]).findings == []
    table.add("`check.py`", f"{events / (time.perf_counter() - began):,.0f}", "")
    table.note(
        f"Verifying against 50,000 events a second: {ratio(min(rates) / 50_000, goal=1)}, the slowest run."
    )
    return table


async def _cost(db: Database, events: int, work: Callable[[], Awaitable[None]]) -> Cost:
    async with db.transaction(TENANT) as conn:
        backend = int(await conn.fetchval(BACKEND))
    wall, ours, theirs = time.perf_counter(), time.process_time(), _used(backend)
    await work()
    theirs = _used(backend) - theirs
    return Cost((time.perf_counter() - wall) / events, (time.process_time() - ours) / events, theirs / events)


def _used(process: int) -> float:
    """Seconds of processor time."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


async def append(db: Database, events: int) -> None:
    folder = str(new_public_id())
    for number in range(events // BATCH):
        batch = [
            Event(
                "mail.added",
                {"message": str(new_public_id()), "folder": folder, "flags": ["\\Seen"], "backfill": True},
            )
            for _ in range(BATCH)
        ]
        async with db.transaction(TENANT) as conn:
            await log.append(conn, TENANT, Stream(1 + number % ACCOUNTS), batch)


async def _verify(db: Database) -> None:
    found = await verify(db, TENANT, [SIGNER.public])
    assert found.findings == []
