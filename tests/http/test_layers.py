"""Problems, limits and the request log, around an application of a few bad routes."""

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Annotated, Any

import httpx2
import pytest
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from prometheus_client import REGISTRY
from pydantic import Field
from structlog.testing import capture_logs

from postroom import errors
from postroom.http import problems
from postroom.http.asked import Body
from postroom.http.limits import BodyLimit
from postroom.http.problems import KINDS, Unexpected
from postroom.http.requests import Requests

SUBCLASSES = [kind for kind, _, _ in KINDS]


class Canary(errors.Broken):
    code = "x.broken"


class Said(Body):
    text: Annotated[str, Field(max_length=5)]


@pytest.fixture
def app() -> FastAPI:
    app = FastAPI()
    problems.plug_in(app)
    app.add_middleware(BodyLimit, largest=1000)
    app.add_middleware(Unexpected)
    app.add_middleware(Requests)

    @app.get("/raise/{position}")
    async def fail(position: int) -> None:
        raise SUBCLASSES[position]("A sentence.", host="example.org", gone=None)

    @app.get("/broken")
    async def broken() -> None:
        raise Canary("canary: the disk /secret is full", path="canary")

    @app.get("/later")
    async def later() -> None:
        raise errors.TryLater("Wait.", wait=timedelta(seconds=1.5))

    @app.get("/bug")
    async def bug() -> None:
        raise KeyError("canary")

    @app.get("/half")
    async def half() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            yield b"half"
            raise KeyError("canary")

        return StreamingResponse(parts())

    @app.post("/echo")
    async def echo(said: Said) -> str:
        return said.text

    return app


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://postroom.test") as client:
        yield client


@pytest.mark.parametrize("position", range(len(KINDS)), ids=lambda n: KINDS[n][0].__name__)
async def test_every_kind_of_error_is_a_problem_with_its_status(
    client: httpx2.AsyncClient, position: int
) -> None:
    kind, status, title = KINDS[position]
    answer = await client.get(f"/raise/{position}")
    told = answer.json()

    assert answer.headers["content-type"] == problems.MEDIA_TYPE
    assert (answer.status_code, told["status"], told["code"], told["title"]) == (
        status,
        status,
        kind.code,
        title,
    )
    assert told["type"] == f"urn:postroom:problem:{kind.code}"
    assert ("WWW-Authenticate" in answer.headers) == (status == 401)
    assert ("Retry-After" in answer.headers) == issubclass(kind, errors.TryLater | errors.Broken)
    assert ("request_id" in told) == (status >= 500)


def test_every_kind_there_is_has_a_status_and_the_root_comes_last() -> None:
    kinds = {kind for kind in vars(errors).values() if isinstance(kind, type)}
    ours = {kind for kind in kinds if issubclass(kind, errors.PostroomError)} - {errors.PostroomError}

    assert ours | {errors.PostroomError} == set(SUBCLASSES)
    assert SUBCLASSES[-1] is errors.PostroomError
    for nth, kind in enumerate(SUBCLASSES):
        assert not any(issubclass(kind, before) for before in SUBCLASSES[:nth]), kind


async def test_how_long_to_wait_is_told_in_whole_seconds(client: httpx2.AsyncClient) -> None:
    assert (await client.get("/later")).headers["Retry-After"] == "2"


async def test_what_the_operator_must_mend_is_told_to_the_log_alone(client: httpx2.AsyncClient) -> None:
    with capture_logs() as logs:
        answer = await client.get("/broken")

    assert "canary" not in answer.text
    assert answer.json()["code"] == "x.broken"
    assert any("canary" in str(line) for line in logs)


async def test_an_unforeseen_error_tells_nothing_but_where_to_look(client: httpx2.AsyncClient) -> None:
    with capture_logs() as logs:
        answer = await client.get("/bug", headers={"X-Request-ID": "r-1"})

    assert answer.status_code == 500
    assert "canary" not in answer.text
    assert answer.json()["request_id"] == "r-1" == answer.headers["X-Request-ID"]
    assert [line["event"] for line in logs] == ["http.unexpected", "http.request"]


async def test_half_an_answer_never_looks_like_a_whole_one(app: FastAPI) -> None:
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://postroom.test") as client:
        with capture_logs(), pytest.raises(KeyError):
            await client.get("/half")


