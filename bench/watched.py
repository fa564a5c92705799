"""Very many watched mailboxes in one process: how soon, in how much memory, at what cost when idle.

A lab server in a process of its own serves the accounts, five mails each, and tells of changes by NOTIFY.
`postroom executor`, a process of its own, has copied a hundred of them, and the rest counts as copied
(`bench.clones` says how). It is started anew, and the clock stops when all are watched, for which it looks at
each of them once, in a session that stays. Then, after a minute of rest, memory is read, and the processor's
time of the next two minutes: ours, PostgreSQL's, the lab's. In the end a mail comes into twenty mailboxes,
one after the other: how long until it is stored. Accounts are polled once an hour.
"""

import asyncio
import os
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import asyncpg

from bench import clones
from bench.counting import processor
from bench.report import Table
from postroom.accounts import credentials
from postroom.accounts import store as accounts
from postroom.accounts.model import Scope
from postroom.cli.installation import Installation, unlocked
from postroom.db.embedded.client import running as database
from postroom.ids import new_public_id
from postroom.imap import commands
from postroom.imap.aio import connect as imap
from postroom.lab.accounts import address
from postroom.settings import Settings

COMMAND = (sys.executable, "-m", "postroom.cli")
HOUR = "60"  # minutes
REST, IDLE = 60.0, 120.0  # seconds
ARRIVALS = 20
REAL = 100  # accounts that are copied
TOGETHER = 500  # accounts that one transaction connects
WATCHED = "SELECT count(*) FROM postroom.sync_watch WHERE means IS NOT NULL"
COPIED = "SELECT count(*) FROM postroom.accounts_account WHERE compared_at IS NOT NULL"
HOLDS = """
    SELECT count(*) FROM postroom.mail_message m JOIN postroom.accounts_account a ON a.id = m.account_id
     WHERE a.address = $1
"""
MEMORY_GOAL, CPU_GOAL, START_GOAL = 1e9, 5.0, 60.0  # bytes, percent of a core, seconds


@dataclass(frozen=True, slots=True)
class Lab:
    port: int
    password: str
    pid: int


@dataclass(slots=True)
class Found:
    seconds: float  # until all were watched
    spent: list[float]  # processor's until then: ours, PostgreSQL's, the lab's
    memory: int  # bytes
    ours: float  # percent of a core
    postgres: float
    lab: float
    arrivals: list[float]  # seconds


def run(count: int) -> Table:
    with tempfile.TemporaryDirectory(prefix="postroom-bench-") as folder:
        found = asyncio.run(_run(count, Path(folder)))
    table = Table(f"{count:,} watched mailboxes in one process", ["what", "measured", "goal"])
    each = found.memory / count / 1000
    table.add("until all were watched", f"{found.seconds:.0f} s", f"{START_GOAL:g} s")
    us = [f"{1e6 * one / count:,.0f}" for one in found.spent]
    table.add("processor us for each until then: ours, PostgreSQL's, the lab server's", "; ".join(us), "")
    table.add(
        "memory of the process",
        f"{found.memory / 1e6:,.0f} MB, {each:.0f} KB each",
        f"{MEMORY_GOAL / 1e6:,.0f} MB",
    )
    table.add("processor when idle, of a core", f"{found.ours:.1f} %", f"{CPU_GOAL:g} %")
    table.add("PostgreSQL's; the lab server's", f"{found.postgres:.1f} %; {found.lab:.1f} %", "")
    times = sorted(1000 * each for each in found.arrivals)
    table.add(
        "from a mail's delivery until it is stored",
        f"{times[len(times) // 2]:.0f} ms (at most {times[-1]:.0f})",
        "",
    )
    return table


async def _run(count: int, home: Path) -> Found:
    async with _lab(count) as lab, database(home) as dsn:
        conn = await asyncpg.connect(dsn)
        try:
            await _prepared(conn, home, lab, count)
            return await _watched(conn, home, lab, count)
        finally:
            await conn.close()


