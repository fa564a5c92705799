"""GET /v1/events: the log a page at a time, narrowed, and waited for."""

import asyncio
import random
from typing import Any
from uuid import uuid4

import pytest
from events.following import FILTERS, MAIL, append, event, everything, expected
from fastapi import FastAPI
from servers.api import Client, Connect, key_of
from servers.live import events, served
from servers.tenants import ANNS, ONE

from postroom.accounts import store as accounts
from postroom.api.app import create_app
from postroom.api.live import live as living
from postroom.db.listen import open_hints
from postroom.db.pool import Database
from postroom.events import feed, pages
from postroom.events.model import Event, Stream
from postroom.events.wanted import Types, Wanted
from postroom.http.caller import Scope
from postroom.net.egress import Egress
from postroom.people import keys
from postroom.providers.registry import Registry
from postroom.settings import Settings
from postroom.vault.seal import Vault

pytestmark = pytest.mark.usefixtures("tenants")

PATH = "/v1/events"
GONE = Event("mail.removed", {"message": MAIL})
MORE = 30  # than the pool has connections


async def page(client: Client, **asked: Any) -> Any:
    answer = await client.get(PATH, params=asked)
    assert answer.status_code == 200, answer.text
    return answer.json()


def cursors(found: Any) -> list[str]:
    return [one["cursor"] for one in found["entries"]]


async def to_the_end(client: Client, limit: int, **asked: Any) -> list[str]:
    seen, after, more = list[str](), "start", True
    while more:
        found = await page(client, after=after, limit=limit, **asked)
        assert len(found["entries"]) <= limit
        seen += cursors(found)
        after, more = found["next"], found["has_more"]
    return seen


async def public_id(db: Database) -> str:
    async with db.transaction(ONE) as conn:
        return str((await accounts.list_after(conn, ONE))[0].public_id)


async def test_an_entry_is_what_a_stream_tells(app: FastAPI, db: Database) -> None:
    await append(db, ANNS, GONE)
    async with served(app, await key_of(db, ONE)) as client:
        told = [one.data async for one in _first_two(client)]
        found = await page(client)

    assert found["entries"] == [told[1]]
    assert found["entries"][0]["seq"] == 1
    assert found["epoch"] == told[0]["epoch"]
    assert (found["after"], found["has_more"]) == (told[0]["cursor"], False)
    assert found["next"] == told[1]["cursor"]


async def _first_two(client: Client) -> Any:
    count = 0
    async for one in events(client, f"{PATH}/stream", after="start"):
        yield one
        if (count := count + 1) == 2:
            break


