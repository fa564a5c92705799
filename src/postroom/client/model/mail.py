"""Messages, folders, conversations, and what a search finds."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypedDict
from uuid import UUID

Sort = Literal["date", "sender"]
Order = Literal["asc", "desc"]


@dataclass(frozen=True, slots=True)
class Address:
    name: str
    address: str


@dataclass(frozen=True, slots=True)
class Place:
    """A folder that a message lies in."""

    id: UUID
    path: str
    role: str | None


@dataclass(frozen=True, slots=True)
class Message:
    id: UUID
    account: UUID
    thread: UUID
    subject: str
    sender: Address  # `from` in the document
    to: Sequence[Address]
    sent_at: datetime | None  # what the mail claims
    received_at: datetime  # when the server took it in; lists are in this order
    preview: str
    read: bool
    starred: bool
    answered: bool
    draft: bool
    flags: Sequence[str]
    folders: Sequence[Place]
    attachment_count: int
    size: int  # bytes of the raw message
    priority: float | None


@dataclass(frozen=True, slots=True)
class MessagePage:
    items: Sequence[Message]
    page: int | None  # None where it was asked for with a cursor
    page_size: int
    has_next: bool
    has_prev: bool
    next: str | None
    total: int | None
    total_is_exact: bool | None  # False: there are more than `total`


@dataclass(frozen=True, slots=True)
class Attachment:
    number: int
    name: str | None
    content_type: str
    size: int
    content_id: str | None
    disposition: str


@dataclass(frozen=True, slots=True)
class Header:
    name: str
    value: str


@dataclass(frozen=True, slots=True)
class MessageDetail(Message):
    cc: Sequence[Address]
    bcc: Sequence[Address]
    reply_to: Sequence[Address]
    message_id: str | None
    in_reply_to: Sequence[str]
    references: Sequence[str]
    list_id: str | None
    headers: Sequence[Header]
    text: str
    html: str | None  # safe to show in a sandboxed frame
    blocked_images: int
    attachments: Sequence[Attachment]
    conversation: Sequence[Message]  # the oldest first, up to 100
    defects: Sequence[str]


class SparseMessage(TypedDict, total=False):
    """A message of which only some fields were asked for."""

    id: UUID
    account: UUID
    thread: UUID
    subject: str
    sender: Address
    to: Sequence[Address]
    sent_at: datetime | None
    received_at: datetime
    preview: str
    read: bool
    starred: bool
    answered: bool
    draft: bool
    flags: Sequence[str]
    folders: Sequence[Place]
    attachment_count: int
    size: int
    priority: float | None


class SparseDetail(SparseMessage, total=False):
    """The same of all that a message has."""

    cc: Sequence[Address]
    bcc: Sequence[Address]
    reply_to: Sequence[Address]
    message_id: str | None
    in_reply_to: Sequence[str]
    references: Sequence[str]
    list_id: str | None
    headers: Sequence[Header]
    text: str
    html: str | None
    blocked_images: int
    attachments: Sequence[Attachment]
    conversation: Sequence[Message]
    defects: Sequence[str]


@dataclass(frozen=True, slots=True)
class SparsePage:
    items: Sequence[SparseMessage]
    page: int | None
    page_size: int
    has_next: bool
    has_prev: bool
    next: str | None
    total: int | None
    total_is_exact: bool | None


@dataclass(frozen=True, slots=True)
class Folder:
    id: UUID
    account: UUID
    path: str
    role: str | None
    selectable: bool
    messages: int | None  # None unless asked for


@dataclass(frozen=True, slots=True)
class Folders:
    items: Sequence[Folder]


@dataclass(frozen=True, slots=True)
class Thread:
    id: UUID
    account: UUID
    subject: str
    messages: int
    unread: int
    starred: bool
    last_at: datetime
    preview: str
    senders: Sequence[Address]


@dataclass(frozen=True, slots=True)
class ThreadPage:
    items: Sequence[Thread]
    has_next: bool
    next: str | None


@dataclass(frozen=True, slots=True)
class ThreadDetail:
    thread: Thread
    messages: Sequence[Message]  # the oldest first, up to 500


@dataclass(frozen=True, slots=True)
class Hit:
    message: Message
    score: float  # only to compare hits of one search
    subject_html: str
    snippet_html: str


@dataclass(frozen=True, slots=True)
class AccountCount:
    id: UUID
    address: str
    count: int


@dataclass(frozen=True, slots=True)
class FolderCount:
    id: UUID
    account: UUID
    path: str
    role: str | None
    count: int


@dataclass(frozen=True, slots=True)
class SenderCount:
    address: str
    name: str
    count: int


@dataclass(frozen=True, slots=True)
class MonthCount:
    month: str  # `2026-03`, in UTC
    count: int


@dataclass(frozen=True, slots=True)
class Facets:
    """None for those that were not asked for."""

    counted: int
    is_exact: bool
    accounts: Sequence[AccountCount] | None
    folders: Sequence[FolderCount] | None
    senders: Sequence[SenderCount] | None
    months: Sequence[MonthCount] | None


@dataclass(frozen=True, slots=True)
class SearchPage:
    items: Sequence[Hit]
    total: int
    total_is_exact: bool  # False: there are, or may be, more
    next: str | None  # pages before the end can be short or empty
    facets: Facets | None


@dataclass(frozen=True, slots=True)
class Content:
    """Bytes that were downloaded: all of them, or those from `first` on."""

    data: bytes
    media_type: str
    name: str | None  # to save it under
    etag: str | None
    first: int
    size: int  # of the whole
