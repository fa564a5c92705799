"""What a key sees that is limited to one of two accounts of its tenant: every route, with every id."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from api.twins import ANN, BOB, ONE, TWIN, TWO, Ids, alike, arrange, fill, let_go, served_by
from fastapi import FastAPI
from httpx2 import Response
from servers.api import Client, key_of

from postroom.db.pool import Database
from postroom.http.caller import Scope
from postroom.lab.server import PASSWORD, serve
from postroom.people import keys
from postroom.people.model import Key

Connect = Callable[[str | None], Client]
Route = tuple[str, str]

READS: dict[str, tuple[str, ...]] = {
    "/v1/accounts": ("", "?page_size=1"),
    "/v1/accounts/{account}": ("",),
    "/v1/accounts/{account}/sync-status": ("",),
    "/v1/accounts/{account}/budget": ("",),
    "/v1/mail/messages": (
        "",
        "?page_size=2",
        "?page_size=2&page=2",
        "?account={account}",
        "?folder={folder}",
        "?folder=INBOX",
        "?folder=inbox&sort_by=sender",
        "?label=$work",
        "?label=Reports&order=asc",
        "?thread={thread}",
        "?from=cid@example.org&read=false",
        "?starred=true&has_attachment=true",
        "?after=2026-01-01&before=2027-01-01&fields=id,subject,account",
    ),
    "/v1/mail/messages/{message}": ("", "?fields=id,conversation"),
    "/v1/mail/messages/{message}/raw": ("",),
    "/v1/mail/messages/{message}/html": ("",),
    "/v1/mail/messages/{message}/attachments/{number}": ("",),
    "/v1/mail/folders": ("", "?counted=true", "?account={account}"),
    "/v1/mail/threads": ("", "?page_size=1", "?account={account}"),
    "/v1/mail/threads/{thread}": ("",),
    "/v1/search": (
        "?q=word",
        "?q=",
        "?q=report&limit=2",
        "?q=report&facets=account,folder,sender,month",
        '?q="word+3"',
        "?q=-nothing",
        "?q=is:unread",
        "?q=in:INBOX+OR+label:$work",
        "?q=in:Reports+-label:other",
        "?q=account:example.org",
        "?q=account:bob",
        "?q=word&account={account}&facets=account",
    ),
    "/v1/sync/parked": ("", "?page_size=1", "?account={account}"),
    "/v1/sync/parked/{parked}": ("",),
    "/v1/sync/parked/{parked}/raw": ("",),
    "/v1/jobs": ("", "?page_size=1", "?state=failed", "?kind=sync.account", "?account={account}"),
    "/v1/alerts": ("", "?open=true", "?page_size=1", "?account={account}"),
    "/v1/jobs/overview": ("",),
    "/v1/jobs/{failed}": ("",),
    "/v1/jobs/{failed}/events": ("", "?format=batch"),
}
"""What is asked; ids stand for those of the account that the key is limited to."""

WRITES: dict[Route, tuple[Any, ...]] = {
    ("POST", "/v1/jobs/{waiting}/cancel"): (None,),
    ("POST", "/v1/jobs/{running}/cancel"): (None,),
    ("POST", "/v1/jobs/{failed}/requeue"): (None,),
    ("POST", "/v1/accounts/{account}/sync"): (None,),
    ("PATCH", "/v1/accounts/{account}"): (
        {"poll_every_minutes": 7},
        {"daily_bytes": 1 << 30},
        {"watch_folders": "Work*"},
        {"paused": True},
        {"paused": False},
        {"password": PASSWORD},
    ),
    ("POST", "/v1/sync/parked/{parked}/retry"): (None,),
    ("DELETE", "/v1/accounts/{account}"): (None,),
}
"""What is changed, with these bodies one after the other. The last one ends the account."""

KEY = {"name": "more", "scopes": ["read"]}
CONNECT = {"address": "new@example.org", "password": "x", "server": "imap://127.0.0.1:1", "starttls": "off"}
WHOLE_TENANTS: dict[Route, Any] = {
    ("POST", "/v1/accounts"): CONNECT,
    ("POST", "/v1/accounts/estimate"): CONNECT,
    ("POST", "/v1/accounts/oauth/auth-url"): {"client": "google", "address": "new@example.org"},
    ("GET", "/v1/people/keys"): None,
    ("POST", "/v1/people/keys"): KEY,
    ("DELETE", "/v1/people/keys/{id}"): None,
    ("GET", "/v1/people/sessions"): None,
    ("DELETE", "/v1/people/sessions/{id}"): None,
    ("GET", "/v1/events/consumers"): None,
    ("GET", "/v1/events/export"): None,
    ("GET", "/v1/events/consumers/{name}"): None,
    ("PUT", "/v1/events/consumers/{name}"): {"cursor": "start"},
    ("DELETE", "/v1/events/consumers/{name}"): None,
    ("GET", "/v1/webhooks"): None,
    ("POST", "/v1/webhooks"): {"url": "http://127.0.0.1:1/"},
    ("GET", "/v1/webhooks/{id}"): None,
    ("PATCH", "/v1/webhooks/{id}"): {"state": "disabled"},
    ("DELETE", "/v1/webhooks/{id}"): None,
    ("POST", "/v1/webhooks/{id}/rotate"): {},
    ("POST", "/v1/webhooks/{id}/replay"): {"after": "start"},
    ("POST", "/v1/webhooks/{id}/test"): None,
    ("GET", "/v1/webhooks/{id}/deliveries"): None,
}
"""What concerns the tenant."""

ELSEWHERE = {
    ("GET", "/v1/people/me"),  # below
    ("DELETE", "/v1/people/session"),  # a key has none
    ("GET", "/v1/events"),  # tests/events/test_pages.py
    ("GET", "/v1/events/stream"),  # tests/events/test_limited.py
    ("GET", "/v1/events/ws"),  # speaks WebSocket only: the same
}
NAMED = {  # what `{id}` is
    "accounts": ("account",),
    "messages": ("message",),
    "threads": ("thread",),
    "parked": ("parked", "parked_folder"),
    "jobs": ("waiting", "failed", "running"),
}
DIGESTS = "SELECT DISTINCT digest FROM mail_message WHERE account_id = $1"
PARKED = """
    SELECT p.digest FROM sync_parked p JOIN mail_folder f ON f.id = p.folder_id
     WHERE f.account_id = $1 AND p.digest IS NOT NULL
