"""/v1/events/ws, from a server of its own: the same as the streams, over a WebSocket."""

import json
import random
from asyncio import TaskGroup, sleep
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from events.following import FILTERS, append, everything, expected, write
from fastapi import FastAPI
from servers.api import key_of
from servers.live import served
from servers.tenants import ANNS, BOBS, ONE, TWO
from websockets.asyncio.client import ClientConnection, connect

from postroom.accounts import store as accounts
from postroom.db.beside import beside
from postroom.db.listen import open_hints
from postroom.db.pool import Database, open_pool
from postroom.events import feed
from postroom.events.model import Event
from postroom.events.wanted import Types, Wanted

pytestmark = pytest.mark.usefixtures("tenants")

GONE = Event("mail.removed", {"message": "m" * 36})


class Page:
    """Opens WebSockets, with a key. They may leave without having read all that came."""

    def __init__(self, url: str, key: str) -> None:
        self.url, self.key = url.replace("http", "ws", 1), key

    @asynccontextmanager
    async def open(self, **wanted: Any) -> AsyncIterator[ClientConnection]:
        async with connect(f"{self.url}/v1/events/ws", proxy=None, max_queue=None) as socket:
            await socket.send(json.dumps({"type": "resume", "key": self.key, **wanted}))
            yield socket


@pytest.fixture
async def page(app: FastAPI, db: Database) -> AsyncIterator[Page]:
    async with served(app, None) as live:
        yield Page(str(live.base_url).rstrip("/"), await key_of(db, ONE))


async def said(socket: ClientConnection) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(await socket.recv())
    return found


async def cursors_of(db: Database, types: list[str] | None) -> list[str]:
    wanted = Wanted(None if types is None else Types.read(types))
    return [feed.cursor_of(entry) for entry in expected(await everything(db), wanted)]


async def test_it_says_where_it_begins_and_then_what_comes(page: Page, db: Database) -> None:
    async with page.open() as socket:
        ready = await said(socket)
        await append(db, ANNS, GONE)
        told = await said(socket)
    async with page.open(after=ready["cursor"]) as socket:
        again = [await said(socket) for _ in range(2)]

    [cursor] = await cursors_of(db, None)
    async with db.transaction(ONE) as conn:
        epoch = (await feed.state(conn, ONE)).epoch
    assert ready == {"type": "ready", "cursor": feed.BEGINNING, "epoch": epoch, "removed_until": None}
    assert told.keys() == {"type", "cursor", "account", "stream", "seq", "at", "kind", "data"}
    assert (told["type"], told["kind"], told["cursor"]) == ("event", "mail.removed", cursor)
    assert again == [ready, told]


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        ({"after": "nonsense"}, "events.bad_cursor"),
        ({"types": ["mail.aded"]}, "events.no_such_type"),
        ({"types": "mail.added"}, "http.bad_message"),
        ({"account": "x"}, "http.bad_message"),
        ({"account": "01a200b8-ff0a-73b0-b57e-50a0b940255d"}, "accounts.not_found"),
        ({"type": "other"}, "http.bad_message"),
        ({"more": 1}, "http.bad_message"),
    ],
)
async def test_what_makes_no_sense_is_told(page: Page, wanted: dict[str, Any], code: str) -> None:
    async with page.open(**wanted) as socket:
        told = await said(socket)
        await socket.wait_closed()

    assert (told["type"], told["code"], socket.close_code) == ("error", code, 1008)
    assert page.key not in str(told)


async def test_another_tenants_cursor_and_account_are_not_there(page: Page, db: Database) -> None:
    await append(db, BOBS, GONE, tenant=TWO)
    async with db.transaction(TWO) as conn:
        account = str((await accounts.list_after(conn, TWO))[0].public_id)
    theirs = feed.cursor_of((await everything(db, TWO))[0])
    codes = []
    for wanted in ({"after": theirs}, {"account": account}):
        async with page.open(**wanted) as socket:
            codes.append((await said(socket))["code"])

    assert codes == ["events.place_lost", "accounts.not_found"]


@pytest.mark.parametrize("seed", range(2))
async def test_sockets_that_are_cut_and_resumed_show_every_event_once_in_order(
    page: Page, db: Database, dsn: str, seed: int
) -> None:
    rng = random.Random(seed)
    filters = [rng.choice([None, *FILTERS]) for _ in range(8)]
    seen: list[list[str]] = [[] for _ in filters]

    async def read(types: list[str] | None, found: list[str], luck: random.Random) -> None:
        cursor = "start"
        while True:
            async with page.open(after=cursor, types=types) as socket:
                for _ in range(luck.randrange(1, 30)):
                    told = await said(socket)
                    cursor = told.get("cursor", cursor)
                    if told["type"] == "event":
                        found.append(cursor)

    reading = (
        read(types, found, random.Random(rng.random())) for types, found in zip(filters, seen, strict=True)
    )
    async with open_pool(dsn) as theirs, open_hints(theirs), beside(*reading):
        async with TaskGroup() as writers:
            for stream in range(1, 11):
                writers.create_task(write(theirs, stream, 8, random.Random(rng.random())))
        for types, found in zip(filters, seen, strict=True):
            while len(found) < len(await cursors_of(db, types)):  # noqa: ASYNC110
                await sleep(0.01)

    for types, found in zip(filters, seen, strict=True):
        assert found == await cursors_of(db, types)
