"""Behind nginx, with the configuration of the documents."""

import asyncio
import json
import os
import re
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from socket import socket
from uuid import uuid4

import httpx2
import pytest
from events.following import append
from fastapi import FastAPI
from net.test_tls import certificate
from servers.api import key_of
from servers.copies import Copy
from servers.fetch import CannotFetch, Prefix, nginx
from servers.live import served
from servers.tenants import ANNS, ONE
from websockets.asyncio.client import connect

from postroom.client import AsyncClient
from postroom.client.model import Event, Ready
from postroom.db.pool import Database
from postroom.events.model import Event as Logged
from postroom.people import sessions

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "behind-a-proxy.md"
NAME = "mail.example.org"
BEFORE_A_HEARTBEAT = 14
"""Seconds from an event on: a heartbeat, which would push out what a proxy holds back, comes after 15."""
AROUND = """
user root;
daemon off;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder};
    proxy_temp_path {folder};
    fastcgi_temp_path {folder};
    uwsgi_temp_path {folder};
    scgi_temp_path {folder};
    {site}
}}
"""


@dataclass(frozen=True, slots=True)
class Proxied:
    """Where the proxy is, and what it takes to believe it."""

    url: str
    context: ssl.SSLContext
    key: str

    def client(self, **more: object) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(base_url=self.url, verify=self.context, timeout=50, **more)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def place() -> Prefix:
    try:
        return nginx()
    except CannotFetch as why:
        if os.environ.get("CI") == "true":
            pytest.fail(f"No nginx, and with CI=true a skip is a failure: {why}")
        pytest.skip(f"no nginx here: {why}")


@pytest.fixture
async def proxied(
    place: Prefix, app: FastAPI, db: Database, tenants: None, tmp_path: Path
) -> AsyncIterator[Proxied]:
    del tenants
    app.state.door = replace(app.state.door, is_behind_tls=True)  # POSTROOM_PUBLIC_URL
    pem = certificate(tmp_path, "localhost")
    async with served(app, None) as live:
        listener = socket()
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        told = re.search(r"```nginx\n(.*?)```", PAGE.read_text(), re.DOTALL)
        assert told
        site = re.sub(r"/etc/letsencrypt/\S+(?=;)", str(pem), told[1])
        site = site.replace(NAME, "localhost").replace("listen 443", f"listen 127.0.0.1:{port}")
        site = site.replace("127.0.0.1:8025", f"127.0.0.1:{live.base_url.port}")
        context = ssl.create_default_context(cafile=str(pem))
        with listener, running(place, AROUND.format(folder=tmp_path, site=site), tmp_path, listener):
            found = Proxied(f"https://localhost:{port}", context, await key_of(db, ONE))
            async with found.client() as http:  # what has a limit below begins when nginx answers
                assert (await http.get("/health")).status_code == 200
            yield found


@contextmanager
def running(place: Prefix, config: str, folder: Path, listener: socket) -> Iterator[None]:
    """It is handed its port, as by a predecessor that it replaces: nobody takes that, and nobody waits."""
    (folder / "nginx.conf").write_text(config)
    words = [str(place.program("nginx")), "-p", str(folder), "-c", str(folder / "nginx.conf")]
    process = subprocess.Popen(
        words,
        env={**place.environment(), "NGINX": f"{listener.fileno()};"},
        pass_fds=[listener.fileno()],
        stderr=subprocess.PIPE,
    )
    try:
        yield
    finally:
        process.terminate()
        process.communicate()


async def test_events_are_told_as_they_happen(proxied: Proxied, db: Database) -> None:
    async with proxied.client() as http:
        telling = AsyncClient(key=proxied.key, http=http).follow_events()
        assert isinstance(await anext(telling), Ready)
        async with asyncio.timeout(BEFORE_A_HEARTBEAT):
            await append(db, ANNS, Logged("mail.removed", {"message": str(uuid4())}))
            event = await anext(telling)
        await telling.aclose()

    assert isinstance(event, Event)


async def test_a_websocket_comes_through(proxied: Proxied, db: Database) -> None:
    url = proxied.url.replace("https", "wss") + "/v1/events/ws"
    async with connect(url, ssl=proxied.context, open_timeout=50) as there:
        await there.send(json.dumps({"type": "resume", "key": proxied.key}))
        ready = json.loads(await there.recv())
        async with asyncio.timeout(BEFORE_A_HEARTBEAT):
            await append(db, ANNS, Logged("mail.removed", {"message": str(uuid4())}))
            event = json.loads(await there.recv())

    assert (ready["type"], event["kind"]) == ("ready", "mail.removed")


async def test_people_sign_in_and_change_things(proxied: Proxied, db: Database) -> None:
    link = (await sessions.new_link(db, ONE)).text
    async with proxied.client() as browser:
        entered = await browser.post(
            "/v1/people/login", params={"link": link}, headers={"Origin": proxied.url}
        )
        made = await browser.post(
            "/v1/people/keys", json={"name": "x", "scopes": ["read"]}, headers={"Origin": proxied.url}
        )
        refused = await browser.post(
            "/v1/people/keys",
            json={"name": "x", "scopes": ["read"]},
            headers={"Origin": "https://evil.example"},
        )

    assert entered.headers["Set-Cookie"].startswith("__Host-postroom_session=ps_")
    assert "Secure" in entered.headers["Set-Cookie"]
    assert made.status_code == 201
    assert refused.json()["code"] == "http.cross_site"


async def test_a_page_of_another_site_opens_no_websocket(proxied: Proxied) -> None:
    async with proxied.client() as http:
        headers = {"Origin": "https://evil.example", "Upgrade": "websocket", "Connection": "Upgrade"}
        answer = await http.get(
            "/v1/events/ws",
            headers={
                **headers,
                "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
                "Sec-WebSocket-Version": "13",
            },
        )

    assert (answer.status_code, answer.json()["code"]) == (403, "http.bad_origin")


async def test_large_bodies_are_refused_in_our_words(proxied: Proxied) -> None:
    headers = {"Authorization": f"Bearer {proxied.key}"}
    async with proxied.client(headers=headers) as http:
        largest = await http.post("/v1/people/keys", content=b" " * (1 << 20))
        larger = await http.post("/v1/people/keys", content=b" " * ((1 << 20) + 1))

    assert largest.json()["code"] == "http.invalid_request"
    assert (larger.status_code, larger.json()["code"]) == (413, "http.too_large")


async def test_downloads_and_tags_pass_as_they_are(proxied: Proxied, db: Database) -> None:
    raw = b"Subject: large\r\n\r\n" + b"0123456789abcdef" * 50_000
    [mail] = await Copy(db, ONE, ANNS).deliver(raw)
    async with proxied.client(headers={"Accept-Encoding": "gzip"}) as http:
        client = AsyncClient(key=proxied.key, http=http, remember=1)
        part = await client.get_raw_message(mail.public_id, first=1000, past=2000)
        first = await client.list_messages()
        again = await client.list_messages()

    assert (part.data, part.size) == (raw[1000:2000], len(raw))
    assert first is again


async def test_numbers_of_the_installation_stay_inside(proxied: Proxied) -> None:
    async with proxied.client() as http:
        assert (await http.get("/health")).status_code == 200
        assert (await http.get("/metrics")).status_code == 404