async def test_a_refused_value_is_not_repeated(client: httpx2.AsyncClient) -> None:
    answer = await client.post("/echo", json={"text": "canary"})
    (complaint,) = answer.json()["errors"]

    assert answer.status_code == 422
    assert complaint["where"] == "body.text"
    assert "canary" not in answer.text


@pytest.mark.parametrize("body", ["{", '{"text": NaN}', "\xff", "[" * 900])
async def test_a_body_that_is_not_json_is_the_callers_mistake(client: httpx2.AsyncClient, body: str) -> None:
    answer = await client.post(
        "/echo", content=body.encode("latin-1"), headers={"Content-Type": "application/json"}
    )

    assert answer.status_code in {400, 422}
    assert answer.headers["content-type"] == problems.MEDIA_TYPE


@pytest.mark.parametrize(
    ("content_type", "body", "what"),
    [
        ("application/json", '{"text": "canary",}', "This is no JSON: "),
        ("application/x-www-form-urlencoded", '{"text": "canary"}', "Send JSON, and say so: "),
    ],
)
async def test_it_is_said_what_keeps_a_body_from_being_read(
    client: httpx2.AsyncClient, content_type: str, body: str, what: str
) -> None:
    answer = await client.post("/echo", content=body, headers={"Content-Type": content_type})
    (complaint,) = answer.json()["errors"]

    assert (answer.status_code, complaint["where"]) == (422, "body")
    assert complaint["what"].startswith(what)
    assert "canary" not in answer.text


async def test_a_body_too_large_is_refused_announced_or_not(client: httpx2.AsyncClient) -> None:
    async def parts() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b" " * 400

    json_type = {"Content-Type": "application/json"}
    announced = await client.post("/echo", content=b" " * 1001, headers=json_type)
    streamed = await client.post("/echo", content=parts(), headers=json_type)

    for answer in (announced, streamed):
        assert (answer.status_code, answer.json()["code"]) == (413, "http.too_large")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "http.not_found"),
        ("GET", "/echo/", 404, "http.not_found"),
        ("DELETE", "/echo", 405, "http.method_not_allowed"),
    ],
)
async def test_what_leads_to_no_route_is_a_problem_too(
    client: httpx2.AsyncClient, app: FastAPI, method: str, path: str, status: int, code: str
) -> None:
    app.router.redirect_slashes = False
    answer = await client.request(method, path)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == problems.MEDIA_TYPE


async def test_a_wrong_method_is_told_the_right_ones(client: httpx2.AsyncClient, app: FastAPI) -> None:
    @app.get("/echo")
    async def ask() -> None:
        """Beside the POST of the same path."""

    answer = await client.delete("/echo")

    assert answer.headers["Allow"] == "GET, HEAD, POST"


async def test_the_log_has_the_template_of_a_path_and_not_the_path(client: httpx2.AsyncClient) -> None:
    with capture_logs() as logs:
        await client.get(
            f"/raise/{SUBCLASSES.index(errors.Conflict)}?q=canary", headers={"Authorization": "Bearer canary"}
        )
        await client.get("/canary")

    lines: list[dict[str, Any]] = [dict(line) for line in logs if line["event"] == "http.request"]
    assert [(line["method"], line["route"], line["status"]) for line in lines] == [
        ("GET", "/raise/{position}", 409),
        ("GET", "(none)", 404),
    ]
    assert "canary" not in json.dumps(lines)
    assert all(line["ms"] >= 0 for line in lines)


async def test_requests_are_measured_by_template(client: httpx2.AsyncClient) -> None:
    labels = {"method": "GET", "route": "/later", "status": "503"}
    before = REGISTRY.get_sample_value("postroom_http_request_seconds_count", labels) or 0
    await client.get("/later")

    assert REGISTRY.get_sample_value("postroom_http_request_seconds_count", labels) == before + 1


@pytest.mark.parametrize("given", ["", "x" * 65, "a b", "a\u00e9", "{}"])
async def test_a_harmful_request_id_is_replaced(client: httpx2.AsyncClient, given: str) -> None:
    answer = await client.get("/later", headers=[(b"X-Request-ID", given.encode())])

    assert answer.headers["X-Request-ID"] != given
    assert len(answer.headers["X-Request-ID"]) == 36


async def test_every_answer_forbids_guessing_framing_and_keeping(client: httpx2.AsyncClient) -> None:
    for path in ("/bug", "/nowhere", "/later"):
        headers = (await client.get(path)).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert headers["Cache-Control"] == "no-store"
