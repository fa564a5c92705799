"""A request that takes too long is given up, and so is the work on it."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import pytest
from fastapi import FastAPI, Response
from fastapi.responses import StreamingResponse
from httpx2 import ASGITransport, AsyncClient
from servers.api import Client
from structlog.testing import capture_logs

from postroom.http.deps import Tx
from postroom.http.limits import TimeLimit
from postroom.http.problems import plug_in

SHORT = timedelta(milliseconds=50)
SLEEPING = (
    "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(606)%' AND state = 'active'"
)


@pytest.fixture
def slow() -> FastAPI:
    app = FastAPI()
    plug_in(app)
    app.state.ended = asyncio.Event()
    app.add_middleware(TimeLimit, limit=SHORT)

    @app.api_route("/never", methods=["GET", "POST"])
    async def never() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            app.state.ended.set()

    @app.get("/own")
    async def own() -> None:
        async with asyncio.timeout(0):
            await asyncio.Event().wait()

    @app.get("/begun")
    async def begun() -> Response:
        async def parts() -> AsyncIterator[bytes]:
            yield b"be"
            await asyncio.sleep(4 * SHORT.total_seconds())  # a reader who takes its time
            yield b"gun"

        return StreamingResponse(parts())

    return app


@pytest.fixture
async def client(slow: FastAPI) -> AsyncIterator[AsyncClient]:
    transport = ASGITransport(slow, raise_app_exceptions=False)
    async with (
        asyncio.timeout(30),
        AsyncClient(transport=transport, base_url="http://postroom.test") as client,
    ):
        yield client


async def test_what_takes_too_long_is_given_up_with_a_problem(slow: FastAPI, client: AsyncClient) -> None:
    with capture_logs() as logs:
        answer = await client.get("/never")

    assert (answer.status_code, answer.json()["code"]) == (503, "http.too_slow")
    assert answer.headers["Retry-After"] == "5"
    assert slow.state.ended.is_set()
    assert [(line["event"], line["seconds"]) for line in logs] == [("http.too_slow", 0.05)]


async def test_what_changes_something_may_take_longer(client: AsyncClient) -> None:
    with capture_logs() as logs:
        assert (await client.post("/never")).status_code == 503

    assert [line["seconds"] for line in logs] == [pytest.approx(0.15)]


async def test_an_answer_that_has_begun_is_not_cut_off(client: AsyncClient) -> None:
    assert (await client.get("/begun")).content == b"begun"


async def test_a_limit_of_somebody_else_stays_theirs(client: AsyncClient) -> None:
    assert (await client.get("/own")).status_code == 500


async def test_the_statement_ends_with_the_request(app: FastAPI, api: Client, dsn: str) -> None:
    app.add_middleware(TimeLimit, limit=timedelta(seconds=1))

    @app.get("/v1/slow")
    async def slow(conn: Tx) -> None:
        await conn.execute("SELECT pg_sleep(606)")

    owner = await asyncpg.connect(dsn)
    try:
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            asked = group.create_task(api.get("/v1/slow"))
            while not await owner.fetchval(SLEEPING):  # it has come as far as PostgreSQL
                assert not asked.done()
            answer = await asked
            while await owner.fetchval(SLEEPING):
                pass
    finally:
        await owner.close()

    assert (answer.status_code, answer.json()["code"]) == (503, "http.too_slow")
    assert (await api.get("/v1/people/me")).status_code == 200  # and nothing is in the way
