"""Answers that go on: they beat, end, and never wait for who does not read."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx2
from fastapi import FastAPI, Response
from structlog.testing import capture_logs

from postroom.cli.listening import listening
from postroom.cli.serving import serving
from postroom.http.deps import Door
from postroom.http.sse import EventStream, frame
from postroom.http.streams import Streams
from postroom.ids import TenantId

ONE = TenantId(1)
NEVER = timedelta(hours=1)


class Scripted:
    """Says these, and then nothing more; or ends, when that is the last word."""

    def __init__(self, *words: Sequence[bytes] | None) -> None:
        self.words, self.closed = list(words), asyncio.Event()

    async def next(self) -> Sequence[bytes] | None:
        await asyncio.sleep(0)
        if not self.words:
            await asyncio.Event().wait()
        return self.words.pop(0)

    def close(self) -> None:
        self.closed.set()


class Endless(Scripted):
    async def next(self) -> Sequence[bytes] | None:
        await asyncio.sleep(0)
        return [frame("x", "y" * 10_000)]


async def yes() -> bool:
    return True


async def no() -> bool:
    return False


async def nobody(_key: str) -> None:
    return None


@asynccontextmanager
async def served(source: Scripted, streams: Streams | None = None, **more: Any) -> AsyncIterator[str]:
    """A URL where this is told."""
    app, streams = FastAPI(), streams or Streams()

    @app.get("/")
    async def tell() -> Response:
        told: dict[str, Any] = {"heartbeat": NEVER, "is_welcome": yes} | more
        return EventStream(source, streams=streams, tenant=ONE, **told)

    app.state.door = Door(None, nobody, None, streams)  # type: ignore[arg-type]  # streams are all it needs
    with listening("127.0.0.1", 0) as listener:
        async with asyncio.timeout(30), serving(app, listener):
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/"


async def lines(url: str, is_enough: Callable[[list[str]], bool] = lambda _: False) -> list[str]:
    """What is told, until that is enough or all."""
    told: list[str] = []
    async with httpx2.AsyncClient(timeout=20) as client, client.stream("GET", url) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        async for line in answer.aiter_lines():
            told.append(line)
            if is_enough(told):
                break
    return told


async def test_what_a_source_says_is_told_and_its_end_ends_the_answer() -> None:
    source = Scripted([frame("a", {"n": 1}, "7"), frame("b", "two\nlines")], [frame("c", None)], None)
    async with served(source) as url:
        told = await lines(url)

    assert told == [
        *("event: a", 'data: {"n":1}', "id: 7", ""),
        *("event: b", 'data: "two\\nlines"', ""),
        *("event: c", "data: null", ""),
    ]
    assert source.closed.is_set()


async def test_who_says_nothing_is_heard_to_live() -> None:
    source = Scripted()
    async with served(source, heartbeat=timedelta(milliseconds=20)) as url:
        told = await lines(url, lambda told: told.count("event: heartbeat") == 3)
        await source.closed.wait()

    assert all("at" in json.loads(line[6:]) for line in told if line.startswith("data: "))


async def test_streams_end_well_when_the_server_stops() -> None:
    source, streams = Scripted([frame("a", 1)]), Streams()
    async with asyncio.TaskGroup() as group, served(source, streams) as url:
        telling = group.create_task(lines(url))
        while not streams.count or source.words:  # noqa: ASYNC110
            await asyncio.sleep(0.001)

    assert telling.result() == ["event: a", "data: 1", ""]
    assert source.closed.is_set()


async def test_who_leaves_is_let_go() -> None:
    source = Scripted([frame("a", 1)])
    async with served(source) as url:
        await lines(url, lambda told: len(told) == 2)
        await source.closed.wait()


async def test_who_does_not_read_is_dropped() -> None:
    source = Endless()
    with capture_logs() as logs:
        async with served(source, patience=timedelta(milliseconds=50)) as url:
            with socket.socket() as deaf:
                deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                deaf.setblocking(False)  # noqa: FBT003
                loop = asyncio.get_running_loop()
                await loop.sock_connect(deaf, ("127.0.0.1", int(url.rstrip("/").rpartition(":")[2])))
                await loop.sock_sendall(deaf, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                await source.closed.wait()

    assert "http.slow_reader" in [line["event"] for line in logs]


async def test_a_key_that_is_good_no_more_ends_its_stream() -> None:
    source = Scripted([frame("a", 1)])
    async with served(source, is_welcome=no, check=timedelta(milliseconds=10)) as url:
        assert await lines(url) == ["event: a", "data: 1", ""]


async def test_there_is_room_for_so_many_of_one_tenant() -> None:
    streams = Streams(most_of_one=1)
    async with served(Scripted([frame("a", 1)]), streams) as url:
        async with httpx2.AsyncClient(timeout=20) as client, client.stream("GET", url):
            while not streams.count:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
            refused = await client.get(url)
        while streams.count:  # noqa: ASYNC110
            await asyncio.sleep(0.001)

    assert (refused.status_code, refused.json()["code"]) == (503, "http.too_many_streams")
    assert refused.headers["Retry-After"] == "5"


async def test_a_key_is_asked_about_once_in_a_while_for_all_its_streams() -> None:
    asked = []

    async def find(key: str) -> None:
        asked.append(key)

    streams = Streams()
    for key in ("a", "a", "b", "a"):
        assert await streams.recalled(key, find) is None

    assert asked == ["a", "b"]


def test_a_peer_that_vanishes_is_given_up_by_the_kernel() -> None:
    with listening("127.0.0.1", 0) as listener:
        with socket.create_connection(listener.getsockname()):
            accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 30_000
