import re
from dataclasses import replace

import pytest
from fastapi import FastAPI
from openapi_spec_validator import OpenAPIV30SpecValidator
from servers.api import ORIGIN, Client, key_of
from servers.tenants import ONE

from postroom.api.docs import in_older_words
from postroom.db.pool import Database
from postroom.http.caller import Scope
from postroom.http.problems import MEDIA_TYPE

SOME_ID = "0197a3b0-0000-7000-8000-000000000000"


def operations(app: FastAPI) -> list[tuple[str, str]]:
    return [
        (method.upper(), path)
        for path, operations in app.openapi()["paths"].items()
        for method in operations
        if path.startswith("/v1/")
    ]


def filled(path: str) -> str:
    """A path with some value for each of its parameters."""
    return re.sub(r"{[a-z_]+}", SOME_ID, path.replace("{number}", "1"))


async def test_no_route_answers_without_a_key(app: FastAPI, stranger: Client) -> None:
    assert operations(app)
    for method, path in operations(app):
        body = {"address": "ann@example.org"} if method in {"POST", "PATCH"} else None
        answer = await stranger.request(method, filled(path), json=body)

        assert (answer.status_code, answer.json()["code"]) == (401, "http.no_key"), (method, path)
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert answer.headers["content-type"] == MEDIA_TYPE


@pytest.mark.parametrize(
    "shown", ["Bearer pr_" + "x" * 43, "Bearer", "Basic cHJfOng=", "Bearer \xff", "pr_x"]
)
async def test_a_wrong_key_is_refused_on_every_route(app: FastAPI, stranger: Client, shown: str) -> None:
    for method, path in operations(app):
        headers = [(b"Authorization", shown.encode("latin-1"))]
        answer = await stranger.request(method, filled(path), headers=headers, json={"address": "a@b.c"})

        assert answer.status_code == 401, (method, path)


async def test_a_key_without_a_scope_opens_nothing_but_me(
    app: FastAPI, db: Database, stranger: Client, tenants: None
) -> None:
    del tenants
    headers = {"Authorization": f"Bearer {await key_of(db, ONE, Scope.PROPOSE)}"}
    for method, path in operations(app):
        answer = await stranger.request(
            method, filled(path), headers=headers, json={"address": "a@b.c", "password": "x"}
        )
        wanted = 200 if path == "/v1/people/me" else 403
        assert answer.status_code == wanted, (method, path, answer.text)


async def test_whatever_may_be_read_answers_to_head(app: FastAPI, api: Client, stranger: Client) -> None:
    reading = [path for path, operations in app.openapi()["paths"].items() if "get" in operations]

    assert "/v1/jobs/{id}/events" in reading
    for path in map(filled, reading):
        for client in (api, stranger):
            head = await client.head(path)
            assert (head.status_code in {200, 400, 401, 404, 422, 426}, head.content) == (True, b""), path
    assert (await api.head("/v1/events/stream")).headers["content-type"].startswith("text/event-stream")
    assert (await api.head("/v1/mail/messages")).headers["ETag"]
    assert "HEAD" in (await api.put("/v1/accounts")).headers["Allow"]


async def test_a_key_tells_whose_it_is_and_never_itself(api: Client) -> None:
    me = (await api.get("/v1/people/me")).json()

    assert me["tenant"]["name"] == "one"
    assert me["key"]["scopes"] == ["admin", "propose", "read", "sync"]
    assert re.fullmatch(r"pr_\w{6}", me["key"]["start"])


async def test_health_needs_neither_a_key_nor_a_database(app: FastAPI, stranger: Client) -> None:
    del app.state.door
    answer = await stranger.get("/health")

    assert (answer.status_code, answer.json()["status"]) == (200, "ok")


