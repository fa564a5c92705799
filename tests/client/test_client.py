"""Both clients against the application on a port."""

import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from fastapi import FastAPI
from histories.proxy import Break, Plan
from servers.api import key_of
from servers.copies import Copy
from servers.tenants import ANNS, ONE
from servers.web import page, site

from postroom.client import (
    AsyncClient,
    BadAnswer,
    Broken,
    Client,
    Forbidden,
    Invalid,
    NotFound,
    NotReached,
    TryLater,
    Unauthenticated,
)
from postroom.client.model import Account, MessageDetail
from postroom.db.pool import Database
from postroom.http.caller import Scope
from postroom.http.rates import Rates
from postroom.ids import AccountId, TenantId
from postroom.lab.server import LabServer, serve

from .conftest import Both, Made

Copies = Callable[[TenantId, AccountId], Copy]

MAIL = (
    b"From: Zo\xc3\xab <zoe@post.example>\r\nTo: ann@example.org\r\nSubject: Invoice %d\r\n"
    b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
    b"--b\r\nContent-Type: text/html\r\n\r\n<p>the invoice</p>\r\n"
    b"--b\r\nContent-Type: application/pdf\r\n"
    b"Content-Disposition: attachment; filename*=UTF-8''gr%%C3%%BC%%C3%%9Fe.pdf\r\n"
    b"Content-Transfer-Encoding: base64\r\n\r\n%s\r\n--b--\r\n"
)
LARGE = b"Subject: large\r\n\r\n" + b"0123456789abcdef" * 50_000
SOME_ID = UUID("0197a3b0-0000-7000-8000-000000000000")


def mail(number: int) -> bytes:
    return MAIL % (number, b"JVBERi0xLjcK" * 10)


@pytest.fixture
def ann(copy: Copies) -> Copy:
    return copy(ONE, ANNS)


@pytest.fixture
async def lab() -> AsyncIterator[LabServer]:
    async with serve(messages=3, folder_count=1) as server:
        yield server


async def test_a_list_is_read_page_by_page_to_its_end(both: Both, ann: Copy) -> None:
    await ann.deliver(*map(mail, range(5)))

    page = await both.ask(lambda client: client.list_messages(page_size=2))
    pages = await both.some(lambda client: client.list_messages.pages(page_size=2, page=2))
    found = await both.some(lambda client: client.list_messages.each(page_size=2))

    assert (len(page.items), page.total, page.has_next) == (2, 5, True)
    assert [len(each.items) for each in pages] == [2, 1]
    assert [message.subject for message in found] == [f"Invoice {n}" for n in (4, 3, 2, 1, 0)]


async def test_filters_mean_what_they_say(both: Both, ann: Copy) -> None:
    await ann.deliver(mail(1), flags=("\\Seen",))
    await ann.deliver(mail(2))
    account = await ann.id()
    late = datetime(2026, 1, 1, 0, 1, 30, tzinfo=UTC)

    async def subjects(**asked: object) -> list[str]:
        found = await both.some(lambda client: client.list_messages.each(**asked))
        return [message.subject for message in found]

    assert await subjects(read=False, sender="zoe@post.example", account=account) == ["Invoice 2"]
    assert await subjects(before=late, folder="INBOX", has_attachment=True) == ["Invoice 1"]
    assert await subjects(sort_by="date", order="asc") == ["Invoice 1", "Invoice 2"]
    assert await subjects(starred=True) == []


async def test_answers_are_values_with_their_types(both: Both, ann: Copy) -> None:
    [placed] = await ann.deliver(mail(1))
    message = await both.ask(lambda client: client.get_message(placed.public_id))
    html = await both.ask(lambda client: client.get_message_html(placed.public_id))

    assert isinstance(message, MessageDetail)
    assert (message.id, message.account) == (placed.public_id, await ann.id())
    assert message.received_at.tzinfo is not None
    assert (message.sender.name, message.sender.address) == ("Zoë", "zoe@post.example")
    assert [attachment.name for attachment in message.attachments] == ["grüße.pdf"]
    assert html == message.html == "<p>the invoice</p>"


async def test_only_the_fields_that_are_asked_for_come(both: Both, ann: Copy) -> None:
    [placed] = await ann.deliver(mail(1))
    one = await both.ask(lambda client: client.get_sparse_message(placed.public_id, fields=["id", "from"]))
    all_ = await both.some(lambda client: client.list_sparse_messages.each(fields=["subject"]))

    assert one.keys() == {"id", "sender"}
    assert (one["id"], one["sender"].name) == (placed.public_id, "Zoë")
    assert all_ == [{"subject": "Invoice 1"}]


