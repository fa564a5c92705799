"""Lists are written without their models; these say that nobody can tell."""

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import orjson
import pytest
from fastapi import FastAPI
from servers.api import Client

from postroom.http.answers import Ready
from postroom.ids import MessageId, ThreadId
from postroom.mail.answers import MessageOut, MessagePage, listed
from postroom.mail.reading import Person, Place, Row

ROW = Row(
    number=MessageId(7),
    thread_number=ThreadId(8),
    digest=b"\0\xff",
    id=UUID(int=1),
    account=UUID(int=2),
    thread=UUID(int=3),
    subject='Grüße \u2028 "quoted" \x01 \U0001f600',
    sender=Person("Zoë", "zoe@post.example"),
    to=[Person("Ann", "ann@example.org"), Person("", "b@example.org")],
    cc=[Person("Cid", "c@example.org")],
    bcc=[],
    reply_to=[],
    sent_at=datetime(1999, 12, 31, 23, 59, 59, tzinfo=UTC),
    received_at=datetime(2026, 1, 2, 3, 4, 5, 60, tzinfo=UTC),
    preview="ü" * 150,
    read=True,
    starred=False,
    answered=True,
    draft=False,
    flags=["$Label", "\\Seen"],
    folders=[Place(UUID(int=4), "INBOX", "inbox"), Place(UUID(int=5), "Büro/2026", None)],
    attachment_count=2,
    size=1 << 40,
    message_id="<x@example.org>",
    list_id=None,
    defects=["broken"],
    priority=None,
)


@pytest.mark.parametrize(
    "row",
    [
        ROW,
        replace(ROW, to=[], flags=[], folders=[], sent_at=None, priority=0.25, preview=""),
        replace(ROW, received_at=datetime(2026, 1, 2, tzinfo=UTC), sent_at=datetime(1, 1, 1, tzinfo=UTC)),
    ],
)
def test_a_listed_message_is_written_as_its_model_would_be(row: Row) -> None:
    by_model = MessageOut.model_validate(row).model_dump_json(by_alias=True)

    assert Ready(listed(row)).body == by_model.encode()


async def test_a_page_has_the_fields_of_its_model(api: Client, app: FastAPI) -> None:
    answer = await api.get("/v1/mail/messages")
    operation = app.openapi()["paths"]["/v1/mail/messages"]["get"]

    assert answer.headers["content-type"] == "application/json"
    assert list(orjson.loads(answer.content)) == list(MessagePage.model_fields)
    schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
    assert [each["$ref"].rpartition("/")[2] for each in schema["anyOf"]] == ["MessagePage", "SparsePage"]
