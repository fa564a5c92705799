"""Ask every route for what another tenant has, and for what nobody has; and tell the answers apart."""

import base64
import os
import random
import re
import string
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import asyncpg
from servers.api import Client
from walls.naming import NAMES, Parameter
from walls.sides import Side

from postroom.events.feed import CURSOR, VERSION
from postroom.ids import new_public_id

BODIES: Mapping[tuple[str, str], dict[str, Any]] = {
    ("POST", "/v1/accounts"): {"address": "x@x.example", "password": "x", "server": "imap://127.0.0.1:1"},
    ("POST", "/v1/people/keys"): {"name": "x", "scopes": ["read"]},
    ("POST", "/v1/accounts/estimate"): {"address": "x@x.example", "password": "x"},
    ("POST", "/v1/accounts/oauth/auth-url"): {"client": "ours"},
    ("PATCH", "/v1/accounts/{id}"): {"paused": True},
    ("PUT", "/v1/events/consumers/{name}"): {"cursor": "start"},
    ("POST", "/v1/webhooks"): {"url": "http://127.0.0.1:1/"},
    ("PATCH", "/v1/webhooks/{id}"): {"description": "x"},
    ("POST", "/v1/webhooks/{id}/rotate"): {"overlap_hours": 1},
    ("POST", "/v1/webhooks/{id}/replay"): {"after": "start"},
}
LISTS = {"accounts"}
REQUIRED: Mapping[tuple[str, str], dict[str, str]] = {("/v1/search", "q"): {"q": "report"}}
SIZES = {"/v1/search": "limit"}
"""The parameter that says how long a page is, where it is not `page_size`."""
OF_THE_MOMENT = {"date", "x-request-id", "ratelimit", "ratelimit-policy", "retry-after"}


@dataclass(frozen=True, slots=True)
class Told:
    """An answer, without what no two have in common."""

    status: int
    headers: frozenset[tuple[str, str]]
    body: bytes


async def ask(client: Client, parameter: Parameter, value: str, own: Mapping[str, str]) -> Told:
    """What is told where `parameter` is this value and all else that is named is one's own."""
    path = parameter.path
    for name in re.findall(r"{([a-z_]+)}", path):
        is_asked = (parameter.where, parameter.name) == ("path", name)
        path = path.replace(f"{{{name}}}", value if is_asked else _own(parameter.path, name, own))
    query = {k: v for at, more in REQUIRED.items() if at[0] == parameter.path for k, v in more.items()}
    headers, body = {}, BODIES.get((parameter.method, parameter.path))
    match parameter.where:
        case "query":
            query[parameter.name] = value
        case "header":
            headers[parameter.name] = value
        case "body":
            body = {**(body or {}), parameter.name: [value] if parameter.name in LISTS else value}
    request = client.build_request(parameter.method, path, params=query, headers=headers, json=body)
    answer = await client.send(request, stream=True)
    try:
        return await _told(answer, value)
    finally:
        await answer.aclose()


async def _told(answer: Any, value: str) -> Told:
    """Of a stream that goes on, what comes first."""
    if answer.headers.get("content-type", "").startswith("text/event-stream"):
        said = await anext(answer.aiter_raw(), b"")
    else:
        said = await answer.aread()
    echo = f"id: {value}" if value.isdecimal() else value  # else it would be found in times
    for word in (echo, answer.headers["x-request-id"]):
        said = said.replace(word.encode(), b"(said)")
    kept = {(k, v) for k, v in answer.headers.items() if k not in OF_THE_MOMENT}
    return Told(answer.status_code, frozenset(kept), said)


def _own(path: str, name: str, own: Mapping[str, str]) -> str:
    [templates] = {Parameter("", path, "path", name).templates} - {None}
    return templates[0].format_map(own) if templates else "1"


