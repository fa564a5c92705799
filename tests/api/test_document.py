"""The OpenAPI document is complete. Answers are held to it by `servers.document`, in every test."""

import re
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import httpx2
import orjson
import pytest
from api.test_app import filled
from fastapi import FastAPI
from openapi_spec_validator import OpenAPIV31SpecValidator
from servers.api import Client, Connect, key_of
from servers.document import Document, Part, document_of
from servers.live import served
from servers.tenants import ONE

from postroom.db.pool import Database
from postroom.errors import PostroomError
from postroom.events.kinds import KINDS
from postroom.events.routes import Resume
from postroom.http.caller import Scope
from postroom.http.problems import KINDS as STATUSES
from postroom.http.problems import MEDIA_TYPE, ROUTING

OTHERS = {"http.invalid_request": 422, "http.unexpected": 500}
"""Codes that are not those of an exception."""
COUNTED = {"RateLimit", "RateLimit-Policy"}
NO_SCOPE = {"get_me", "sign_out"}
"""What whoever is known may do."""


@pytest.fixture
def document(app: FastAPI) -> Document:
    return document_of(app)


def answers(document: Document, *, problems: bool) -> Iterator[tuple[str, str, Part]]:
    """The operation, the status and the answer, of those that are problems or of the others."""
    for name, operation in document.operations.items():
        for status, answer in operation["responses"].items():
            if (int(status) >= 400) is problems:
                yield name, status, answer


def codes(answer: Part) -> list[str]:
    found: list[str] = answer["content"][MEDIA_TYPE]["schema"]["properties"]["code"]["enum"]
    return found


def test_the_document_is_openapi_3_1(document: Document) -> None:
    assert document.document["openapi"].startswith("3.1.")
    assert not [error.message for error in OpenAPIV31SpecValidator(document.document).iter_errors()]


def test_it_is_made_when_it_is_first_asked_for(app: FastAPI) -> None:
    assert app.openapi_schema is None
    assert app.openapi() is app.openapi()


def test_it_holds_together(document: Document) -> None:
    text = orjson.dumps(document.document).decode()
    wanted = set(re.findall(r'"#/components/schemas/([\w.]+)"', text))
    headers = set(re.findall(r'"#/components/headers/([\w-]+)"', text))

    assert wanted == document.document["components"]["schemas"].keys()
    assert headers == document.document["components"]["headers"].keys()
    assert "Out" not in " ".join(wanted)


def test_every_operation_says_what_it_does(document: Document) -> None:
    tags = {tag["name"] for tag in document.document["tags"]}
    for path, operations in document.document["paths"].items():
        for operation in operations.values():
            name = operation["operationId"]
            assert re.fullmatch(r"[a-z]+(_[a-z]+)*", name)
            assert operation["summary"].lower().replace(" ", "_") == name
            assert operation["description"], f"{name} says nothing about itself"
            assert set(operation["tags"]) <= tags
            assert ("security" in operation) == path.startswith("/v1/"), name


def test_every_operation_says_which_scope_it_needs(document: Document) -> None:
    for name, operation in document.operations.items():
        if "security" not in operation:
            continue
        scopes = {scheme: wanted for each in operation["security"] for scheme, wanted in each.items()}
        assert scopes.keys() == document.document["components"]["securitySchemes"].keys()
        for wanted in scopes.values():
            assert wanted == [] if name in NO_SCOPE else wanted[0] in set(Scope), name


def test_every_body_and_every_answer_has_an_example(document: Document) -> None:
    for name, operation in document.operations.items():
        if "requestBody" in operation:
            assert operation["requestBody"]["content"]["application/json"]["examples"], name
    for name, status, answer in answers(document, problems=False):
        for media_type, content in answer.get("content", {}).items():
            assert content["examples"], (name, status, media_type)


def test_every_example_is_what_its_schema_says(document: Document) -> None:
    bodies = [each["requestBody"] for each in document.operations.values() if "requestBody" in each]
    for part in [*bodies, *(answer for _, _, answer in answers(document, problems=False))]:
        for content in part.get("content", {}).values():
            for name, example in content["examples"].items():
                complaints = document.complaints(content["schema"], example["value"])
                assert not complaints, (name, complaints)


def test_nothing_is_told_of_what_is_not_there(document: Document) -> None:
    for file in files("postroom").iterdir():
        if not file.is_dir() or not (file / "routes.json").is_file():
            continue
        told = orjson.loads((file / "routes.json").read_bytes())
        assert told.get("operations", {}).keys() <= document.operations.keys()
        assert told.get("examples", {}).keys() <= document.document["components"]["schemas"].keys()
        for name, of in told.get("operations", {}).items():
            statuses = {*of.get("answers", {}), *of.get("headers", {})}
            assert statuses <= document.operations[name]["responses"].keys(), name


