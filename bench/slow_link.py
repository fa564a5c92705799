"""A first sync over a slow link, whole commands: postroom against mbsync.

    Dovecot ── servers.link: 100 Mbit/s, a process of its own ──> postroom sync, or mbsync

Each command begins with nothing and has a link of its own, which counts the bytes that it carries. COMPRESS
is offered. mbsync always uses it, unless it is told not to: both are measured, and so are ours, which finds
out by itself, and ours told never to use it.

Of ours there are two times: until every message is listed and the index holds its texts, as asked of
PostgreSQL all the while, and until the command has ended, with everything stored. mbsync has one: its command
ends when all files are written; nothing is searchable then.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import asyncpg
from servers.dovecot import Dovecot
from servers.fetch import SERVERS, fetch
from servers.link import Link, link

from bench.first_sync import POSTROOM, mbsync, timed
from bench.ours import ended
from bench.report import Table, ratio, spread

LOOK = 0.02  # seconds between two questions
GOAL = 3.0

SEARCHABLE = """
SELECT (SELECT count(*) FROM postroom.mail_placement),
       (SELECT count(*) FROM postroom.mail_message AS message
        WHERE NOT EXISTS (SELECT FROM postroom.search_document AS document
                          WHERE document.tenant_id = message.tenant_id AND document.message_id = message.id))
"""


@dataclass(frozen=True, slots=True)
class Copied:
    seconds: float
    searchable: float  # seconds until all texts were; mbsync's never are
    carried: int  # bytes over the link, both directions


def run(
    server: Dovecot, user: str, messages: int, runs: int, *, megabits: float = 100.0, delay: float = 0.0
) -> Table:
    """Alternating runs, each from nothing; ratios are taken run by run."""
    ways: dict[str, Callable[[Link], Copied]] = {
        "postroom sync": lambda at: _ours(server, user, messages, at, "auto"),
        "postroom sync, told not to compress": lambda at: _ours(server, user, messages, at, "never"),
        "mbsync": lambda at: _mirror(server, user, at, compress=False),
        "mbsync with COMPRESS": lambda at: _mirror(server, user, at, compress=True),
    }
    found: dict[str, list[Copied]] = {name: [] for name in ways}
    for _ in range(runs):
        for name, copy in ways.items():
            with link(server.host, server.port, megabits, delay) as at:
                found[name].append(copy(at))
    table = Table(
        f"First sync of {messages:,} messages over {megabits:g} Mbit/s, {delay * 1000:g} ms each way, "
        f"{runs} runs each, alternating",
        ["command", "seconds to all texts searchable", "to everything stored", "MB over the link"],
    )
    for name, copies in found.items():
        texts = spread([one.searchable for one in copies]) if name.startswith("postroom") else "never"
        stored = spread([one.seconds for one in copies])
        table.add(name, texts, stored, spread([one.carried / 1e6 for one in copies], 1))
    for name in ("mbsync", "mbsync with COMPRESS"):
        table.note(_said(name, found[name], found["postroom sync"]))
    return table


def _said(name: str, theirs: Sequence[Copied], ours: Sequence[Copied]) -> str:
    pairs = list(zip(theirs, ours, strict=True))
    texts = sorted(their.seconds / our.searchable for their, our in pairs)[len(pairs) // 2]
    stored = sorted(their.seconds / our.seconds for their, our in pairs)[len(pairs) // 2]
    return f"Against {name}: all texts searchable {ratio(texts, goal=GOAL)}, everything stored {stored:.2f}."


def _ours(server: Dovecot, user: str, messages: int, at: Link, compress: str) -> Copied:
    """Connect outside the clock, as mbsync's configuration is; then `postroom sync`, server start and all."""
    with tempfile.TemporaryDirectory(prefix="postroom-bench-") as folder:
        home = Path(folder) / "data"
        environment = os.environ | {"POSTROOM_DATA": str(home)}
        connect = ["connect", f"{user}@example.org", "--username", user, "--password-file", "-"]
        where = ["--server", f"imap://{server.host}:{at.port}", "--starttls", "off", "--compress", compress]
        subprocess.run(
            [sys.executable, *POSTROOM, *connect, *where, "--json"],
            input=server.password,
            text=True,
            env=environment,
            check=True,
            capture_output=True,
        )
        ended(home)
        before = sum(at.carried())
        whole, searchable = asyncio.run(_synced(home, environment, messages))
        carried = sum(at.carried()) - before
        ended(home)
        return Copied(whole, searchable, carried)


async def _synced(home: Path, environment: Mapping[str, str], messages: int) -> tuple[float, float]:
    """Seconds of the command, and until all texts were searchable."""
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *POSTROOM, "sync", "--json"), env=environment, stdout=subprocess.PIPE
    )
    async with asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(_searchable(home / "postgres" / "cluster", messages))
        output, _ = await process.communicate()
        whole = time.perf_counter() - began
    stored = json.loads(output)["accounts"][0]["messages"]
    assert stored == messages, f"{stored} of {messages} messages were stored"
    return whole, min(watching.result() - began, whole)


async def _searchable(cluster: Path, messages: int) -> float:
    """When, by `perf_counter`, all texts can be found; never later than the server's end."""
    conn: asyncpg.Connection | None = None
    while conn is None:
        try:
            conn = await asyncpg.connect(host=str(cluster), user="postroom", database="postgres")
        except (OSError, asyncpg.CannotConnectNowError, asyncpg.ConnectionDoesNotExistError):
            await asyncio.sleep(LOOK)
    try:
        while True:
            row = await conn.fetchrow(SEARCHABLE)
            listed, without = row or (0, 0)
            if listed >= messages and not without:
                return time.perf_counter()
            await asyncio.sleep(LOOK)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return time.perf_counter()  # it was stopped with the command
    finally:
        await conn.close(timeout=1)


def _mirror(server: Dovecot, user: str, at: Link, *, compress: bool) -> Copied:
    """`mbsync` into an empty folder."""
    prefix = fetch(["isync", "notmuch"], SERVERS / "bench")
    with tempfile.TemporaryDirectory(prefix="postroom-bench-") as folder:
        command = mbsync(prefix, server, user, Path(folder), at.port, compress=compress)
        seconds = timed(command, prefix.environment())
        return Copied(seconds, seconds, sum(at.carried()))