async def test_a_search_finds_and_counts(both: Both, ann: Copy) -> None:
    await ann.deliver(*map(mail, range(3)))
    page = await both.ask(lambda client: client.search("invoice", limit=2, facets=["sender", "month"]))
    hits = await both.some(lambda client: client.search.each("invoice", limit=2))

    assert (page.total, page.facets.senders[0].count, page.facets.folders) == (3, 3, None)
    assert len(hits) == 3
    assert "<mark>" in hits[0].subject_html


async def test_a_mailbox_is_connected_changed_and_removed(both: Both, lab: LabServer) -> None:
    made = await both.ask(
        lambda client: client.connect_account(
            address=lab.address,
            password=lab.password,
            server=f"imap://{lab.host}:{lab.port}",
            starttls="off",
            poll_every_minutes=5,
        )
    )
    id = made.account.id
    paused = await both.ask(lambda client: client.change_account(id, paused=True))
    by_default = await both.ask(lambda client: client.change_account(id, poll_every_minutes=None))
    await both.ask(lambda client: client.change_account(id, paused=False))
    job = await both.ask(lambda client: client.sync_account(id, full=True))
    cancelled = await both.ask(lambda client: client.cancel_job(job.id))
    status = await both.ask(lambda client: client.get_sync_status(id))
    budget = await both.ask(lambda client: client.get_budget(id))
    removed = await both.ask(lambda client: client.remove_account(id))

    assert (made.estimate.messages, made.found_by) == (3, None)
    assert isinstance(made.account, Account)
    assert (paused.state, paused.poll_every_minutes) == ("paused", 5)
    assert (by_default.state, by_default.poll_every_minutes) == ("paused", None)
    assert (job.account, cancelled.is_over, status.sync_count, budget.logins_today >= 0) == (
        id,
        True,
        0,
        True,
    )
    assert removed is None


async def test_keys_are_made_and_ended(both: Both, make: Made) -> None:
    made = await both.ask(lambda client: client.make_key(name="x", scopes=["read"]))
    other = make(key=lambda: made.key)
    me = await other.ask(lambda client: client.get_me())
    with pytest.raises(Forbidden) as refused:
        await other.ask(lambda client: client.list_keys())
    await both.ask(lambda client: client.revoke_key(made.id))
    with pytest.raises(Unauthenticated) as unknown:
        await other.ask(lambda client: client.get_me())

    assert (me.key.name, me.scopes, me.person) == ("x", ("read",), None)
    assert (refused.value.code, refused.value.data) == ("http.missing_scope", {"scope": "admin"})
    assert (unknown.value.status, unknown.value.code) == (401, "http.unknown_key")


async def test_what_the_server_refuses_says_why(both: Both) -> None:
    with pytest.raises(NotFound) as gone:
        await both.ask(lambda client: client.get_message(SOME_ID))
    with pytest.raises(Invalid) as wrong:
        await both.ask(lambda client: client.list_messages(page_size=1000))
    with pytest.raises(Invalid) as unknown:
        await both.ask(lambda client: client.get_sparse_message(SOME_ID, fields=["nothing"]))

    assert (gone.value.code, gone.value.message) == ("mail.not_found", str(gone.value))
    assert wrong.value.errors[0]["where"] == "query.page_size"
    assert "subject" in unknown.value.data["fields"]
    assert both.waits == []


async def test_who_asks_too_often_waits_as_long_as_it_is_told(both: Both, app: FastAPI) -> None:
    now = [0.0]
    app.state.door = replace(app.state.door, rates=Rates(60, lambda: now[0]))
    conversation = both.client.conversation

    async def wait(seconds: float) -> None:
        both.waits.append(seconds)
        now[0] += seconds

    conversation._wire.wait = wait
    for _ in range(62):
        await both.ask(lambda client: client.get_me())

    assert both.waits == [1.0, 1.0]


async def test_who_has_no_patience_is_told_how_long_it_takes(make: Made, app: FastAPI) -> None:
    both = make(patience=0.5)
    app.state.door = replace(app.state.door, rates=Rates(1, lambda: 0.0))
    await both.ask(lambda client: client.get_me())
    with pytest.raises(TryLater) as later:
        await both.ask(lambda client: client.get_me())

    assert (later.value.code, later.value.status) == ("http.too_many_requests", 429)
    assert later.value.wait >= timedelta(seconds=1)
    assert both.waits == []


