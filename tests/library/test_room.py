"""Postroom in somebody's application: its routes under a prefix, its calls, its beginning and its end."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import httpx2
import pytest
from accounts.conftest import client_of, consented
from fastapi import FastAPI
from library.desk import SECRET, Desk, room_of
from servers.api import key_of
from servers.bearing import Mail
from servers.copies import Copy
from servers.tenants import ANNS, BOBS, ONE, TWO
from structlog.testing import capture_logs

from postroom import Postroom
from postroom.client import Unauthenticated
from postroom.client.model import Account, MessageDetail
from postroom.db.pool import Database
from postroom.lab.server import serve
from postroom.library import NotOpen


def letter(subject: str) -> bytes:
    return f"From: zoe@post.example\r\nSubject: {subject}\r\n\r\nhello\r\n".encode()


@asynccontextmanager
async def browser(app: FastAPI, key: str | None = None) -> AsyncIterator[httpx2.AsyncClient]:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://host.test", headers=headers) as http:
        yield http


@pytest.mark.parametrize("way", ["include", "mount"])
async def test_the_api_answers_under_the_prefix_of_the_application(
    desk: Desk, db: Database, way: str
) -> None:
    room = room_of(desk.dsn)
    app = FastAPI(lifespan=room.lifespan)

    @app.get("/own")
    async def own() -> str:
        return "the application's"

    if way == "include":
        app.include_router(room.router, prefix="/mail")
    else:
        app.mount("/mail", room.router)
    await Copy(db, ONE, ANNS).deliver(letter("Invoice"))
    key = await key_of(db, ONE)
    async with app.router.lifespan_context(app), browser(app, key) as http:
        listed = await http.get("/mail/v1/mail/messages")
        again = await http.get("/mail/v1/mail/messages", headers={"If-None-Match": listed.headers["ETag"]})
        missing = await http.get(f"/mail/v1/mail/messages/{uuid4()}")
        refused = await http.get("/mail/v1/accounts", headers={"Authorization": "Bearer pr_x"})
        page, document = await http.get("/mail/docs"), await http.get("/mail/docs/openapi-3.0.json")
        ours, theirs = await http.get("/own"), await http.get("/v1/accounts")

    assert [item["subject"] for item in listed.json()["items"]] == ["Invoice"]
    assert again.status_code == 304
    assert missing.json()["code"] == "mail.not_found"
    assert (refused.status_code, refused.headers["content-type"]) == (401, "application/problem+json")
    assert page.status_code == 200
    assert document.json()["servers"] == [{"url": "/mail"}]
    assert (ours.json(), theirs.status_code) == ("the application's", 404)


@pytest.mark.parametrize("way", ["include", "mount"])
async def test_a_consent_comes_back_below_the_prefix(desk: Desk, db: Database, mail: Mail, way: str) -> None:
    here, clients = "http://host.test/mail", {"mail": client_of(mail)}
    mail.tokens.signed_in = mail.user
    mail.tokens.redirects.add(f"{here}/v1/accounts/oauth/callback/mail")
    room = room_of(desk.dsn, public_url=f"{here}/", oauth_clients=clients)
    app = FastAPI(lifespan=room.lifespan)
    if way == "include":
        app.include_router(room.router, prefix="/mail")
    else:
        app.mount("/mail", room.router)
    key = await key_of(db, ONE)
    async with app.router.lifespan_context(app), browser(app, key) as http, browser(app) as theirs:
        begun = await http.post("/mail/v1/accounts/oauth/auth-url", json={"client": "mail"})
        page = await theirs.get(await consented(begun.json()["url"]))
        listed = (await http.get("/mail/v1/accounts")).json()["items"]

    assert page.status_code == 200, page.text
    assert listed[-1]["address"] == f"{mail.user}@example.org"


async def test_before_and_after_its_block_requests_are_asked_to_come_again(desk: Desk) -> None:
    room = room_of(desk.dsn)
    app = FastAPI()
    app.include_router(room.router, prefix="/mail")
    async with browser(app) as http:
        before = await http.get("/mail/health")
        async with room:
            during = await http.get("/mail/health")
        after = await http.get("/mail/health")

    assert (before.status_code, during.status_code, after.status_code) == (503, 200, 503)
    assert before.json()["code"] == "library.not_open"
    assert "Retry-After" in before.headers
    with pytest.raises(NotOpen):
        _ = room.client
    with pytest.raises(NotOpen):
        _ = room.pool


async def test_calls_give_the_models_of_the_client_and_what_a_tenant_has(desk: Desk, db: Database) -> None:
    [anns] = await Copy(db, ONE, ANNS).deliver(letter("Invoice for Ann"))
    await Copy(db, TWO, BOBS).deliver(letter("Invoice for Bob"))
    async with room_of(desk.dsn) as room:
        one, two = room.client_of(await called(db, ONE)), room.client_of(await called(db, TWO))
        [account] = (await one.list_accounts()).items
        message = await one.get_message(anns.public_id)
        hits = [hit.message.subject async for hit in two.search.each("invoice")]
        raw = await one.get_raw_message(anns.public_id)
        job = await one.sync_account(account.id)
        nobody = room.client_of(uuid4())
        with pytest.raises(Unauthenticated):
            await nobody.list_accounts()
        assert (await room.client.list_accounts()).items == ()

    assert isinstance(account, Account)
    assert isinstance(message, MessageDetail)
    assert (account.address, message.subject, hits) == (
        "ann@example.org",
        "Invoice for Ann",
        ["Invoice for Bob"],
    )
    assert raw.data == letter("Invoice for Ann")
    assert job.kind == "sync.account"


async def test_no_request_is_logged_in_an_application(desk: Desk, db: Database) -> None:
    """Its server logs those that come from outside."""
    room = room_of(desk.dsn)
    app = FastAPI(lifespan=room.lifespan)
    app.include_router(room.router, prefix="/mail")
    key = await key_of(db, ONE)
    async with room, browser(app, key) as http:
        with capture_logs() as logs:
            await room.client.list_accounts()
            assert (await http.get("/mail/v1/accounts")).status_code == 200

    assert [line["event"] for line in logs] == []


async def test_the_key_of_our_own_calls_opens_nothing_on_the_routes(desk: Desk, db: Database) -> None:
    room = room_of(desk.dsn)
    app = FastAPI(lifespan=room.lifespan)
    app.include_router(room.router, prefix="/mail")
    async with room, browser(app, str(await called(db, ONE))) as http:
        assert (await http.get("/mail/v1/accounts")).status_code == 401


async def test_a_tenant_of_the_applications_choosing_is_made_once(desk: Desk) -> None:
    async with room_of(desk.dsn) as room:
        first, again = await room.tenant_named("customer 7"), await room.tenant_named("customer 7")
        assert (await room.client_of(first).get_me()).tenant.name == "customer 7"
        assert first == again != room.tenant


async def test_an_application_with_the_executor_copies_what_it_connects(desk: Desk) -> None:
    """The whole of it in one process: a mailbox is connected by a call, and its mail comes to a handler."""
    room = Postroom(desk.dsn, secret_key=SECRET)
    room.on("mail.added")(desk.ticket)
    async with serve(messages=30) as lab, room:
        connected = await room.client.connect_account(
            address="robin@lab.example",
            password=lab.password,
            server=f"imap://{lab.host}:{lab.port}",
            starttls="off",
        )
        await desk.until_tickets(30)
        listed = await room.client.list_messages(account=connected.account.id, page_size=100)

    assert len(listed.items) == 30
    assert set(await desk.messages()) == {message.id for message in listed.items}


async def called(db: Database, tenant: int) -> UUID:
    async with db.transaction(tenant) as conn:  # type: ignore[arg-type]
        found: UUID = await conn.fetchval("SELECT public_id FROM people_tenant")
    return found
