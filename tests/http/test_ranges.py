"""Which bytes a Range header asks for."""

from collections.abc import AsyncGenerator
from contextlib import suppress

import pytest
from fastapi import FastAPI, Response
from httpx2 import ASGITransport, AsyncClient
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.exceptions import HTTPException

from postroom.http import problems
from postroom.http.compress import Compressed
from postroom.http.ranges import Conditional, Stored, sent, wanted

CONTENT = b"0123456789" * 200
ETAG = '"abc"'


@pytest.fixture
async def client() -> AsyncGenerator[AsyncClient]:
    app = FastAPI()
    problems.plug_in(app)
    app.add_middleware(Compressed)

    async def read(first: int, past: int) -> AsyncGenerator[bytes]:
        for at in range(first, past, 300):
            yield CONTENT[at : min(at + 300, past)]

    @app.get("/raw")
    async def raw(asked: Conditional) -> Response:
        return await sent(Stored(len(CONTENT), ETAG, "text/plain", {"X-Own": "1"}, read), asked)

    async with AsyncClient(transport=ASGITransport(app), base_url="http://postroom.test") as client:
        yield client


@pytest.mark.parametrize(
    ("header", "first", "past"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-99", 0, 100),
        ("bytes=5-", 5, 100),
        ("bytes=99-", 99, 100),
        ("bytes=50-1000", 50, 100),
        ("bytes=-1", 99, 100),
        ("bytes=-1000", 0, 100),
        ("Bytes = 1-2", 1, 3),
        ("bytes=1-2,", 1, 3),
        ("bytes=0-" + "9" * 5000, 0, 100),
        ("bytes=-" + "9" * 5000, 0, 100),
    ],
)
def test_one_part_is_what_it_says(header: str, first: int, past: int) -> None:
    assert wanted(header, 100) == (first, past)


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=100-200", "bytes=-0", "bytes=" + "9" * 5000 + "-"])
def test_a_part_in_which_nothing_lies_is_refused_with_the_size(header: str) -> None:
    with pytest.raises(HTTPException) as refused:
        wanted(header, 100)

    assert refused.value.status_code == 416
    assert refused.value.headers == {"Content-Range": "bytes */100"}


@pytest.mark.parametrize(
    "header",
    [
        *(None, "", "bytes", "bytes=", "bytes=-", "bytes=5", "bytes=2-1", "bytes=a-b", "bytes=0x1-2"),
        *("lines=1-2", "bytes=1-2,5-6", "bytes=-1,-2", "bytes=1--2", "bytes=+1-2", "bytes=١-٢", "bytes 1-2"),
    ],
)
def test_whatever_else_is_asked_the_whole_is_the_answer(header: str | None) -> None:
    assert wanted(header, 100) is None


def test_of_nothing_there_is_no_part() -> None:
    assert wanted("bytes=-5", 0) is None
    with pytest.raises(HTTPException):
        wanted("bytes=0-", 0)


@given(st.text(max_size=30) | st.from_regex(r"bytes=[0-9]*-[0-9]*", fullmatch=True), st.integers(0, 50))
@settings(max_examples=200)
def test_any_header_means_a_part_of_what_there_is_or_nothing(header: str, size: int) -> None:
    with suppress(HTTPException):
        part = wanted(header, size)
        assert part is None or 0 <= part[0] < part[1] <= size


async def test_a_part_says_which_it_is_and_the_whole_that_there_are_parts(client: AsyncClient) -> None:
    whole = await client.get("/raw")
    part = await client.get("/raw", headers={"Range": "bytes=250-1249"})

    assert (whole.status_code, whole.content) == (200, CONTENT)
    assert "Content-Range" not in whole.headers
    assert (part.status_code, part.content) == (206, CONTENT[250:1250])
    assert part.headers["Content-Range"] == "bytes 250-1249/2000"
    assert (whole.headers["Content-Length"], part.headers["Content-Length"]) == ("2000", "1000")
    for answer in (whole, part):
        assert (answer.headers["Accept-Ranges"], answer.headers["ETag"]) == ("bytes", ETAG)
        assert answer.headers["X-Own"] == "1"
        assert "Content-Encoding" not in answer.headers  # its bytes are what is counted


async def test_who_has_something_else_gets_the_whole(client: AsyncClient) -> None:
    for known, status in (
        (ETAG, 206),
        ('"old"', 200),
        ("W/" + ETAG, 200),
        ("Thu, 01 Jan 2026 00:00:00 GMT", 200),
    ):
        answer = await client.get("/raw", headers={"Range": "bytes=0-9", "If-Range": known})
        assert (answer.status_code, len(answer.content)) == (status, 10 if status == 206 else 2000), known
    ignored = await client.get("/raw", headers={"Range": "bytes=5000-", "If-Range": '"old"'})
    assert ignored.status_code == 200


async def test_who_has_it_gets_nothing_whatever_the_part(client: AsyncClient) -> None:
    answer = await client.get("/raw", headers={"Range": "bytes=5000-", "If-None-Match": f"W/{ETAG}"})

    assert (answer.status_code, answer.content, answer.headers["ETag"]) == (304, b"", ETAG)


async def test_behind_the_end_there_is_a_problem_that_tells_the_size(client: AsyncClient) -> None:
    answer = await client.get("/raw", headers={"Range": "bytes=2000-"})

    assert (answer.status_code, answer.json()["code"]) == (416, "http.nothing_in_range")
    assert answer.headers["Content-Range"] == "bytes */2000"
