"""One folder of a million messages: what bringing its copy up to date takes in time and memory.

The copy is made by SQL, as fetching a million messages is another matter; the server is the lab's, in a
process of its own. Each row is one `postroom sync`, begun anew.
"""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import asyncpg

from bench.first_sync import MEASURE
from bench.report import Table
from postroom.db.embedded.client import running
from postroom.lab.accounts import ADDRESS
from postroom.lab.mailbox import LabFolder
from postroom.lab.server import PASSWORD, serve

MEGABYTES = 300
RECEIVED = datetime(2026, 1, 1, tzinfo=UTC)
MAIL = b"Subject: one of many\r\n\r\nhi\r\n"
FILL = """
WITH thread AS (
    INSERT INTO mail_thread (tenant_id, account_id, public_id, subject, messages, last_at)
    SELECT tenant_id, id, gen_random_uuid(), 'one of many', $1, now() FROM accounts_account
    RETURNING tenant_id, account_id, id
), message AS (
    INSERT INTO mail_message
           (tenant_id, account_id, public_id, thread_id, digest, size, subject, sender_name, sender_address,
            recipients, received_at, preview, attachments, seen, flagged, answered, draft, defects, parser)
    SELECT t.tenant_id, t.account_id, gen_random_uuid(), t.id, sha256(n::text::bytea), 30, 'one of many', '',
           '', '{}', $2, '', 0, false, false, false, false, '{}', 1
      FROM thread t, generate_series(1, $1) AS n
    RETURNING tenant_id, id
)
INSERT INTO mail_placement (tenant_id, folder_id, uid, message_id, flags)
SELECT m.tenant_id, f.id, row_number() OVER (ORDER BY m.id), m.id, '{}'
  FROM message m JOIN mail_folder f ON f.name = 'INBOX'
"""
STEPS: dict[str, Callable[[LabFolder, int], None]] = {
    "nothing": lambda _inbox, _count: None,
    "1,000 flags, 500 removals, 100 new messages": lambda inbox, count: _some(inbox, count),
    "every tenth message removed": lambda inbox, count: inbox.expunge(*range(10, count, 10)),
    "every message read": lambda inbox, _count: _read(inbox),
}


def run(count: int) -> Table:
    table = Table(
        f"One folder of {count:,} messages, brought up to date",
        ["the server tells of changes", "what happened", "seconds", "peak memory of `postroom sync`"],
    )
    for mode in ("qresync", "plain"):
        asyncio.run(_mode(table, mode, count))
    table.note(f"Goal: under {MEGABYTES} MB.")
    return table


async def _mode(table: Table, mode: str, count: int) -> None:
    home = Path(tempfile.mkdtemp(prefix="postroom-bench-"))
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    server = context.Process(target=_serve, args=(theirs, mode, count), daemon=True)
    server.start()
    try:
        port = ours.recv()
        async with running(home / "data", ["fsync=off"]) as url:
            await asyncio.to_thread(
                _postroom, home, "connect", ADDRESS, "--password-file", "-", *_where(port)
            )
            await asyncio.to_thread(_postroom, home, "sync")
            ours.send("fill")
            ours.recv()
            await _fill(url, count)
            for name in STEPS:
                ours.send(name)
                ours.recv()
                await asyncio.to_thread(_step, table, home, mode, name)
    finally:
        server.kill()
        shutil.rmtree(home, ignore_errors=True)


def _where(port: int) -> list[str]:
    return ["--server", f"imap://127.0.0.1:{port}", "--starttls", "off"]


async def _fill(url: str, count: int) -> None:
    """As the owner of the tables, whom row-level security does not bind."""
    conn = await asyncpg.connect(url)
    try:
        await conn.execute("SET search_path = postroom")
        await conn.execute("SET row_security = off")
        await conn.execute(FILL, count, RECEIVED)
        await conn.execute("ANALYZE")
    finally:
        await conn.close()


def _step(table: Table, home: Path, mode: str, name: str) -> None:
    done = _postroom(home, "sync")
    seconds, kilobytes = done.stderr.split()[-2:]
    outcome = json.loads(done.stdout)["accounts"][0]
    changed = ", ".join(f"{outcome[key]:,} {key}" for key in ("added", "removed", "flags_changed"))
    peak = int(kilobytes) * 1024 / 1e6
    reached = "reached" if peak < MEGABYTES else "missed"
    table.add(mode, f"{name} ({changed})", f"{float(seconds):.1f}", f"{peak:,.0f} MB ({reached})")


def _postroom(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", MEASURE, sys.executable, "-m", "postroom.cli", *words, "--json"],
        env=os.environ | {"POSTROOM_DATA": str(home / "data"), "POSTROOM_SYNC_GRACE_SECONDS": "0"},
        input=PASSWORD,
        check=True,
        capture_output=True,
        text=True,
    )


def _serve(pipe: Connection, mode: str, count: int) -> None:
    asyncio.run(_server(pipe, mode, count))


async def _server(pipe: Connection, mode: str, count: int) -> None:
    async with serve(messages=0, folder_count=1, offers=[mode]) as server:
        pipe.send(server.port)
        inbox = server.mailbox.folder("INBOX")
        while True:
            word = await asyncio.to_thread(pipe.recv)
            if word == "fill":
                for _ in range(count):
                    inbox.deliver(MAIL, received=RECEIVED)
            else:
                STEPS[word](inbox, count)
            pipe.send("done")


def _some(inbox: LabFolder, count: int) -> None:
    for uid in range(5, 5 + 1000 * (count // 1000), count // 1000):
        inbox.flag(uid, {"\\Flagged"})
    inbox.expunge(*range(1, 1 + 500 * (count // 500), count // 500))
    for number in range(100):
        inbox.deliver(MAIL + b"%d" % number)


def _read(inbox: LabFolder) -> None:
    for uid in list(inbox.messages):
        inbox.flag(uid, {"\\Seen"})
