"""The page that tells people how something ended."""

import base64
import re
from hashlib import sha256

import httpx2
import pytest
from fastapi import FastAPI, Request, Response

from postroom import errors
from postroom.http.page import page, refused


async def shown(error: errors.PostroomError) -> httpx2.Response:
    app = FastAPI()

    @app.get("/")
    async def fail(request: Request) -> Response:
        request.state.request_id = "r-1"
        return refused("It did not work", error, request)

    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://here.test") as client:
        return await client.get("/")


def test_its_policy_knows_its_style_and_nothing_else() -> None:
    answer = page("A title", "A text.")
    style = re.search(r"<style>(.*?)</style>", bytes(answer.body).decode(), re.DOTALL)
    assert style
    digest = base64.b64encode(sha256(style[1].encode()).digest()).decode()

    policy = answer.headers["Content-Security-Policy"]
    assert f"style-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "Referrer-Policy" not in answer.headers


def test_what_it_says_is_text() -> None:
    for answer in (page("<b>", "<i>", button="<u>", small="<u>"), page("A", "&amp;")):
        text = bytes(answer.body).decode()
        assert not re.search(r"<[biu]>", text)
        assert "<button" not in text or answer.headers["Referrer-Policy"] == "same-origin"


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (errors.NotFound("There is no such thing."), 404, "There is no such thing."),
        (errors.Broken("canary"), 503, "<small>postroom.broken r-1"),
        (errors.Unauthenticated("Who?"), 401, "Who?"),
    ],
)
async def test_it_tells_what_a_problem_tells(error: errors.PostroomError, status: int, said: str) -> None:
    answer = await shown(error)

    assert (answer.status_code, said in answer.text, "canary" in answer.text) == (status, True, False)
    assert ("Retry-After" in answer.headers) == (status == 503)
    assert ("WWW-Authenticate" in answer.headers) == (status == 401)
