"""A round over many accounts in which nothing has changed: postroom against `mbsync -a`.

Each account has 300 small mails in folders of its own on one real Dovecot, and was copied by both sides
before. Ours is measured twice. `postroom sync` is the whole command, server start and all; it logs in to each
account. A warm executor is told that all accounts are due, and takes them as jobs, as it does all day: its
time is that from the first job to the last account's row. It has kept its sessions since the round before, as
it does of accounts that are polled within five minutes. Both read the folders' numbers, and keep leases,
pauses between logins, account rows and the log. mbsync logs in to each account, opens each folder and
compares all flags, one account after another. No TLS and no COMPRESS on both sides; ratios are taken pair by
pair.
"""

import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import asyncpg
from servers.dovecot import Dovecot

from bench.copies import MAILS, Places, prepared, synced
from bench.counting import listening, processor, statements
from bench.first_sync import POSTROOM
from bench.report import Table, ratio, spread
from postroom.db.embedded.client import running as database

OFTEN = "4.8"  # minutes: executors keep sessions of what is polled within five; the rounds end before
ALL_DUE = "UPDATE postroom.accounts_account SET next_sync_at = now() - interval '1 s'"
WAITING = "SELECT count(*) FROM postroom.jobs_job WHERE state IN ('pending', 'running')"
UNSETTLED = "SELECT count(*) FROM postroom.search_fresh"
MOVE = """
    UPDATE postroom.accounts_account SET settings = jsonb_set(settings, '{port}', to_jsonb($2::int))
     WHERE address = $1
"""
SYNCED = """
    SELECT count(*) FILTER (WHERE last_sync_at >= $1 AND last_sync_status = 'success'),
           extract(epoch FROM max(last_sync_at) - $1)::float8
      FROM postroom.accounts_account
"""


@dataclass(slots=True)
class Spent:
    """One round: seconds by the clock, and by the processor in each program."""

    seconds: float
    us: float
    dovecot: float
    postgres: float | None = None


def run(server: Dovecot, accounts: int, runs: int) -> Table:
    """So many pairs of each kind."""
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="postroom-bench-")))
        return asyncio.run(measured(prepared(server, home, accounts), runs))


async def measured(places: Places, runs: int) -> Table:
    commands, polls = [], []
    for _ in range(runs):
        commands.append((_timed(places, places.mirror.round), _timed(places, partial(synced, places))))
    turns = await counted_turns(places)
    async with executing(places) as executor:
        await executor.round()  # statements are prepared, pages cached
        for _ in range(runs):
            polls.append((_timed(places, places.mirror.round), await executor.round()))
        told = await executor.counted()
    return _table(len(places.users), runs, commands, polls, [turns, told])


def _timed(places: Places, command: Callable[[], float]) -> Spent:
    began, dovecot = time.perf_counter(), places.dovecot()
    spent = command()
    return Spent(time.perf_counter() - began, spent, places.dovecot() - dovecot)


@dataclass(frozen=True, slots=True)
class Executor:
    """`postroom executor`, a process of its own, and a way to look at its database."""

    places: Places
    process: asyncio.subprocess.Process
    conn: asyncpg.Connection

    async def round(self) -> Spent:
        """All accounts fall due together. That somebody looks for them only every second is no work."""
        places, conn = self.places, self.conn
        us, dovecot, postgres = processor(self.process.pid), places.dovecot(), places.postgres()
        now = await conn.fetchval("SELECT clock_timestamp()")
        await conn.execute(ALL_DUE)
        while not await conn.fetchval(WAITING):  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        began = await conn.fetchval("SELECT extract(epoch FROM clock_timestamp() - $1)::float8", now)
        while await conn.fetchval(WAITING):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        good, ended = await conn.fetchrow(SYNCED, now) or (0, 0.0)
        assert good == len(places.users), f"{good} of {len(places.users)} accounts were synced"
        return Spent(
            ended - began,
            processor(self.process.pid) - us,
            places.dovecot() - dovecot,
            places.postgres() - postgres,
        )

    async def counted(self) -> str:
        """A round in which PostgreSQL logs every statement."""
        log = self.places.data / "postgres" / "log"
        await self._logging("all")
        before = log.stat().st_size
        await self.round()
        await self._logging("none")
        with log.open("rb") as file:
            file.seek(before)
            said, commits = statements(file.read())
        count = len(self.places.users)
        return f"A poll takes {said / count:.1f} statements, each a round trip, {commits / count:.1f} COMMIT."

    async def _logging(self, which: str) -> None:
        await self.conn.execute(f"ALTER SYSTEM SET log_statement = '{which}'")
        await self.conn.execute("SELECT pg_reload_conf()")
        await asyncio.sleep(0.5)


