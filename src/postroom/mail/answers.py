"""How mail looks to callers of the API."""

import dataclasses
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, Field

from postroom.http.fields import not_required
from postroom.mail.content import Shown
from postroom.mail.reading import Content, Row

SHOWN = 100
TOLD = frozenset(
    {
        *(
            "authentication-results",
            "auto-submitted",
            "delivered-to",
            "importance",
            "list-archive",
            "list-help",
        ),
        *(
            "list-id",
            "list-post",
            "list-subscribe",
            "list-unsubscribe",
            "list-unsubscribe-post",
            "precedence",
        ),
        *("received", "return-path", "sender", "user-agent", "x-mailer", "x-priority", "x-spam-status"),
    }
)
"""Headers that the detail of a message repeats."""
SAFE_HTML = frozenset({"html", "blocked_images"})
READ_NOW = SAFE_HTML | {"in_reply_to", "references", "headers"}
"""Fields of a detail that are not stored: the raw message is read for them, whenever somebody asks."""
MANY = 100
"""Of headers, and of messages of a conversation, in one detail."""

Preview = Annotated[
    str, BeforeValidator(lambda text: text[:SHOWN]), Field(description="Up to 100 characters of the text.")
]


class AddressOut(BaseModel, from_attributes=True):
    name: str
    address: str


class PlaceOut(BaseModel, from_attributes=True):
    id: UUID
    path: str
    role: str | None


class MessageOut(BaseModel, from_attributes=True):
    id: UUID
    account: UUID
    thread: UUID
    subject: str
    sender: AddressOut = Field(serialization_alias="from")
    to: list[AddressOut] = Field(description="In lists the first 50; the message alone has all of them.")
    sent_at: datetime | None = Field(description="What the mail claims.")
    received_at: datetime = Field(description="When the server took it in; lists are in this order.")
    preview: Preview
    read: bool
    starred: bool
    answered: bool
    draft: bool
    flags: list[str] = Field(description="As the server keeps them, of all folders that it lies in.")
    folders: list[PlaceOut]
    attachment_count: int
    size: int = Field(description="Bytes of the raw message.")
    priority: float | None


class MessagePage(BaseModel):
    items: list[MessageOut]
    page: int | None = Field(description="Null when asked with a cursor.")
    page_size: int
    has_next: bool
    has_prev: bool
    next: str | None = Field(description="The `cursor` of the next page.")
    total: int | None = Field(description="Up to 1,000. Null when asked with a cursor.")
    total_is_exact: bool | None = Field(description="False when there are more than `total`.")


class SparseMessage(MessageOut, json_schema_extra=not_required):
    """A message of which only some fields were asked for."""


class SparsePage(MessagePage):
    items: list[SparseMessage]  # type: ignore[assignment]


class AttachmentOut(BaseModel, from_attributes=True):
    number: int
    name: str | None
    content_type: str = Field(description="As the sender declared it.")
    size: int
    content_id: str | None
    disposition: str


class HeaderOut(BaseModel):
    name: str
    value: str


class MessageDetail(MessageOut):
    cc: list[AddressOut]
    bcc: list[AddressOut]
    reply_to: list[AddressOut]
    message_id: str | None
    in_reply_to: list[str]
    references: list[str]
    list_id: str | None
    headers: list[HeaderOut] = Field(description="Those that say how it came and what it belongs to.")
    text: str
    html: str | None = Field(description="Safe to show in a sandboxed frame.")
    blocked_images: int = Field(description="Remote images, also of backgrounds, taken out of `html`.")
    attachments: list[AttachmentOut]
    conversation: list[MessageOut] = Field(description="The thread, the oldest first, up to 100 messages.")
    defects: list[str] = Field(description="What was wrong with it.")


class SparseDetail(MessageDetail, json_schema_extra=not_required):
    """A message of which only some fields were asked for."""


class FolderOut(BaseModel, from_attributes=True):
    id: UUID
    account: UUID
    path: str
    role: str | None
    selectable: bool
    messages: int | None = Field(description="Null unless asked for.")


class Folders(BaseModel):
    items: list[FolderOut]


class ThreadOut(BaseModel, from_attributes=True):
    id: UUID
    account: UUID
    subject: str
    messages: int
    unread: int
    starred: bool
    last_at: datetime
    preview: Preview
    senders: list[AddressOut]


class ThreadPage(BaseModel):
    items: list[ThreadOut]
    has_next: bool
    next: str | None = Field(description="The `cursor` of the next page.")


class ThreadDetail(BaseModel):
    thread: ThreadOut
    messages: list[MessageOut] = Field(description="The oldest first, up to 500.")


def message_out(row: Row) -> MessageOut:
    return MessageOut.model_validate(row)


def listed(row: Row) -> dict[str, object]:
    """What `MessageOut` becomes as JSON, for lists: `Ready` writes it."""
    return {
        "id": str(row.id),
        "account": str(row.account),
        "thread": str(row.thread),
        "subject": row.subject,
        "from": {"name": row.sender.name, "address": row.sender.address},
        "to": [{"name": person.name, "address": person.address} for person in row.to],
        "sent_at": row.sent_at,
        "received_at": row.received_at,
        "preview": row.preview[:SHOWN],
        "read": row.read,
        "starred": row.starred,
        "answered": row.answered,
        "draft": row.draft,
        "flags": row.flags,
        "folders": [{"id": str(place.id), "path": place.path, "role": place.role} for place in row.folders],
        "attachment_count": row.attachment_count,
        "size": row.size,
        "priority": row.priority,
    }


def fields_of(row: Row) -> dict[str, object]:
    """What a model that adds to `MessageOut` begins with."""
    return {field.name: getattr(row, field.name) for field in dataclasses.fields(row)}


def detail_out(row: Row, content: Content, shown: Shown | None, conversation: Sequence[Row]) -> MessageDetail:
    """`row` and `content` are what was stored, `shown` what the raw message says now; None: nobody asks."""
    return MessageDetail.model_validate(
        {
            **fields_of(row),
            **_said_now(shown),
            "text": content.text,
            "attachments": content.attachments,
            "conversation": conversation,
        },
        from_attributes=True,
    )


def _said_now(shown: Shown | None) -> dict[str, object]:
    """The fields `READ_NOW`."""
    if shown is None:
        return {"in_reply_to": (), "references": (), "headers": (), "html": None, "blocked_images": 0}
    parsed, html = shown.parsed, shown.html
    headers = [HeaderOut(name=name, value=value) for name, value in parsed.headers if name.lower() in TOLD]
    return {
        "in_reply_to": parsed.in_reply_to,
        "references": parsed.references,
        "headers": headers[:MANY],
        "html": html.html if html else None,
        "blocked_images": html.blocked_images if html else 0,
    }