async def test_a_server_without_its_database_says_so(both: Both, app: FastAPI) -> None:
    nowhere = Database("postgresql://nobody@/db?host=/nowhere", size=1, role=None)
    app.state.door = replace(app.state.door, database=nowhere)
    with pytest.raises((Broken, TryLater)) as broken:
        await both.ask(lambda client: client.get_readiness())

    assert broken.value.status == 503


async def test_a_connection_that_breaks_is_made_again_for_what_only_reads(both: Both) -> None:
    both.proxy.plan = Plan(Break.RESET, 20)
    me = await both.ask(lambda client: client.get_me())
    both.proxy.reset_all()
    both.proxy.plan = Plan(Break.CLOSE, 300)
    again = await both.ask(lambda client: client.get_me())

    assert me.tenant == again.tenant
    assert len(both.waits) >= 1


async def test_what_changes_something_is_not_repeated_after_a_break(both: Both) -> None:
    both.proxy.plan = Plan(Break.RESET, 20)
    with pytest.raises(NotReached):
        await both.ask(lambda client: client.make_key(name="once", scopes=["read"]))
    keys = (await both.ask(lambda client: client.list_keys())).keys

    assert [key.name for key in keys].count("once") == 1


async def test_nobody_there_is_said_after_a_few_tries(make: Made) -> None:
    both = make(retries=2)
    both.client.conversation._build = _elsewhere(both.client.conversation._build)
    with pytest.raises(NotReached):
        await both.ask(lambda client: client.make_key(name="x", scopes=["read"]))

    first, second = both.waits
    assert 0.25 <= first <= 0.5 <= second <= 1


def _elsewhere(build: Callable[..., object]) -> Callable[..., object]:
    return lambda method, path, **more: build(method, f"http://127.0.0.1:1{path}", **more)


async def test_something_else_at_the_address_is_told_from_the_api(make: Made) -> None:
    both = make()
    answers = {"/v1/people/me": page(b"<html>"), "/v1/people/keys": page(b"no", status="502 Bad Gateway")}
    async with site(None, answers) as other:
        build = both.client.conversation._build
        both.client.conversation._build = lambda method, path, **more: build(
            method, f"http://127.0.0.1:{other.port}{path}", **more
        )
        for asking in (_me, _keys):
            with pytest.raises(BadAnswer):
                await both.ask(asking)


def _me(client: Any) -> Any:
    return client.get_me()


def _keys(client: Any) -> Any:
    return client.list_keys()


def _page(size: int, client: Any) -> Any:
    return client.list_messages(page_size=size)


async def test_what_is_unchanged_is_not_sent_again(make: Made, ann: Copy) -> None:
    both = make(remember=2)
    await ann.deliver(mail(1))

    async def asked() -> object:
        return await both.ask(lambda client: client.list_messages(page_size=2))

    first, second = await asked(), await asked()
    await ann.deliver(mail(2))
    third = await asked()
    for size in (3, 4):
        await both.ask(partial(_page, size))

    assert first is second
    assert (third is first, third.total) == (False, 2)  # type: ignore[attr-defined]
    assert len(both.client.conversation._known) == 2
    assert await asked() is not third


async def test_bytes_are_downloaded_whole_or_in_part(both: Both, ann: Copy) -> None:
    [placed] = await ann.deliver(mail(1))
    id = placed.public_id
    raw = await both.ask(lambda client: client.get_raw_message(id))
    part = await both.ask(lambda client: client.get_raw_message(id, first=10, past=20))
    attachment = await both.ask(lambda client: client.get_attachment(id, 1))

    assert (raw.data, raw.media_type, raw.name) == (mail(1), "message/rfc822", f"{id}.eml")
    assert (part.data, part.first, part.size, part.etag) == (mail(1)[10:20], 10, len(mail(1)), raw.etag)
    assert (attachment.data, attachment.name) == (b"%PDF-1.7\n" * 10, "grüße.pdf")
    with pytest.raises(Invalid) as nothing:
        await both.ask(lambda client: client.get_raw_message(id, first=1 << 30))
    assert nothing.value.code == "http.nothing_in_range"