@asynccontextmanager
async def executing(places: Places) -> AsyncIterator[Executor]:
    command = [*POSTROOM, "executor", "--data", str(places.data)]
    environment = os.environ | {"POSTROOM_EMAIL_SYNC_INTERVAL_MINUTES": OFTEN}
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, *command, env=environment, stdout=pipe)
    assert process.stdout is not None
    try:
        async with database(places.data) as dsn:
            assert await process.stdout.readline(), "the executor has ended"
            conn = await asyncpg.connect(dsn)
            while await conn.fetchval(UNSETTLED):  # noqa: ASYNC110  what first syncs have left to do
                await asyncio.sleep(1)
            await conn.execute("VACUUM ANALYZE")
            yield Executor(places, process, conn)
            await conn.close()
    finally:
        process.terminate()
        await process.communicate()


async def counted_turns(places: Places) -> str:
    """What both sides say to the server, for one account that is reached through a proxy."""
    server, user = places.server, places.users[0]
    async with listening(server.host, server.port) as (port, ours):
        await _moved(places, user, port)
        await asyncio.to_thread(synced, places, f"{user}@example.org")
        await _moved(places, user, server.port)
    rc = places.mirror.home / "mbsyncrc"
    text = rc.read_text()
    async with listening(server.host, server.port) as (port, theirs):
        rc.write_text(text.replace(f"Port {server.port}", f"Port {port}", 1))
        await asyncio.to_thread(places.mirror.round, user)
    rc.write_text(text)
    return (
        f"For an account postroom sends {ours.commands} commands and waits {ours.turns} times; "
        f"mbsync sends {theirs.commands} and waits {theirs.turns} times for the server."
    )


async def _moved(places: Places, user: str, port: int) -> None:
    """Let an account be reached by another port."""
    async with database(places.data) as dsn:
        conn = await asyncpg.connect(dsn)
        await conn.execute(MOVE, f"{user}@example.org", port)
        await conn.close()


def _table(
    accounts: int,
    runs: int,
    commands: Sequence[tuple[Spent, Spent]],
    polls: Sequence[tuple[Spent, Spent]],
    notes: Sequence[str],
) -> Table:
    table = Table(
        f"A round over {accounts:,} accounts without changes, {MAILS} messages each, {runs} pairs of each",
        [
            *("", "seconds", "times as fast as mbsync", "processor ms an account: the program"),
            *("Dovecot", "PostgreSQL"),
        ],
    )
    theirs = [pair[0] for pair in [*commands, *polls]]
    table.add("mbsync -a", _seconds(theirs), "1", *_processor(theirs, accounts))
    for name, pairs in (("postroom sync", commands), ("polls of a warm executor", polls)):
        ours = [pair[1] for pair in pairs]
        times = statistics.median(their.seconds / our.seconds for their, our in pairs)
        table.add(name, _seconds(ours), ratio(times, goal=1), *_processor(ours, accounts))
    for note in notes:
        table.note(note)
    return table


def _seconds(rounds: Sequence[Spent]) -> str:
    return spread([one.seconds for one in rounds])


def _processor(rounds: Sequence[Spent], accounts: int) -> list[str]:
    def each(values: Sequence[float]) -> str:
        return spread([1000 * value / accounts for value in values], 1) if values else "-"

    return [
        each([one.us for one in rounds]),
        each([one.dovecot for one in rounds]),
        each([one.postgres for one in rounds if one.postgres is not None]),
    ]
