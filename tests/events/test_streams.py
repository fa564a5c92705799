"""/v1/events/stream, from a server of its own: what was, what comes, filtered, cut off and resumed."""

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from events.following import FILTERS, MAIL, append, event, everything, expected, write
from fastapi import FastAPI
from servers.api import Client, key_of
from servers.live import Told, events, served
from servers.tenants import ANNS, BOBS, ONE, TWO

from postroom.accounts import store as accounts
from postroom.api.live import live as living
from postroom.db.beside import beside
from postroom.db.listen import open_hints
from postroom.db.pool import Database, open_pool
from postroom.events import feed
from postroom.events.model import Event, Stream
from postroom.events.wanted import Types, Wanted
from postroom.http.caller import Scope
from postroom.ids import TenantId
from postroom.people import keys

pytestmark = pytest.mark.usefixtures("tenants")

PATH = "/v1/events/stream"
GONE = Event("mail.removed", {"message": MAIL})
DROP = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
     WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


@pytest.fixture
async def live(app: FastAPI, db: Database) -> AsyncIterator[Client]:
    async with served(app, await key_of(db, ONE)) as client:
        yield client


async def told(client: Client, count: int, last: str | None = None, **asked: Any) -> list[Told]:
    """So many events of the log, without what else is told."""
    found: list[Told] = []
    async for one in events(client, PATH, last, **asked):
        if one.event != "ready":
            found.append(one)
        if len(found) == count:
            break
    return found


def cursors(found: list[Told]) -> list[str | None]:
    return [one.id for one in found]


async def cursors_of(db: Database, wanted: Wanted | None = None) -> list[str]:
    return [feed.cursor_of(entry) for entry in expected(await everything(db), wanted or Wanted())]


async def public_id(db: Database, tenant: TenantId = ONE) -> str:
    async with db.transaction(tenant) as conn:
        return str((await accounts.list_after(conn, tenant))[0].public_id)


async def test_an_event_is_told_as_the_command_line_writes_it(live: Client, db: Database) -> None:
    await append(db, ANNS, GONE)
    await append(db, 0, event(random.Random(1)))
    [one, other] = await told(live, 2, after="start")
    [entry, _] = await everything(db)

    assert one == Told(
        "mail.removed",
        {
            "cursor": feed.cursor_of(entry),
            "account": await public_id(db),
            "stream": ANNS,
            "seq": 1,
            "at": entry.at.isoformat().replace("+00:00", "Z"),
            "kind": "mail.removed",
            "data": {"message": MAIL, "v": 1},
        },
        feed.cursor_of(entry),
    )
    assert (other.data["account"], other.data["stream"]) == (None, 0)


async def test_without_a_cursor_only_what_comes_is_told(live: Client, db: Database) -> None:
    await append(db, ANNS, GONE)
    seen = []
    async for one in events(live, PATH):
        seen.append(one)
        if one.event == "ready":
            await append(db, ANNS, GONE)
        else:
            break

    before, after = await cursors_of(db)
    assert [(one.event, one.id) for one in seen] == [("ready", before), ("mail.removed", after)]


@pytest.mark.parametrize("is_empty", [True, False])
async def test_who_was_cut_off_before_the_first_event_misses_none(
    live: Client, db: Database, is_empty: bool
) -> None:
    if not is_empty:
        await append(db, ANNS, GONE)
    async for one in events(live, PATH):
        ready = one.id
        break
    await append(db, ANNS, GONE, GONE)

    assert cursors(await told(live, 2, ready)) == (await cursors_of(db))[-2:]


async def test_a_stream_is_narrowed_to_types_an_account_and_a_folder(live: Client, db: Database) -> None:
    rng = random.Random(3)
    for stream in [0, ANNS, 9] * 10:
        await append(db, stream, event(rng))
    entries = await everything(db)
    folder = uuid4()
    await append(db, ANNS, Event("mail.folder_added", {"folder": str(folder)}))
    account = await public_id(db)
    last = (await cursors_of(db))[-1]
    cases: list[tuple[dict[str, str], Wanted]] = [
        ({"types": "mail.folder_added, sync.*"}, Wanted(Types.read(["mail.folder_added", "sync.*"]))),
        ({"account": account}, Wanted(stream=Stream(ANNS))),
        ({"folder": str(folder)}, Wanted(folder=folder)),
    ]
    for asked, wanted in cases:
        found = []
        async for one in events(live, PATH, after="start", **asked):
            found.append(one.id)
            if one.id == last:
                break
        assert found[1:] == [*(feed.cursor_of(one) for one in expected(entries, wanted)), last]


