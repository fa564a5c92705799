"""The ticket desk of the examples, with a mailbox in which mail arrives."""

import importlib.util
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx2
import pytest
from library.desk import SECRET, Desk

from postroom import Postroom
from postroom.lab.server import serve

EXAMPLE = Path(__file__).parents[2] / "examples" / "ticket_desk.py"
MOST = 60  # lines

QUESTION = (
    b"Message-ID: <1@zoe.example>\r\nFrom: Zoe <zoe@zoe.example>\r\nSubject: It is broken\r\n\r\nHelp!\r\n"
)
OTHER = b"Message-ID: <2@yan.example>\r\nFrom: yan@yan.example\r\nSubject: An order\r\n\r\nTwo, please.\r\n"
ANSWER = (
    b"Message-ID: <3@zoe.example>\r\nIn-Reply-To: <1@zoe.example>\r\nReferences: <1@zoe.example>\r\n"
    b"From: Zoe <zoe@zoe.example>\r\nSubject: Re: It is broken\r\n\r\nStill.\r\n"
)


@pytest.fixture
def example(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """As somebody starts it whose PostgreSQL this is, which has no table of theirs yet."""
    monkeypatch.setenv("POSTROOM_DATABASE_URL", desk.dsn)
    monkeypatch.setenv("POSTROOM_SECRET_KEY", SECRET)
    spec = importlib.util.spec_from_file_location("ticket_desk", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
async def http(example: ModuleType, desk: Desk) -> AsyncIterator[httpx2.AsyncClient]:
    await desk.conn.execute("DROP TABLE public.ticket")  # that of the tests
    transport = httpx2.ASGITransport(example.app)
    async with (
        example.app.router.lifespan_context(example.app),
        httpx2.AsyncClient(transport=transport, base_url="http://desk.example") as client,
    ):
        yield client


def test_it_is_as_short_as_it_says() -> None:
    assert EXAMPLE.read_text().count("\n") <= MOST


async def test_new_mail_opens_a_ticket_and_a_reply_joins_it(
    example: ModuleType, http: httpx2.AsyncClient, desk: Desk
) -> None:
    room: Postroom = example.room

    async def tickets() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await http.get("/tickets")).json()
        return found

    async with serve(messages=20, offers=("qresync", "notify")) as lab:
        connected = await room.client.connect_account(
            address=lab.address, password=lab.password, server=f"imap://{lab.host}:{lab.port}", starttls="off"
        )

        async def copied() -> bool:
            account = await room.client.get_account(connected.account.id)
            return account.last_sync_status == "success"

        await desk.until(copied)
        for mail in (QUESTION, OTHER, ANSWER):
            lab.mailbox.deliver(mail)
        await room.client.sync_account(connected.account.id)

        async def all_came() -> bool:
            mails: list[int] = [ticket["mails"] for ticket in await tickets()]
            return sum(mails) == 3

        await desk.until(all_came)

    assert [(one["subject"], one["sender"], one["mails"]) for one in await tickets()] == [
        ("An order", "yan@yan.example", 1),
        ("It is broken", "zoe@zoe.example", 2),
    ]