def nobodys(side: Side) -> dict[str, str]:
    """Names of the same form as a side's, of what is not there."""
    dice = random.Random()
    name = "".join(dice.choices(string.ascii_lowercase, k=len(side.name)))
    found = {kind: text.replace(side.name, name) for kind, text in side.shown.items()}
    for kind, text in side.shown.items():
        if re.fullmatch(r"[0-9a-f-]{36}", text):
            found[kind] = str(new_public_id())
    packed = CURSOR.pack(VERSION, dice.randrange(1, 1 << 20), side.account.id + 100, 1, os.urandom(6))
    found["event"] = base64.urlsafe_b64encode(packed).rstrip(b"=").decode()
    found["line"] = str(int(side.shown["line"]) + 10**6)
    return found


async def cursors(client: Client, parameter: Parameter, own: Mapping[str, str]) -> dict[str, str]:
    """Where the first page of this list ends, if it is one; and a place that nobody's page ends at."""
    if (parameter.where, parameter.name) != ("query", "cursor"):
        return {}
    query = REQUIRED.get((parameter.path, "q"), {}) | {SIZES.get(parameter.path, "page_size"): "1"}
    path = re.sub(r"{([a-z_]+)}", lambda found: _own(parameter.path, found[1], own), parameter.path)
    answer = await client.get(path, params=query)
    cursor = answer.json()["next"]
    assert cursor, f"{parameter.path} has one page only"
    return {"cursor": cursor}


def like(cursor: str) -> str:
    """Another one of the same form, that nobody has made."""
    head, _, body = cursor.rpartition(".")
    return f"{head}.{base64.urlsafe_b64encode(os.urandom(len(body))).decode()[: len(body)]}"


async def told_apart(
    mine: Client, me: Side, theirs: Client, other: Side, asked: Iterable[Parameter]
) -> list[str]:
    """Where an answer shows that something is there, though it is another's."""
    found = []
    for parameter in asked:
        of_other = other.shown | await cursors(theirs, parameter, other.shown)
        of_nobody = nobodys(other) | {k: like(v) for k, v in of_other.items() if k == "cursor"}
        for template in parameter.templates or ():
            there = await ask(mine, parameter, template.format_map(of_other), me.shown)
            nowhere = await ask(mine, parameter, template.format_map(of_nobody), me.shown)
            is_one = parameter.where == "path" or template == "{account}"
            if there != nowhere or (is_one and there.status != 404):
                found.append(f"{parameter} {template}: {there} instead of {nowhere}")
    return found


async def not_there(client: Client, side: Side, asked: Iterable[Parameter]) -> list[str]:
    """Where even its owner cannot tell what is there from what is not: such a question proves nothing."""
    found = []
    for parameter in asked:
        own = side.shown | await cursors(client, parameter, side.shown)
        of_nobody = nobodys(side) | {k: like(v) for k, v in own.items() if k == "cursor"}
        for template in parameter.templates or ():
            there = await ask(client, parameter, template.format_map(own), side.shown)
            nowhere = await ask(client, parameter, template.format_map(of_nobody), side.shown)
            if there == nowhere or there.status >= 500:
                found.append(f"{parameter} {template}: {there}")
    return found


def in_order(asked: Iterable[Parameter]) -> list[Parameter]:
    """First what changes nothing, last what leaves least."""
    methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]
    return sorted(asked, key=lambda each: (methods.index(each.method), each.path == NAMES[2][0], each.path))


TABLES = """
    SELECT c.relname,
           EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id') AS bound
      FROM pg_class c
     WHERE c.relnamespace = 'postroom'::regnamespace AND c.relkind = 'r' ORDER BY c.relname
"""


async def rows_of(dsn: str, side: Side) -> dict[str, tuple[int, str]]:
    """How many rows of each table a tenant has, and a digest of them; of tables that are nobody's, of all."""
    conn = await asyncpg.connect(dsn, server_settings={"search_path": "postroom"})
    try:
        found = {}
        for name, bound in await conn.fetch(TABLES):
            whose = f"WHERE tenant_id = {side.tenant:d}" if bound else ""
            text = f"SELECT md5(t::text) AS sum FROM {name} t {whose}"  # noqa: S608  names of the catalogue
            row = await conn.fetchrow(
                f"SELECT count(*), coalesce(md5(string_agg(sum, '' ORDER BY sum)), '') FROM ({text}) AS s"  # noqa: S608
            )
            assert row is not None
            found[name] = (row[0], row[1])
        return found
    finally:
        await conn.close()
