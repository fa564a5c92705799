"""Answers that their asker has already."""

from collections.abc import AsyncGenerator
from typing import Any

import pytest
from fastapi import FastAPI, Response
from fastapi.responses import StreamingResponse
from httpx2 import ASGITransport, AsyncClient

from postroom.http.compress import Compressed
from postroom.http.tags import Tags, tag, unchanged


@pytest.fixture
async def client() -> AsyncGenerator[AsyncClient]:
    app = FastAPI()
    app.state.said = {"items": [1, 2], "next": "k.A"}
    app.add_middleware(Tags)
    app.add_middleware(Compressed)

    @app.api_route("/v1/list", methods=["GET", "POST"])
    async def list_() -> Any:
        return app.state.said

    @app.get("/elsewhere")
    async def elsewhere() -> Any:
        return app.state.said

    @app.get("/v1/bad", status_code=404)
    async def bad() -> Any:
        return app.state.said

    @app.get("/v1/own")
    async def own(response: Response) -> Any:
        response.headers["ETag"] = '"own"'
        return app.state.said

    @app.get("/v1/long")
    async def long() -> StreamingResponse:
        return StreamingResponse(iter([b"[1,", b"2]"]), media_type="application/json")

    async with AsyncClient(transport=ASGITransport(app), base_url="http://postroom.test") as client:
        client.headers["X-App"] = "1"
        client.app = app  # type: ignore[attr-defined]
        yield client


def said(client: AsyncClient, what: Any) -> None:
    client.app.state.said = what  # type: ignore[attr-defined]


async def test_who_has_an_answer_is_told_so_until_it_says_something_else(client: AsyncClient) -> None:
    first = await client.get("/v1/list")
    known = {"If-None-Match": f'"other", {first.headers["ETag"]}'}
    same = await client.get("/v1/list", headers=known)
    said(client, {"items": [1, 3], "next": "k.A"})
    other = await client.get("/v1/list", headers=known)

    assert first.headers["ETag"].startswith('W/"')
    assert (same.status_code, same.content, same.headers["ETag"]) == (304, b"", first.headers["ETag"])
    assert not {"content-type", "content-length"} & same.headers.keys()
    assert (other.status_code, other.json()["items"]) == (200, [1, 3])
    assert other.headers["ETag"] != first.headers["ETag"]


async def test_a_cursor_that_is_sealed_anew_is_no_change_but_its_end_is(client: AsyncClient) -> None:
    tags = []
    for following in ("k.A", "k.B", None):
        said(client, {"items": [1, 2], "next": following})
        tags.append((await client.get("/v1/list")).headers["ETag"])

    assert tags[0] == tags[1] != tags[2]


async def test_a_cursor_of_the_log_that_has_moved_on_is_a_change(client: AsyncClient) -> None:
    tags = []
    for following in ("AAAA", "AAAB"):
        said(client, {"items": [], "next": following})
        tags.append((await client.get("/v1/list")).headers["ETag"])

    assert tags[0] != tags[1]


def test_a_text_that_looks_like_a_cursor_is_none() -> None:
    assert tag(rb'{"subject":"\"next\":\"k.A\""}') != tag(rb'{"subject":"\"next\":\"k.B\""}')


async def test_a_compressed_answer_has_the_tag_of_the_plain_one(client: AsyncClient) -> None:
    said(client, ["x" * 5000])
    plain = await client.get("/v1/list", headers={"Accept-Encoding": "identity"})
    packed = await client.get("/v1/list", headers={"Accept-Encoding": "gzip"})

    assert packed.headers["Content-Encoding"] == "gzip"
    assert packed.json() == plain.json()
    assert packed.headers["ETag"] == plain.headers["ETag"]


async def test_only_what_a_get_below_v1_says_whole_and_well_gets_a_tag(client: AsyncClient) -> None:
    answers = [
        await client.post("/v1/list"),
        await client.get("/elsewhere"),
        await client.get("/v1/bad"),
        await client.get("/v1/long"),
    ]

    assert [answer.headers.get("ETag") for answer in answers] == [None] * 4
    assert answers[3].json() == [1, 2]
    assert (await client.get("/v1/own")).headers["ETag"] == '"own"'


def test_a_copy_is_known_by_its_tag() -> None:
    assert unchanged('W/"0102.3"', '"x", W/"0102.3"')
    assert unchanged('W/"0102.3"', '"0102.3"')
    assert unchanged('"0102.3"', 'W/"0102.3"')
    assert unchanged('"0102.3"', "*")
    assert not unchanged('"0102.3"', None)
    assert not unchanged('"0102.3"', '"0102"')