def test_every_failure_is_a_problem_with_codes_of_its_status(document: Document) -> None:
    known = {code: status for status, (code, _) in ROUTING.items()} | OTHERS
    for error in _below(PostroomError):
        known[error.code] = next(status for kind, status, _ in STATUSES if issubclass(error, kind))
    for name, status, answer in answers(document, problems=True):
        assert codes(answer), (name, status)
        for code in codes(answer):
            assert known.get(code) == int(status), (name, status, code)


def _below(error: type[PostroomError]) -> Iterator[type[PostroomError]]:
    for each in error.__subclasses__():
        yield each
        yield from _below(each)


def test_what_everybody_can_be_told_stands_at_every_operation(document: Document) -> None:
    for name, operation in document.operations.items():
        responses = operation["responses"]
        wanted = {"500", "503"} | ({"401", "403", "429"} if "security" in operation else set())
        wanted -= {"403"} if name == "get_me" else set()
        assert wanted <= responses.keys(), name
        if "requestBody" in operation:
            assert {"400", "413", "422"} <= responses.keys(), name


def test_every_answer_names_its_headers(document: Document) -> None:
    for name, operation in document.operations.items():
        for status, answer in operation["responses"].items():
            headers = answer["headers"].keys()
            assert "X-Request-ID" in headers
            assert (headers >= COUNTED) == ("security" in operation and status != "401"), (name, status)
            if status in {"429", "503"}:
                assert "Retry-After" in headers, (name, status)
            if status == "202":
                assert "Location" in headers, (name, status)
            if status in {"206", "304"}:
                assert "ETag" in headers, (name, status)


async def test_the_scope_that_is_told_is_the_one_that_is_needed(
    document: Document, db: Database, connect: Connect, tenants: None
) -> None:
    del tenants
    clients = {scope: connect(await key_of(db, ONE, scope)) for scope in Scope}
    for path, operations in document.document["paths"].items():
        for method, operation in operations.items():
            wanted = operation.get("security", [{"key": []}])[0]["key"]
            for scope, client in clients.items():
                answer = await client.request(
                    method,
                    filled(path),
                    params={"after": "nowhere"},  # a stream would not end
                    json={} if method != "get" else None,
                )
                is_refused = "http.missing_scope" in answer.text
                assert is_refused == bool(wanted and scope not in {*wanted, Scope.ADMIN}), (path, scope)


def test_streams_name_all_that_they_tell(document: Document) -> None:
    told: dict[str, Any] = {
        name: operation["responses"]["200"]["content"]["text/event-stream"]["x-events"]
        for name, operation in document.operations.items()
        if name.startswith("follow_")
    }

    assert told["follow_events"].keys() == KINDS.keys() | {"ready", "sync_started", "sync", "heartbeat"}
    assert told["follow_job"].keys() >= {"job_event", "job_status", "batch_progress", "batch_complete"}


def test_the_first_message_of_a_socket_is_the_one_that_is_told(document: Document) -> None:
    told = document.document["components"]["schemas"]["Resume"]

    assert told["properties"].keys() == {*Resume.model_fields, "key"}


async def test_who_asks_for_a_socket_without_its_handshake_is_told_so(app: FastAPI, api: Client) -> None:
    async with served(app, api.headers["Authorization"].removeprefix("Bearer ")) as live:
        answer = await live.get("/v1/events/ws")

    assert (answer.status_code, answer.json()["code"]) == (426, "http.upgrade_required")
    assert answer.headers["Upgrade"] == "websocket"


async def test_an_answer_that_is_not_in_the_document_is_noticed(document: Document) -> None:
    """What holds the other tests to the document."""
    request = httpx2.Request("GET", "http://postroom.test/v1/accounts")
    told = {"x-request-id": "a", "etag": "b"}
    page = {"items": [], "has_next": False, "next": None}
    fine = httpx2.Response(200, json=page, headers=told, request=request)
    wrong = [
        httpx2.Response(418, json={}, headers=told, request=request),
        httpx2.Response(200, json={"items": 1}, headers=told, request=request),
        httpx2.Response(200, json=page, request=request),
        httpx2.Response(200, text="", headers=told, request=request),
        httpx2.Response(
            404,
            content=orjson.dumps({"type": "a:b", "title": "", "status": 404, "code": "x.y", "detail": ""}),
            headers={**told, "content-type": MEDIA_TYPE},
            request=request,
        ),
    ]

    await document.check(fine)
    for answer in wrong:
        with pytest.raises(AssertionError):
            await document.check(answer)
    with pytest.raises(AssertionError):
        document.check_event("/v1/events/stream", "sync_started", {"account": 7})