@pytest.mark.parametrize("seed", range(3))
async def test_pages_that_follow_each_other_show_every_event_once_in_order(
    api: Client, db: Database, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(pages, "LOOKED_AT", 7)
    rng = random.Random(seed)
    for _ in range(20):
        await append(db, rng.choice([0, ANNS, 9]), *[event(rng) for _ in range(rng.randrange(1, 4))])
    there, account = await everything(db), await public_id(db)
    for limit in (1, 2, 7, 1000):
        for types in (None, *FILTERS):
            for stream in (None, Stream(ANNS)):
                asked = ({"types": ",".join(types)} if types else {}) | (
                    {"account": account} if stream else {}
                )
                wanted = Wanted(Types.read(types) if types else None, stream)

                seen = await to_the_end(api, limit, **asked)

                assert seen == [feed.cursor_of(one) for one in expected(there, wanted)]


async def test_the_cursor_moves_on_over_what_is_not_wanted(api: Client, db: Database) -> None:
    await append(db, ANNS, GONE, GONE, GONE)
    found = await page(api, types="mail.added")
    waited = await page(api, types="mail.added", wait=0.3)
    none = await page(api, after=found["next"])

    last = feed.cursor_of((await everything(db))[-1])
    assert (found["entries"], found["next"], found["has_more"]) == ([], last, False)
    assert (waited["entries"], waited["next"]) == ([], last)
    assert (none["entries"], none["next"], none["after"]) == ([], last, last)


async def test_so_many_are_looked_at_for_a_page(
    api: Client, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where one in a million fits, an answer comes nevertheless, and says that there is more."""
    monkeypatch.setattr(pages, "LOOKED_AT", 1000)
    await append(db, ANNS, *[GONE] * 3000)
    await append(db, ANNS, Event("mail.folder_added", {"folder": MAIL}))
    first = await page(api, types="mail.folder_added")

    assert (first["entries"], first["has_more"]) == ([], True)
    assert len(await to_the_end(api, 5, types="mail.folder_added")) == 1


async def test_who_waits_is_answered_as_soon_as_something_fits(api: Client, db: Database) -> None:
    """And holds no connection meanwhile: more wait than there are, and one is left to write."""
    await append(db, ANNS, GONE)
    begun = await page(api, after="end")
    waiting = [
        asyncio.create_task(page(api, after=begun["next"], types="mail.added", wait=25, limit=2))
        for _ in range(MORE)
    ]
    added = Event("mail.added", {"message": MAIL, "folder": MAIL, "flags": []})
    async with asyncio.timeout(20):
        while not all(task.done() for task in waiting):
            await append(db, ANNS, GONE, added, added, added)
            await asyncio.wait(waiting, timeout=0.1)
        found = [await task for task in waiting]

    assert begun["entries"] == []
    assert all({one["kind"] for one in each["entries"]} == {"mail.added"} for each in found)
    assert all(len(each["entries"]) <= 2 for each in found)
    assert all(each["next"] == cursors(each)[-1] for each in found if each["has_more"])


async def test_what_came_while_somebody_waited_is_not_looked_at_again(api: Client, db: Database) -> None:
    waiting = asyncio.create_task(page(api, after="start", types="mail.added", wait=1))
    while not waiting.done():
        await append(db, ANNS, GONE)
        await asyncio.wait([waiting], timeout=0.05)
    found = await waiting

    assert found["entries"] == []
    assert found["next"] in [feed.cursor_of(one) for one in await everything(db)]


async def test_who_is_limited_waits_for_their_own_events_only(
    db: Database, api: Client, connect: Connect
) -> None:
    await append(db, ANNS, GONE)
    await append(db, 9, GONE)
    async with db.transaction(ONE) as conn:
        ann = await accounts.get_by_id(conn, ONE, ANNS)
    limited = connect((await keys.create(db, ONE, "anns", accounts=[ann.public_id]))[1])
    before = await page(limited)
    waiting = asyncio.create_task(page(limited, after=before["next"], wait=1))
    while not waiting.done():
        await append(db, 9, GONE)
        await asyncio.wait([waiting], timeout=0.05)
    idle = await waiting
    await append(db, ANNS, GONE)
    after = await page(limited, after=idle["next"], wait=20)

    mine = [feed.cursor_of(one) for one in await everything(db) if one.stream == Stream(ANNS)]
    assert cursors(before) == mine[:1]
    assert (idle["entries"], idle["next"]) == ([], mine[0])
    assert cursors(after) == mine[1:]
    assert len((await page(api))["entries"]) > 2


async def test_a_key_that_is_revoked_while_it_waits_is_told_nothing(
    db: Database, api: Client, connect: Connect
) -> None:
    key, text = await keys.create(db, ONE, "test", frozenset({Scope.READ}))
    waiting = asyncio.create_task(connect(text).get(PATH, params={"after": "end", "wait": 20}))
    await page(api, wait=0.3)
    await keys.revoke(db, ONE, key.public_id)
    async with asyncio.timeout(20):
        while not waiting.done():
            await asyncio.wait([waiting], timeout=2)
            await append(db, ANNS, GONE)
    answer = await waiting

    assert (answer.status_code, answer.json()["code"]) == (401, "http.unknown_key")


async def test_to_wait_is_not_to_be_slow(db: Database, vault: Vault) -> None:
    settings, providers = Settings(request_seconds=0.5), Registry(Egress(private_allowed=True))
    async with open_hints(db) as hints, living(db, hints) as news:
        app = create_app(db, settings, vault, providers, news)
        async with served(app, await key_of(db, ONE)) as client:
            found = await page(client, wait=1.5)

    assert found["entries"] == []


async def test_the_end_of_the_server_answers_those_who_wait(app: FastAPI, db: Database) -> None:
    key, began = await key_of(db, ONE), asyncio.Event()

    async def ask(url: str) -> Any:
        async with Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=20) as own:
            began.set()
            return await page(own, wait=25)

    async with asyncio.timeout(15):
        async with served(app, key) as client:
            waiting = asyncio.create_task(ask(str(client.base_url)))
            await began.wait()
            while not app.state.door.streams.count:
                await page(client)
        found = await waiting

    assert found["entries"] == []


@pytest.mark.parametrize(
    ("asked", "status", "code"),
    [
        ({"after": "nonsense"}, 400, "events.bad_cursor"),
        ({"types": "mail.aded"}, 400, "events.no_such_type"),
        ({"account": str(uuid4())}, 404, "accounts.not_found"),
        ({"limit": 1001}, 422, "http.invalid_request"),
        ({"wait": 31}, 422, "http.invalid_request"),
    ],
)
async def test_what_makes_no_sense_is_refused(
    api: Client, asked: dict[str, Any], status: int, code: str
) -> None:
    answer = await api.get(PATH, params=asked)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
