"""What another tenant has is, to whoever asks, as what nobody has: by every id, wherever one is taken."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from fastapi import FastAPI
from servers.api import Client
from servers.live import events, served
from starlette.routing import BaseRoute, WebSocketRoute
from walls.naming import Parameter, parameters
from walls.sides import Side, sides
from walls.walk import ask, in_order, nobodys, not_there, rows_of, told_apart
from websockets.asyncio.client import connect as open_socket

from postroom.accounts.clients import clients_of
from postroom.accounts.oauth import Oauth
from postroom.api.app import ROUTERS, create_app
from postroom.api.live import live
from postroom.db import leases
from postroom.db.listen import open_hints
from postroom.db.pool import Database
from postroom.events.routes import Resume
from postroom.net.egress import Egress
from postroom.providers.registry import Registry
from postroom.settings import OauthClientSettings, Settings
from postroom.vault.seal import Vault

UNDOCUMENTED = {
    "/v1/people/login": "a link is good for whoever has it, and names nothing",
    "/v1/accounts/oauth/callback/{client}": "the state is good once, for whoever has it",
    "/metrics": "numbers of the whole installation",
    "/": "leads to the pages that explain this",
    "/openapi.json": "the document itself",
}
RESUME = {"after": "{event}", "account": "{account}", "folder": "{folder}"}
"""What of the first message of a WebSocket names something; `type` and `types` name kinds."""


CLIENT = OauthClientSettings(
    token_url="https://login.example.org/token",
    client_id="me",
    authorization_url="https://login.example.org/authorize",
    server="imaps://mail.example.org",
)


@pytest.fixture
async def app(db: Database, vault: Vault) -> AsyncIterator[FastAPI]:
    """With a client that people can consent to."""
    oauth = Oauth(clients=clients_of({"ours": CLIENT}))
    settings, providers = Settings(public_url="http://postroom.test"), Registry(Egress(private_allowed=True))
    async with open_hints(db) as hints, live(db, hints) as news:
        yield create_app(db, settings, vault, providers, news, oauth)


@dataclass(frozen=True, slots=True)
class Two:
    """Two tenants of one application on a port, and a client of each."""

    annika: Side
    bertil: Side
    of_annika: Client
    of_bertil: Client


@pytest.fixture
async def two(app: FastAPI, db: Database, vault: Vault, tenants: None) -> AsyncIterator[Two]:  # noqa: ARG001
    annika, bertil = await sides(db, vault)
    async with AsyncExitStack() as stack:
        of_annika, of_bertil = [
            await stack.enter_async_context(served(app, side.key)) for side in (annika, bertil)
        ]
        yield Two(annika, bertil, of_annika, of_bertil)


def all_of(app: FastAPI) -> list[Parameter]:
    return in_order(parameters(app.openapi()))


def test_of_every_parameter_it_is_known_whether_it_names_something(app: FastAPI) -> None:
    unknown = [str(each) for each in all_of(app) if each.templates is None]

    assert unknown == [], "say in `walls.naming` what it names"
    assert len(all_of(app)) > 80


def served_at(app: FastAPI) -> Iterator[tuple[str, type[BaseRoute]]]:
    """Every path, and what answers there; of routers that were included, too."""
    for route in [*app.routes, *(route for router in ROUTERS for route in router.routes)]:
        if path := getattr(route, "path", None):
            yield path, type(route)


def test_nothing_takes_requests_beside_the_document(app: FastAPI) -> None:
    documented = app.openapi()["paths"]
    beside = {path for path, _ in served_at(app) if path not in documented}
    sockets = {path for path, kind in served_at(app) if issubclass(kind, WebSocketRoute)}

    assert beside - sockets - UNDOCUMENTED.keys() == set()
    assert sockets == {"/v1/events/ws"}
    assert set(Resume.model_fields) == {"type", "types", *RESUME}


@pytest.mark.slow
async def test_what_another_has_is_as_what_nobody_has(app: FastAPI, two: Two, dsn: str) -> None:
    before = await rows_of(dsn, two.bertil)
    apart = await told_apart(two.of_annika, two.annika, two.of_bertil, two.bertil, all_of(app))
    after = await rows_of(dsn, two.bertil)

    assert apart == []
    assert before.keys() == after.keys()
    assert [name for name in before if before[name] != after[name] and name != "people_key"] == []
    assert before["people_key"][0] == after["people_key"][0]  # its use is noted


@pytest.mark.slow
async def test_what_one_has_oneself_is_there_by_the_same_questions(
    app: FastAPI, two: Two, db: Database
) -> None:
    await leases.release(db, two.bertil.lease)
    asked = [each for each in all_of(app) if (each.path, each.name) != ("/v1/events/stream", "folder")]

    assert await not_there(two.of_bertil, two.bertil, asked) == []


async def test_no_answer_shows_anything_of_another(app: FastAPI, two: Two) -> None:
    marks = {two.bertil.name, *two.bertil.shown.values()} - {two.bertil.shown["line"]}
    seen, shown = [], set()
    for path, operations in app.openapi()["paths"].items():
        if "get" not in operations:
            continue
        named = next((each for each in all_of(app) if (each.method, each.path) == ("GET", path)), None)
        asked = named if named and named.where == "path" else Parameter("GET", path, "query", "x")
        own = asked.templates[0].format_map(two.annika.shown) if asked.templates else "x"
        answer = await ask(two.of_annika, asked, own, two.annika.shown)
        assert answer.status in {200, 404, 426}, (path, answer)
        text = answer.body.decode("utf-8", "replace")
        seen += [(path, mark) for mark in marks if mark in text]
        shown |= {path for mark in (two.annika.name, *two.annika.shown.values()) if mark in text}

    assert seen == []
    assert len(shown) > 10


async def first_word(two: Two, **wanted: str) -> dict[str, Any]:
    url = str(two.of_annika.base_url).rstrip("/").replace("http", "ws", 1)
    async with open_socket(f"{url}/v1/events/ws", proxy=None) as socket:
        await socket.send(json.dumps({"type": "resume", "key": two.annika.key, **wanted}))
        found: dict[str, Any] = json.loads(await socket.recv())
        return found


async def test_over_a_socket_it_is_the_same(two: Two) -> None:
    nobody = nobodys(two.bertil)
    for name, template in RESUME.items():
        there = await first_word(two, **{name: template.format_map(two.bertil.shown)})
        nowhere = await first_word(two, **{name: template.format_map(nobody)})
        own = await first_word(two, **{name: template.format_map(two.annika.shown)})

        assert there == nowhere, name
        assert name == "folder" or own != there, name


async def test_a_stream_of_anothers_folder_is_that_of_none(two: Two) -> None:
    async def heard(folder: str) -> list[tuple[str, Any]]:
        found = []
        async for told in events(two.of_annika, "/v1/events/stream", after="start", folder=folder):
            found.append((told.event, told.data))
            if told.event == "mail.removed":  # the last one, which names no folder
                break
        return found

    theirs, nobodys_, own = [
        await heard(shown["folder"]) for shown in (two.bertil.shown, nobodys(two.bertil), two.annika.shown)
    ]

    assert theirs == nobodys_
    assert len(own) == len(theirs) + 1
