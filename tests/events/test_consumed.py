"""Fifty accounts write while consumers page, crash and come again: nothing is skipped, nothing repeated."""

import asyncio
import os
import random
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from events.feeding import LAST, NAME, Over, examples
from events.following import MAIL, append, everything, write
from fastapi import FastAPI
from servers.api import Client, key_of
from servers.live import served
from servers.tenants import ONE

from postroom.client import Client as PostroomClient
from postroom.client.model import EventPage
from postroom.db.listen import open_hints
from postroom.db.pool import Database, open_pool
from postroom.events import feed, log, store
from postroom.events.model import Event, Stream

pytestmark = pytest.mark.usefixtures("tenants")

ROOT = Path(__file__).parents[2]
ACCOUNTS = 50
PATH = "/v1/events"
GONE = Event("mail.removed", {"message": MAIL})
END = Event(LAST, {"folder": MAIL})
CRASHES = 5  # of each consumer


@dataclass
class Pager:
    """Reads pages of any size, keeping nothing but the cursor."""

    client: Client
    rng: random.Random
    after: str = "start"
    seen: list[str] = field(default_factory=list)

    async def look(self) -> None:
        more = True
        while more:
            asked: dict[str, Any] = {"after": self.after, "limit": self.rng.randrange(1, 40)}
            page = (await self.client.get(PATH, params=asked)).json()
            self.seen += [entry["cursor"] for entry in page["entries"]]
            self.after, more = page["next"], page["has_more"]


@pytest.fixture
async def theirs(dsn: str) -> AsyncIterator[Database]:
    async with open_pool(dsn) as pool, open_hints(pool):
        yield pool


async def writers(theirs: Database, rng: random.Random) -> None:
    async with asyncio.TaskGroup() as group:
        for stream in range(1, ACCOUNTS + 1):
            group.create_task(write(theirs, stream, 6, random.Random(rng.random())))


async def play(pager: Pager, db: Database, theirs: Database, rng: random.Random) -> list[str]:
    """Writes, among others one who commits late; the cursors of all that there is in the end."""
    writing = asyncio.create_task(writers(theirs, rng))
    while not writing.done():
        await pager.look()
    await writing
    async with theirs.transaction(ONE) as late:
        await log.append(late, ONE, Stream(ACCOUNTS + 1), [GONE])
        await append(db, 1, GONE)
        await pager.look()
    await append(db, 2, END)
    await pager.look()
    return [feed.cursor_of(entry) for entry in await everything(db)]


async def test_pages_show_every_event_once_while_fifty_accounts_write(
    app: FastAPI, db: Database, theirs: Database
) -> None:
    rng = random.Random(1)
    async with served(app, await key_of(db, ONE)) as client:
        pager = Pager(client, rng)
        there = await play(pager, db, theirs, rng)

    assert len(there) > ACCOUNTS * 6
    assert pager.seen == there


async def test_a_feed_up_to_the_last_row_that_is_seen_would_skip_one(
    app: FastAPI, db: Database, theirs: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The classic gap of numbers that are given out before the commit, planted: the proof must find it."""
    right, wrong = "pg_snapshot_xmin(pg_current_snapshot())", "pg_snapshot_xmax(pg_current_snapshot())"
    assert right in store.HORIZON
    monkeypatch.setattr(store, "HORIZON", store.HORIZON.replace(right, wrong))
    rng = random.Random(1)
    async with served(app, await key_of(db, ONE)) as client:
        pager = Pager(client, rng)
        there = await play(pager, db, theirs, rng)

    assert set(pager.seen) < set(there)


async def run(how: str, client: Client, path: Path, seed: int) -> int:
    """A consumer in a process of its own, until it dies or is done: its status."""
    key = client.headers["authorization"].removeprefix("Bearer ")
    words = ("-m", "events.feeding", how, str(client.base_url), key, str(path), str(seed))
    paths = os.pathsep.join((str(ROOT / "src"), str(ROOT / "tests")))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *words),
        env={**os.environ, "PYTHONPATH": paths},
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        _, said = await process.communicate()
        assert process.returncode in {0, -signal.SIGKILL}, said.decode()
        return process.returncode
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def consume(how: str, client: Client, path: Path, rng: random.Random) -> int:
    """One that crashes a few times and then comes to the end; how often it was killed."""
    killed, status = 0, -1
    while status != 0:
        status = await run(how, client, path, rng.randrange(1, 1000) if killed < CRASHES else 0)
        killed += status != 0
    return killed


@pytest.mark.slow
async def test_consumers_that_are_killed_anywhere_miss_nothing_and_store_nothing_twice(
    app: FastAPI, db: Database, theirs: Database, tmp_path: Path
) -> None:
    rng = random.Random(7)
    database, file = tmp_path / "once.db", tmp_path / "again"
    async with served(app, await key_of(db, ONE)) as client, asyncio.TaskGroup() as group:
        await client.put(f"{PATH}/consumers/{NAME}", json={"cursor": "start"})
        consumers = [
            group.create_task(consume(how, client, path, random.Random(rng.random())))
            for how, path in (("once", database), ("again", file))
        ]
        there = await play(Pager(client, rng), db, theirs, rng)
        killed = [await task for task in consumers]
        left = (await client.get(f"{PATH}/consumers/{NAME}")).json()

    assert sum(killed) > CRASHES
    assert _stored(database) == there
    handled = file.read_text().split()
    assert sorted(set(handled)) == sorted(there)
    assert len(handled) > len(there)  # at least once
    assert (left["cursor"], left["unread_since"]) == (there[-1], None)


async def test_the_tickets_of_the_page_are_made_once(
    app: FastAPI, db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    added = {"folder": MAIL, "flags": []}
    key = await key_of(db, ONE)
    async with served(app, None) as live:
        for letter in "ab":
            await append(db, 1, GONE, Event("mail.added", {"message": letter * 36, **added}))
            for _ in range(2):
                page = OnePage(str(live.base_url), key)
                with pytest.raises(Over):
                    await asyncio.to_thread(examples, lambda *_, one=page, **__: one)
                with sqlite3.connect("tickets.db") as database:
                    made = [row[0][0] for row in database.execute("SELECT message FROM ticket")]

                assert made == list("ab"[: "ab".index(letter) + 1])


class OnePage:
    """A client that asks for one page, and does not wait for more."""

    def __init__(self, url: str, key: str) -> None:
        self._client, self._is_over = PostroomClient(url, key), False

    def __enter__(self) -> "OnePage":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def list_events(self, **asked: Any) -> EventPage:
        if self._is_over:
            raise Over
        self._is_over = True
        return self._client.list_events(**{**asked, "wait": 0})


def _stored(path: Path) -> list[Any]:
    with sqlite3.connect(path) as database:
        return [row[0] for row in database.execute("SELECT cursor FROM seen ORDER BY rowid")]
