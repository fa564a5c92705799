"""WebSockets: how they begin, what they bear, how they end."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from fastapi import FastAPI, WebSocket
from structlog.testing import capture_logs
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin

from postroom.cli.listening import listening
from postroom.cli.serving import serving
from postroom.errors import Invalid
from postroom.http import streams as streams_module
from postroom.http import ws
from postroom.http.caller import Caller, Scope
from postroom.http.deps import Door
from postroom.http.streams import Source, Streams
from postroom.ids import TenantId

ONE = TenantId(1)
GOOD, NARROW = "pr_good", "pr_narrow"
SESSION = "ps_good"
SCOPES = {GOOD: Scope.READ, NARROW: Scope.PROPOSE, SESSION: Scope.READ}
ORIGIN = "https://page.example"


class Scripted:
    """Says these, and then nothing more; or ends, when that is the last word."""

    def __init__(self, *words: Sequence[str] | None) -> None:
        self.words, self.closed = list(words), asyncio.Event()

    async def next(self) -> Sequence[str] | None:
        await asyncio.sleep(0)
        if not self.words:
            await asyncio.Event().wait()
        return self.words.pop(0)

    def close(self) -> None:
        self.closed.set()


class Endless(Scripted):
    async def next(self) -> Sequence[str] | None:
        await asyncio.sleep(0)
        return ["y" * 10_000]


class NotWanted(Invalid):
    code = "test.not_wanted"


@dataclass
class House:
    """A WebSocket on a port of its own, and what its callers are told."""

    source: Scripted
    revoked: set[str] = field(default_factory=set)
    streams: Streams = field(default_factory=Streams)
    first: timedelta = ws.FIRST
    asked: list[Mapping[str, Any]] = field(default_factory=list)
    url: str = ""

    async def find(self, key: str) -> Caller | None:
        if key not in SCOPES or key in self.revoked:
            return None
        return Caller(ONE, uuid4(), frozenset({SCOPES[key]}))

    async def begin(
        self, _caller: Caller, wanted: Mapping[str, Any]
    ) -> tuple[Source[str], Callable[[], str]]:
        self.asked.append(wanted)
        if wanted.get("type") != "resume":
            raise NotWanted("Say `resume`.")
        return self.source, ws.heartbeat

    @asynccontextmanager
    async def open(self) -> AsyncIterator[str]:
        app = FastAPI()
        door = Door(None, self.find, None, self.streams, frozenset({ORIGIN}))  # type: ignore[arg-type]
        app.state.door = door

        @app.websocket("/")
        async def talk(socket: WebSocket) -> None:
            await ws.converse(socket, door, self.begin, self.first)

        with listening("127.0.0.1", 0) as listener:
            async with asyncio.timeout(30), serving(app, listener):
                self.url = f"ws://127.0.0.1:{listener.getsockname()[1]}/"
                yield self.url

    def connect(self, key: str | None = GOOD, **more: Any) -> connect:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return connect(self.url, additional_headers=headers, proxy=None, **more)


async def ended(client: ClientConnection) -> tuple[list[Any], int]:
    """What it is told until the end, and the code of that."""
    said = []
    with suppress(ConnectionClosed):
        while True:
            said.append(json.loads(await client.recv()))
    assert client.close_code is not None
    return said, client.close_code


async def resumed(client: ClientConnection, **more: Any) -> ClientConnection:
    await client.send(json.dumps({"type": "resume", **more}))
    return client


@pytest.mark.parametrize("key", [{"header": GOOD}, {"first": GOOD}], ids=str)
async def test_a_key_stands_in_the_header_or_in_the_first_message(key: dict[str, str]) -> None:
    house = House(Scripted(['{"n":1}'], ['{"n":2}', '{"n":3}'], None))
    async with house.open(), house.connect(key.get("header")) as client:
        await resumed(client, after="x", **({"key": key["first"]} if "first" in key else {}))
        said, code = await ended(client)

    assert said[:3] == [{"n": 1}, {"n": 2}, {"n": 3}]
    assert (said[3]["code"], code) == ("http.stream_interrupted", ws.LATER)
    assert house.asked == [{"type": "resume", "after": "x"}]  # and no key
    assert house.source.closed.is_set()
    assert house.streams.count == 0


@pytest.mark.parametrize(
    ("key", "origin", "status", "code"),
    [
        ("pr_wrong", None, 401, "http.unknown_key"),
        (GOOD, "https://evil.example", 403, "http.bad_origin"),
        (GOOD, "null", 403, "http.bad_origin"),
    ],
)
async def test_who_is_not_welcome_gets_no_websocket(
    key: str, origin: str | None, status: int, code: str
) -> None:
    house = House(Scripted())
    async with house.open():
        with pytest.raises(InvalidStatus) as refused:
            async with house.connect(key, origin=Origin(origin) if origin else None):
                pass

    answer = refused.value.response
    assert (answer.status_code, json.loads(answer.body)["code"]) == (status, code)


async def test_pages_of_an_origin_that_is_named_may_come() -> None:
    house = House(Scripted(['{"n":1}'], None))
    async with house.open(), house.connect(None, origin=Origin(ORIGIN)) as client:
        said, _ = await ended(await resumed(client, key=GOOD))

    assert said[0] == {"n": 1}


@pytest.mark.parametrize("page", ["own", ORIGIN, "http://127.0.0.1:1", None], ids=str)
async def test_a_session_in_a_cookie_is_for_our_own_page(page: str | None) -> None:
    """SameSite=Strict leaves out the port: what listens beside us on this machine is not our page."""
    house = House(Scripted(['{"n":1}'], None))
    async with house.open() as url:
        origin = url.replace("ws:", "http:").rstrip("/") if page == "own" else page
        headers = {"Cookie": f"postroom_session={SESSION}"}
        try:
            async with connect(
                url, additional_headers=headers, origin=Origin(origin) if origin else None, proxy=None
            ) as client:
                said, _ = await ended(await resumed(client))
        except InvalidStatus as refused:
            said = [json.loads(refused.response.body)]

    wanted = {"own": (1, None), "http://127.0.0.1:1": (None, "http.bad_origin")}
    assert (said[0].get("n"), said[0].get("code")) == wanted.get(str(page), (None, "http.no_key"))


@pytest.mark.parametrize(
    ("first", "code"),
    [
        ("{", "http.bad_message"),
        ("[]", "http.bad_message"),
        (b"{}", "http.bad_message"),
        ('{"type": "resume"}', "http.no_key"),
        ('{"type": "resume", "key": 1}', "http.no_key"),
        ('{"type": "resume", "key": "pr_wrong"}', "http.unknown_key"),
        (f'{{"type": "resume", "key": "{NARROW}"}}', "http.missing_scope"),
        (f'{{"type": "other", "key": "{GOOD}"}}', "test.not_wanted"),
    ],
)
async def test_a_first_message_that_will_not_do_is_told_why(first: str | bytes, code: str) -> None:
    house = House(Scripted())
    async with house.open(), house.connect(None) as client:
        await client.send(first)
        said, closed = await ended(client)

    assert [one["type"] for one in said] == ["error"]
    assert {"code", "title", "status", "detail"} <= said[0].keys()
    assert (said[0]["code"], closed) == (code, ws.POLICY)


async def test_who_does_not_say_what_it_wants_is_not_waited_for() -> None:
    house = House(Scripted(), first=timedelta(milliseconds=50))
    async with house.open(), house.connect(None) as client:
        said, code = await ended(client)

    assert (said[0]["code"], code) == ("http.first_message_missing", ws.POLICY)


async def test_more_than_one_message_is_too_much() -> None:
    house = House(Scripted(['{"n":1}']))
    async with house.open(), house.connect() as client:
        await resumed(client)
        await client.recv()
        await client.send("hello?")
        said, code = await ended(client)

    assert (said[-1]["code"], code) == ("http.bad_message", ws.POLICY)
    assert house.source.closed.is_set()


async def test_a_message_that_is_too_large_is_not_even_read() -> None:
    house = House(Scripted())
    async with house.open(), house.connect() as client:
        await client.send("x" * (ws.LARGEST + 1))
        said, code = await ended(client)

    assert (said, code) == ([], 1009)
    assert house.asked == []


async def test_nothing_is_compressed() -> None:
    house = House(Scripted())
    async with house.open(), house.connect() as client:
        assert client.response is not None
        assert "Sec-WebSocket-Extensions" not in client.response.headers


async def test_who_says_nothing_is_heard_to_live(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams_module, "TICK", timedelta(milliseconds=10))
    monkeypatch.setattr(streams_module.Telling.__init__, "__kwdefaults__", {**QUICK})
    house = House(Scripted())
    async with house.open(), house.connect() as client:
        await resumed(client)
        beats = [json.loads(await client.recv()) for _ in range(3)]

    assert [beat["type"] for beat in beats] == ["heartbeat"] * 3


QUICK = {
    "heartbeat": timedelta(milliseconds=20),
    "patience": timedelta(milliseconds=50),
    "check": timedelta(milliseconds=20),
}


async def test_a_key_that_is_good_no_more_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams_module, "RECALLED", timedelta(0))
    monkeypatch.setattr(streams_module.Telling.__init__, "__kwdefaults__", {**QUICK})
    house = House(Scripted(['{"n":1}']))
    async with house.open(), house.connect() as client:
        await resumed(client)
        await client.recv()
        house.revoked.add(GOOD)
        said, code = await ended(client)

    assert (said[-1]["code"], code) == ("http.unknown_key", ws.POLICY)


async def test_the_end_of_the_server_ends_it_well() -> None:
    house = House(Scripted(['{"n":1}']))
    async with asyncio.TaskGroup() as group, house.open():
        client = await house.connect()
        await resumed(client)
        await client.recv()
        silent = await house.connect()
        while house.streams.count < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        ends = [group.create_task(ended(one)) for one in (client, silent)]

    assert [task.result() for task in ends] == [([], ws.AWAY)] * 2


async def test_who_leaves_is_let_go() -> None:
    house = House(Scripted(['{"n":1}']))
    async with house.open():
        async with house.connect() as client:
            await resumed(client)
            await client.recv()
        await house.source.closed.wait()


async def test_who_does_not_read_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams_module.Telling.__init__, "__kwdefaults__", {**QUICK})
    house = House(Endless())
    with capture_logs() as logs:
        async with house.open() as url:
            with socket.socket() as deaf:
                deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                deaf.connect(("127.0.0.1", int(url.rstrip("/").rpartition(":")[2])))
                async with connect(
                    url,
                    sock=deaf,
                    proxy=None,
                    max_queue=1,
                    additional_headers={"Authorization": f"Bearer {GOOD}"},
                ) as client:
                    await resumed(client)
                    await house.source.closed.wait()
                    client.transport.abort()

    assert "http.slow_reader" in [line["event"] for line in logs]


async def test_there_is_room_for_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams_module, "MOST_OF_NOBODY", 1)
    house = House(Scripted(), streams=Streams(most_of_one=1))
    async with house.open(), house.connect(None) as stranger:
        while not house.streams.count:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        with pytest.raises(InvalidStatus) as refused:
            await house.connect(None)
        assert refused.value.response.status_code == 503
        async with house.connect():  # strangers take no room from those who are known
            pass
        await resumed(stranger, key=GOOD)
        while not house.asked:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        with pytest.raises(InvalidStatus) as refused:
            await house.connect()
        assert refused.value.response.status_code == 503