@dataclass(slots=True)
class Reader:
    """Is cut off again and again, and resumes with the last id that it saw."""

    types: list[str] | None
    rng: random.Random
    last: str | None = None
    seen: list[str] = field(default_factory=list)

    async def read(self, live: Client) -> None:
        asked = {} if self.types is None else {"types": ",".join(self.types)}
        while True:
            begin = {} if self.last else {"after": "start"}
            left = self.rng.randrange(1, 30)
            async for one in events(live, PATH, self.last, **asked, **begin):
                self.last = one.id or self.last
                if one.event not in {"ready", "heartbeat"}:
                    self.seen.append(str(one.id))
                left -= 1
                if left == 0:
                    break

    async def wanted(self, db: Database) -> list[str]:
        return await cursors_of(db, Wanted(None if self.types is None else Types.read(self.types)))


@pytest.mark.parametrize("seed", range(3))
async def test_streams_that_are_cut_and_resumed_show_every_event_once_in_order(
    live: Client, db: Database, dsn: str, seed: int
) -> None:
    rng = random.Random(seed)
    readers = [Reader(rng.choice([None, *FILTERS]), random.Random(rng.random())) for _ in range(10)]
    async with (
        open_pool(dsn) as theirs,
        open_hints(theirs),
        beside(*(reader.read(live) for reader in readers)),
    ):
        async with asyncio.TaskGroup() as writers:
            for stream in range(1, 11):
                writers.create_task(write(theirs, stream, 8, random.Random(rng.random())))
        for reader in readers:
            while len(reader.seen) < len(await reader.wanted(db)):  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    for reader in readers:
        assert reader.seen == await reader.wanted(db)


async def test_a_tenant_is_told_nothing_of_another(app: FastAPI, db: Database) -> None:
    await append(db, BOBS, GONE, tenant=TWO)
    await append(db, ANNS, GONE)
    async with served(app, await key_of(db, ONE)) as live:
        found = await told(live, 1, after="start")
        theirs = feed.cursor_of((await everything(db, TWO))[0])
        refused = await live.get(PATH, params={"after": theirs})
        hidden = await live.get(PATH, params={"account": await public_id(db, TWO)})

    assert [one.data["account"] for one in found] == [await public_id(db)]
    assert (refused.status_code, refused.json()["code"]) == (409, "events.place_lost")
    assert (hidden.status_code, hidden.json()["code"]) == (404, "accounts.not_found")


@pytest.mark.parametrize(
    ("asked", "status", "code"),
    [
        ({"after": "nonsense"}, 400, "events.bad_cursor"),
        ({"after": "x" * 300}, 422, "http.invalid_request"),
        ({"types": "mail.aded"}, 400, "events.no_such_type"),
        ({"account": "x"}, 422, "http.invalid_request"),
    ],
)
async def test_what_makes_no_sense_is_answered_and_not_streamed(
    api: Client, asked: dict[str, str], status: int, code: str
) -> None:
    answer = await api.get(PATH, params=asked)

    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_a_cursor_of_a_log_that_went_back_in_time_is_a_problem(
    api: Client, db: Database, dsn: str
) -> None:
    await append(db, ANNS, GONE)
    [cursor] = await cursors_of(db)
    conn = await asyncpg.connect(dsn)
    await conn.execute("DELETE FROM postroom.events_event")
    await conn.close()
    answer = await api.get(PATH, headers={"Last-Event-ID": cursor})

    assert (answer.status_code, answer.json()["code"]) == (409, "events.place_lost")


async def test_a_revoked_key_sees_no_more(app: FastAPI, db: Database) -> None:
    key, text = await keys.create(db, ONE, "test", frozenset({Scope.READ}))
    async with served(app, text) as live:
        seen = []
        async for one in events(live, PATH):
            seen.append(one.event)
            await keys.revoke(db, ONE, key.public_id)

    assert seen == ["ready"]


async def test_streams_live_through_a_database_that_drops_everybody(
    live: Client, db: Database, dsn: str
) -> None:
    seen = []
    async for one in events(live, PATH):
        seen.append(one.id)
        if len(seen) == 3:
            break
        conn = await asyncpg.connect(dsn)
        await conn.execute(DROP)
        await conn.close()
        async with open_pool(dsn) as silent:
            await append(silent, ANNS, GONE)

    assert seen[1:] == await cursors_of(db)


async def test_the_end_of_the_server_ends_its_streams(app: FastAPI, db: Database) -> None:
    key = await key_of(db, ONE)
    seen: list[str] = []
    ready = asyncio.Event()

    async def read(url: str) -> None:
        async with Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=20) as own:
            async for one in events(own, PATH):
                seen.append(one.event)
                ready.set()

    async with asyncio.TaskGroup() as group, served(app, key) as live:
        group.create_task(read(str(live.base_url)))
        await ready.wait()

    assert seen == ["ready"]


async def test_news_of_one_process_reach_the_streams_of_another(live: Client, dsn: str) -> None:
    """An executor has a database and hints of its own."""
    async with open_pool(dsn) as theirs, open_hints(theirs) as hints, living(theirs, hints):
        async for one in events(live, PATH):
            if one.event == "mail.removed":
                break
            await append(theirs, ANNS, GONE)