async def test_ready_is_a_question_to_the_database(app: FastAPI, stranger: Client) -> None:
    assert (await stranger.get("/health/ready")).status_code == 200

    nowhere = Database("postgresql://canary@/db?host=/canary", size=1, role=None)
    app.state.door = replace(app.state.door, database=nowhere)
    answer = await stranger.get("/health/ready")

    assert (answer.status_code, answer.json()["code"]) == (503, "db.unreachable")
    assert "canary" not in answer.text


async def test_metrics_are_there_for_prometheus(stranger: Client) -> None:
    await stranger.get("/health")
    text = (await stranger.get("/metrics")).text

    assert 'postroom_http_request_seconds_count{method="GET",route="/health",status="200"}' in text


async def test_the_documentation_needs_nothing_from_elsewhere(stranger: Client) -> None:
    page = await stranger.get("/docs")
    links = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    parts = [await stranger.get("/" + link) for link in links]

    assert len(links) == 4
    assert all(part.status_code == 200 for part in parts)
    for text in (
        page.text,
        *(part.text for link, part in zip(links, parts, strict=True) if link.endswith("start.js")),
    ):
        assert "//" not in text
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "http" not in policy
    assert not re.search(r"<script(?! src=)|\son\w+=|<style", page.text)
    style = parts[links.index("docs/swagger-ui.css")].text
    assert not re.search(r"@import|url\((?!['\"]?data:)", style)


async def test_the_bare_address_leads_to_the_documentation(stranger: Client) -> None:
    answer = await stranger.get("/")

    assert (answer.status_code, answer.headers["Location"]) == (307, "docs")


async def test_the_documentation_reads_its_document(stranger: Client) -> None:
    start = (await stranger.get("/docs/start.js")).text
    found = re.search(r'url: "([^"]+)"', start)
    assert found
    document = (await stranger.get("/" + found[1])).json()

    assert document["openapi"].startswith("3.0.")
    assert not [error.message for error in OpenAPIV30SpecValidator(document).iter_errors()]
    assert '"null"' not in str(document).replace("'", '"')
    assert document["paths"].keys() == (await stranger.get("/openapi.json")).json()["paths"].keys()


def test_null_is_told_in_older_words() -> None:
    newer = {
        "anyOf": [{"type": "string", "maxLength": 9}, {"type": "null"}],
        "title": "A",
        "deep": [{"anyOf": [{"$ref": "#/x"}, {"type": "null"}]}, {"const": "a"}],
        "sort": {"$ref": "#/y", "default": "date"},
    }

    assert in_older_words(newer) == {
        "type": "string",
        "maxLength": 9,
        "title": "A",
        "nullable": True,
        "deep": [{"anyOf": [{"$ref": "#/x"}], "nullable": True}, {"enum": ["a"]}],
        "sort": {"allOf": [{"$ref": "#/y"}], "default": "date"},
    }


async def test_only_pages_that_the_settings_name_may_call(stranger: Client) -> None:
    ours, theirs = [
        await stranger.options(
            "/v1/people/me", headers={"Origin": origin, "Access-Control-Request-Method": "GET"}
        )
        for origin in (ORIGIN, "https://evil.example")
    ]
    refused = await stranger.get("/v1/people/me", headers={"Origin": ORIGIN})

    assert ours.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "Access-Control-Allow-Origin" not in theirs.headers
    assert refused.status_code == 401
    assert refused.headers["Access-Control-Allow-Origin"] == ORIGIN


async def test_long_answers_are_compressed_for_who_can_read_it(stranger: Client) -> None:
    packed = await stranger.get("/openapi.json", headers={"Accept-Encoding": "gzip"})
    plain = await stranger.get("/openapi.json", headers={"Accept-Encoding": "identity"})

    assert packed.headers["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in plain.headers
    assert packed.json() == plain.json()


async def test_an_answer_that_is_known_already_is_not_sent_again(api: Client) -> None:
    first = await api.get("/v1/mail/messages")
    again = await api.get("/v1/mail/messages", headers={"If-None-Match": first.headers["ETag"]})

    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["X-Request-ID"]
    assert again.headers["Cache-Control"] == "no-store"
