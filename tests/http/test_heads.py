"""HEAD, answered as GET would be."""

import asyncio
from collections.abc import AsyncGenerator

import pytest
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from httpx2 import ASGITransport, AsyncClient
from structlog.testing import capture_logs

from postroom.http.heads import Heads
from postroom.http.requests import Requests
from postroom.http.tags import Tags


@pytest.fixture
async def app() -> FastAPI:
    app = FastAPI()
    app.add_middleware(Tags)
    app.add_middleware(Heads, changing=("/spend/",))
    app.add_middleware(Requests)
    app.state.ended = False

    @app.get("/v1/list")
    async def list_() -> list[int]:
        return [1, 2]

    @app.get("/spend/{what}")
    async def spend(what: str) -> str:
        app.state.spent = what
        return what

    @app.get("/endless")
    async def endless() -> StreamingResponse:
        async def pieces() -> AsyncGenerator[bytes]:
            try:
                while True:
                    yield b"more"
                    await asyncio.sleep(0)
            finally:
                app.state.ended = True

        return StreamingResponse(pieces())

    return app


@pytest.fixture
async def client(app: FastAPI) -> AsyncGenerator[AsyncClient]:
    async with AsyncClient(transport=ASGITransport(app), base_url="http://postroom.test") as client:
        yield client


async def test_it_has_the_headers_of_a_get_and_nothing_else(client: AsyncClient) -> None:
    known = {"X-Request-ID": "r"}
    whole, head = [await ask("/v1/list", headers=known) for ask in (client.get, client.head)]
    same = await client.head("/v1/list", headers={"If-None-Match": whole.headers["ETag"]})

    assert (head.status_code, head.headers, head.content) == (200, whole.headers, b"")
    assert head.headers["Content-Length"] == "5"
    assert (same.status_code, same.content) == (304, b"")
    assert (await client.head("/nowhere")).status_code == 404


async def test_what_would_go_on_for_ever_ends(app: FastAPI, client: AsyncClient) -> None:
    async with asyncio.timeout(10):
        head = await client.head("/endless")

    assert (head.status_code, head.content, app.state.ended) == (200, b"", True)


async def test_it_changes_nothing_where_a_get_does(app: FastAPI, client: AsyncClient) -> None:
    assert (await client.head("/spend/state")).status_code == 405
    assert not hasattr(app.state, "spent")


async def test_the_log_says_that_it_was_one(client: AsyncClient) -> None:
    with capture_logs() as logs:
        await client.head("/v1/list")

    assert [(line["method"], line["route"]) for line in logs] == [("HEAD", "/v1/list")]