"""
ROWS = """
    SELECT c.relname AS name FROM pg_class c
     WHERE c.relnamespace = 'postroom'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
"""


@dataclass(frozen=True, slots=True)
class World:
    limited: Client
    twin: Client
    anns: Ids
    bobs: Ids
    twins: Ids
    key: Key


async def limited_key(db: Database, *accounts: UUID, scopes: frozenset[Scope] = keys.EVERYTHING) -> str:
    return (await keys.create(db, ONE, "limited", scopes, accounts=accounts))[1]


@pytest.fixture
async def world(db: Database, dsn: str, connect: Connect, tenants: None) -> World:
    del tenants
    await arrange(dsn)
    anns = await fill(db, dsn, ONE, ANN)
    bobs = await fill(db, dsn, ONE, BOB)
    twins = await fill(db, dsn, TWO, TWIN)
    key, text = await keys.create(db, ONE, "limited", accounts=[anns.account])
    return World(connect(text), connect(await key_of(db, TWO)), anns, bobs, twins, key)


def filled(url: str, ids: Ids) -> str:
    return url.replace("{number}", "1").format(**{name: str(id) for name, id in asdict(ids).items()})


def of_document(path: str) -> str:
    """A path of ours as the document has it."""
    for name in asdict(Ids.random()):
        path = path.replace(f"{{{name}}}", "{id}")
    return path


async def pages(client: Client, url: str) -> list[str]:
    """An answer, and those that it leads to."""
    answer = await client.get(url)
    assert answer.status_code == 200, (url, answer.text)
    found = [answer.text]
    while answer.headers["content-type"] == "application/json" and (after := answer.json().get("next")):
        before = url.partition("page=")[0] if "&page=" in url else url
        answer = await client.get(before.rstrip("&") + ("&" if "?" in before else "?") + f"cursor={after}")
        found.append(answer.text)
    return found


def told(answer: Response, id: UUID) -> tuple[int, bytes, dict[str, str]]:
    """All of an answer but what says when and to which request it was given."""
    own = {"x-request-id", "date", "ratelimit", "content-length"}
    headers = {name: value for name, value in answer.headers.items() if name not in own}
    return answer.status_code, answer.content.replace(str(id).encode(), b"ID"), headers


async def test_every_route_has_a_case(app: FastAPI) -> None:
    documented = {
        (method.upper(), path)
        for path, operations in app.openapi()["paths"].items()
        for method in operations
        if path.startswith("/v1/")
    }
    cases = {("GET", of_document(path)) for path in READS}
    cases |= {(method, of_document(path)) for method, path in WRITES}

    assert documented == cases | WHOLE_TENANTS.keys() | ELSEWHERE


async def test_a_limited_key_sees_what_a_tenant_with_these_accounts_would(world: World) -> None:
    for path, queries in READS.items():
        for query in queries:
            seen = await pages(world.limited, filled(path + query, world.anns))
            wanted = await pages(world.twin, filled(path + query, world.twins))

            assert list(map(alike, seen)) == list(map(alike, wanted)), path + query
            assert str(world.bobs.account) not in "".join(seen), path + query


async def test_the_ids_of_other_accounts_are_as_none(world: World, db: Database, dsn: str) -> None:
    before = await rows(dsn)
    for method, path, body in operations():
        for field in asdict(world.bobs):
            answers = []
            for id in (getattr(world.bobs, field), getattr(Ids.random(), field)):
                ids = Ids(**{**asdict(world.anns), field: id})
                url = filled(path, ids)
                if url != filled(path, world.anns):
                    answers.append(told(await world.limited.request(method, url, json=body), id))

            assert answers[:1] == answers[1:], (method, path, field)
            assert all(status in {200, 404} for status, *_ in answers), (method, path, field)
    del db
    assert await rows(dsn) == before


def operations() -> list[tuple[str, str, Any]]:
    """All that names something by an id."""
    reads = [("GET", path + query, None) for path, queries in READS.items() for query in queries]
    writes = [(method, path, body) for (method, path), bodies in WRITES.items() for body in bodies]
    return [one for one in reads + writes if "{" in one[1].replace("{number}", "")]


async def rows(dsn: str) -> dict[str, list[str]]:
    """All that is stored, but for when keys were used."""
    conn = await asyncpg.connect(dsn, server_settings={"search_path": "postroom"})
    try:
        tables = [row["name"] for row in await conn.fetch(ROWS) if row["name"] != "people_key"]
        return {
            name: sorted(row[0] for row in await conn.fetch(f'SELECT t::text FROM "{name}" t'))  # noqa: S608
            for name in tables
        }
    finally:
        await conn.close()


async def test_a_limited_key_changes_what_is_its_own_and_nothing_else(
    world: World, db: Database, dsn: str
) -> None:
    await let_go(dsn)
    tables = await readable(db) - {"blobs_blob"}  # that counts the uses of what both have
    async with serve(messages=1, folder_count=1) as lab:
        await served_by(dsn, lab)
        before = {name: await places(db, name, (BOB,)) for name in tables}
        for (method, path), bodies in WRITES.items():
            for body in bodies:
                seen = await world.limited.request(method, filled(path, world.anns), json=body)
                wanted = await world.twin.request(method, filled(path, world.twins), json=body)

                assert seen.status_code < 300, (method, path, seen.text)
                assert seen.status_code == wanted.status_code, (method, path)
                assert alike(seen.text) == alike(wanted.text), (method, path)
    async with db.transaction(ONE) as conn:
        left = await conn.fetch("SELECT id FROM accounts_account")

    assert [row["id"] for row in left] == [BOB]
    assert {name: await places(db, name, (BOB,)) for name in tables} == before


async def test_what_concerns_the_tenant_is_not_for_a_limited_key(world: World) -> None:
    for (method, path), body in WHOLE_TENANTS.items():
        for id in (world.key.public_id, world.bobs.account):
            answer = await world.limited.request(method, path.format(id=id, name="tickets"), json=body)

            assert (answer.status_code, answer.json()["code"]) == (403, "http.limited_key"), (method, path)
            assert "limited to some accounts" in answer.json()["detail"]


async def test_me_tells_to_which_accounts_a_key_is_limited(
    world: World, db: Database, connect: Connect
) -> None:
    both = await limited_key(db, world.bobs.account, world.anns.account)
    me, more = [
        (await client.get("/v1/people/me")).json()["key"]["accounts"]
        for client in (world.limited, connect(both))
    ]
    whole = (await world.twin.get("/v1/people/me")).json()["key"]

    assert me == [str(world.anns.account)]
    assert more == [str(world.anns.account), str(world.bobs.account)]
    assert whole["accounts"] is None


async def test_a_key_whose_accounts_are_gone_sees_nothing(world: World, dsn: str) -> None:
    await let_go(dsn)
    gone = await world.limited.delete(f"/v1/accounts/{world.anns.account}")
    assert gone.status_code == 204, gone.text

    me = await world.limited.get("/v1/people/me")
    assert me.json()["key"]["accounts"] == []
    for path, queries in READS.items():
        for query, ids in product(queries, (world.anns, world.bobs)):
            answer = await world.limited.get(filled(path + query, ids))
            if "{" in (path + query).replace("{number}", "") or "folder=" in query:
                assert answer.status_code == 404, (path, query)
            elif path != "/v1/jobs/overview":
                assert answer.json().get("items") == [], (path, query)
                assert not answer.json().get("total"), (path, query)
    overview = (await world.limited.get("/v1/jobs/overview")).json()
    assert (overview["running"], overview["failed"], overview["pending"]["ready"]) == (0, [], 0)


async def test_a_cursor_of_who_sees_more_is_none_of_a_limited_key(
    world: World, db: Database, connect: Connect
) -> None:
    whole = connect(await key_of(db, ONE))
    for url in (
        "/v1/accounts?page_size=1",
        "/v1/mail/messages?page_size=1",
        "/v1/mail/threads?page_size=1",
        "/v1/search?q=word&limit=1",
        "/v1/sync/parked?page_size=1",
        "/v1/jobs?page_size=1",
    ):
        after = (await whole.get(url)).json()["next"]
        answer = await world.limited.get(f"{url}&cursor={after}")

        assert after, url
        assert (answer.status_code, answer.json()["code"]) == (400, "http.bad_cursor"), url


async def test_content_is_read_by_who_sees_a_mail_or_a_parked_one_that_has_it(
    world: World, db: Database
) -> None:
    del world
    async with db.transaction(ONE) as conn:
        shared = [row[0] for row in await conn.fetch(DIGESTS, ANN)]
        anns, bobs = [(await conn.fetchval(PARKED, account)) for account in (ANN, BOB)]
    assert anns != bobs

    for accounts, readable in (([ANN], [*shared, anns]), ([BOB], [*shared, bobs]), ([], [])):
        async with db.limited_to(accounts).transaction(ONE) as conn:
            for digest in [*shared, anns, bobs]:
                is_there = await conn.fetchval("SELECT blobs_chunk($1, 0)", digest) is not None
                assert is_there == (digest in readable), accounts


async def test_the_database_itself_shows_who_is_limited_no_row_of_others(world: World, db: Database) -> None:
    del world
    tables = await readable(db)
    seen = {
        accounts: {name: await places(db, name, accounts) for name in tables}
        for accounts in ((ANN,), (BOB,), (ANN, BOB), ())
    }
    for name in tables:
        anns, bobs = seen[(ANN,)][name], seen[(BOB,)][name]
        if name in {"jobs_duty", "events_restored"}:
            continue
        assert len(anns) == len(bobs) > 0, name
        shared = anns & bobs
        assert not shared or name == "blobs_blob", name
        assert seen[(ANN, BOB)][name] == anns | bobs, name
        assert seen[()][name] == set(), name


async def readable(db: Database) -> set[str]:
    """The tables of which somebody who is limited may read at all."""
    async with db.limited_to([ANN]).transaction(ONE) as conn:
        return {
            row["name"]
            for row in await conn.fetch(ROWS)
            if await conn.fetchval("SELECT has_any_column_privilege($1, 'SELECT')", f"postroom.{row['name']}")
        }


async def places(db: Database, table: str, accounts: tuple[Any, ...]) -> set[tuple[int, str]]:
    """Where the rows lie that are seen, or who they are where only some columns may be read."""
    place = "tenant_id, id::text" if table == "accounts_account" else "tableoid, ctid::text"
    statement = f'SELECT {place} FROM "{table}"'  # noqa: S608
    async with db.limited_to(accounts).transaction(ONE) as conn:
        return {(row[0], row[1]) for row in await conn.fetch(statement)}