async def _prepared(conn: asyncpg.Connection, home: Path, lab: Lab, count: int) -> None:
    began = time.perf_counter()
    async with unlocked(Settings(data=home)) as house:
        await _connected(house, lab, range(min(REAL, count)))
        async with executor(home, workers=8):
            await until(conn, COPIED, min(REAL, count))
        if count > REAL:
            await _connected(house, lab, range(REAL, count))
            await clones.cloned(house, conn, address(0), lab.password)
    await conn.execute("VACUUM ANALYZE")
    print(f"prepared in {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)


async def _watched(conn: asyncpg.Connection, home: Path, lab: Lab, count: int) -> Found:
    backend = await conn.fetchval("SELECT pg_backend_pid()")
    server = _parent(backend)
    async with executor(home, workers=3) as pid:
        began, start = time.perf_counter(), _spent(pid, server, lab)
        await until(conn, WATCHED, count)
        seconds = time.perf_counter() - began
        spent = _spent(pid, server, lab, since=start)
        await asyncio.sleep(REST)
        before = _spent(pid, server, lab)
        memory = _memory(pid)
        await asyncio.sleep(IDLE)
        ours, postgres, labs = (100 * one / IDLE for one in _spent(pid, server, lab, since=before))
        arrivals = [
            await _arrival(conn, lab, number) for number in random.Random(1).sample(range(count), ARRIVALS)
        ]
    return Found(seconds, spent, memory, ours, postgres, labs, arrivals)


def _spent(ours: int, postgres: int, lab: Lab, since: Sequence[float] = (0.0, 0.0, 0.0)) -> list[float]:
    """The processor's seconds of the three."""
    now = [processor(one) for one in (ours, postgres, lab.pid)]
    return [b - a for a, b in zip(since, now, strict=True)]


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


async def _arrival(conn: asyncpg.Connection, lab: Lab, number: int) -> float:
    before = await conn.fetchval(HOLDS, address(number))
    async with imap("127.0.0.1", lab.port) as session:
        await session.log_in(address(number), lab.password)
        await session.run(commands.append(b"INBOX", b"Subject: arrival\r\n\r\nhello\r\n"))
        began = time.perf_counter()
    while await conn.fetchval(HOLDS, address(number)) == before:  # noqa: ASYNC110
        await asyncio.sleep(0.002)
    return time.perf_counter() - began


async def until(conn: asyncpg.Connection, question: str, count: int) -> None:
    last = 0
    while (found := await conn.fetchval(question)) < count:
        if found // 1000 > last // 1000:
            print(f"{found:,}", file=sys.stderr, flush=True)
        last = found
        await asyncio.sleep(0.1)


def _memory(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("Pss:")).split()[1])


async def _connected(house: Installation, lab: Lab, numbers: range) -> None:
    for start in range(numbers.start, numbers.stop, TOGETHER):
        async with house.database.transaction(house.tenant) as conn:
            for number in range(start, min(start + TOGETHER, numbers.stop)):
                await connect(conn, house, lab, address(number))


async def connect(conn: asyncpg.Connection, house: Installation, lab: Lab, name: str) -> None:
    settings = {"host": "127.0.0.1", "port": lab.port, "security": "plain", "username": name}
    public_id = new_public_id()
    await accounts.add(
        conn,
        house.tenant,
        public_id,
        address=name,
        provider="imap",
        settings=settings,
        secret=credentials.seal(house.vault, house.tenant, public_id, lab.password),
        scope=Scope(),
        poll_every=timedelta(hours=1),
    )


@asynccontextmanager
async def _lab(count: int) -> AsyncIterator[Lab]:
    words = ["lab", "imap", "--accounts", str(count), "--offer", "qresync", "--offer", "notify"]
    async with _process(*words) as (process, line):
        where, password = line.split()[0], line.split()[-2:]
        yield Lab(int(where.rpartition(":")[2]), " ".join(password), process.pid)


@asynccontextmanager
async def executor(home: Path, workers: int) -> AsyncIterator[int]:
    async with _process("executor", "--data", str(home), "--workers", str(workers)) as (process, _):
        yield process.pid


@asynccontextmanager
async def _process(*words: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """A command of ours, once it has said its first line."""
    environment = os.environ | {
        "POSTROOM_EMAIL_SYNC_INTERVAL_MINUTES": HOUR,
        "POSTROOM_HOST_CONNECTIONS": "100000",
    }
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *COMMAND, *words, env=environment, stdout=pipe, stderr=asyncio.subprocess.DEVNULL
    )
    assert process.stdout is not None
    line = (await process.stdout.readline()).decode()
    assert line, "it has ended"
    try:
        yield process, line
    finally:
        process.terminate()
        await process.communicate()