@pytest.mark.parametrize("first", [0, 1000])
async def test_a_download_that_breaks_off_goes_on_where_it_was(both: Both, ann: Copy, first: int) -> None:
    [placed] = await ann.deliver(LARGE)
    both.proxy.plan = Plan(Break.CLOSE, 500_000)
    pieces = await both.some(lambda client: client.get_raw_message.pieces(placed.public_id, first=first))

    assert b"".join(pieces) == LARGE[first:]
    assert both.proxy.broken == 1
    assert len(both.waits) == 1


async def test_a_download_of_something_else_by_now_does_not_go_on(both: Both, ann: Copy) -> None:
    [placed, other] = await ann.deliver(LARGE, LARGE + b"x")
    build, ids = both.client.conversation._build, iter([placed.public_id, other.public_id])

    def turned(method: str, path: str, **more: object) -> object:
        return build(method, path.replace(str(SOME_ID), str(next(ids))), **more)

    both.client.conversation._build = turned
    both.proxy.plan = Plan(Break.CLOSE, 500_000)
    with pytest.raises(BadAnswer):
        await both.some(lambda client: client.get_raw_message.pieces(SOME_ID))


async def test_a_key_of_its_own_is_shown_with_each_request(make: Made, db: Database) -> None:
    """As tokens want it, which live for a minute."""
    keys = iter([await key_of(db, ONE, Scope.READ), await key_of(db, ONE, Scope.SYNC)])
    both = make(key=lambda: next(keys))

    scopes = [(await both.ask(lambda client: client.get_me())).scopes for _ in range(2)]

    assert scopes == [("read",), ("sync",)]


async def test_a_key_is_read_from_a_file_as_it_is(make: Made, db: Database) -> None:
    text = await key_of(db, ONE)

    assert (await make(key=f"{text}\n").ask(lambda client: client.get_me())).tenant.name == "one"


@pytest.mark.parametrize("key", ["", "\n", "Bearer canary", "canary\ncanary", "canary\u00e9"])
async def test_what_can_be_no_key_is_refused_at_once_and_not_repeated(make: Made, key: str) -> None:
    both = make(key=key)
    with pytest.raises(ValueError, match="The key is none") as refused:
        await both.ask(lambda client: client.get_me())

    assert both.waits == []
    assert "canary" not in str(refused.value)


def reading(client: Any, id: Any) -> Any:
    return client.get_message(id)


async def test_an_id_leads_nowhere_else(both: Both) -> None:
    """An application may hand on, as an id, what somebody has sent to it."""
    for id in ("../../people/me", "..", "x/../../me", "x?y=", "x#"):
        with pytest.raises(ValueError, match="elsewhere"):
            await both.ask(partial(reading, id=id))


@pytest.mark.parametrize(("first", "past"), [(0, 0), (10, 10), (10, 5), (-5, None), (-5, 3)])
async def test_a_part_without_a_byte_is_none(both: Both, first: int, past: int | None) -> None:
    with pytest.raises(ValueError, match="No byte"):
        await both.ask(lambda client: client.get_raw_message(SOME_ID, first=first, past=past))
    with pytest.raises(ValueError, match="No byte"):
        await both.some(lambda client: client.get_attachment.pieces(SOME_ID, 1, first=first, past=past))


@pytest.mark.parametrize("kind", [Client, AsyncClient])
@pytest.mark.parametrize("url", ["127.0.0.1:8025", "", "ftp://127.0.0.1", "/v1"])
def test_what_is_no_url_is_said_when_a_client_is_made(kind: type[Client], url: str) -> None:
    with pytest.raises(ValueError, match="begins with http"):
        kind(url)


async def test_the_address_may_be_told_as_the_server_tells_it(make: Made) -> None:
    both = make()
    for ending in ("/v1", "/v1/", "/"):
        url = f"http://127.0.0.1:{both.proxy.port}{ending}"
        assert (await make(url=url).ask(lambda client: client.get_me())).tenant.name == "one"


def test_its_import_needs_httpx2_and_nothing_of_the_server() -> None:
    found = subprocess.run(
        [sys.executable, "-c", "import sys, postroom.client; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    rooms = {name.split(".")[1] for name in found if name.startswith("postroom.")}
    foreign = {name.partition(".")[0] for name in found} - sys.stdlib_module_names

    assert rooms == {"client"}
    assert "httpx2" in foreign
    assert not foreign & {"fastapi", "starlette", "pydantic", "asyncpg", "orjson", "cryptography", "uvicorn"}
