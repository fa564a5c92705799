"""Who gets compressed answers."""

import pytest
from fastapi import FastAPI
from httpx2 import ASGITransport, AsyncClient

from postroom.http.compress import Compressed


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        ("gzip", "gzip"),
        ("br, gzip ; q=0.001", "gzip"),
        ("deflate;q=0,gzip", "gzip"),
        ("", None),
        ("gzip;q=0", None),
        ("identity, gzip ; Q=0.000", None),
        ("*;q=0, gzip;q=0.0", None),
        ("notgzip", None),
    ],
)
async def test_an_answer_is_compressed_for_who_takes_that(accepted: str, encoding: str | None) -> None:
    app = FastAPI()
    app.add_middleware(Compressed)

    @app.get("/")
    async def long() -> str:
        return "x" * 5000

    async with AsyncClient(transport=ASGITransport(app), base_url="http://postroom.test") as client:
        answer = await client.get("/", headers={"Accept-Encoding": accepted})

    assert answer.headers.get("Content-Encoding") == encoding
    assert answer.headers["Vary"] == "Accept-Encoding"
    assert answer.json() == "x" * 5000
