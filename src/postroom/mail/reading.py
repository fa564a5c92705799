"""What a reader gets: rows of lists, and what they may be filtered and sorted by."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from postroom import errors
from postroom.ids import AccountId, FolderId, MessageId, ThreadId
from postroom.mime.model import Attachment


class Sort(StrEnum):
    DATE = "date"  # when the server took it in
    SENDER = "sender"  # the sender's address, then the date


class Order(StrEnum):
    ASCENDING = "asc"
    DESCENDING = "desc"


@dataclass(frozen=True, slots=True)
class Filters:
    """What a list of messages is narrowed to; None leaves a question open."""

    account: AccountId | None = None
    folders: Sequence[FolderId] | None = None  # in any of them
    label: str | None = None
    thread: ThreadId | None = None
    read: bool | None = None
    starred: bool | None = None
    sender: str | None = None  # an address, whole
    after: datetime | None = None  # received then or later
    before: datetime | None = None  # received earlier than that
    has_attachment: bool | None = None


@dataclass(frozen=True, slots=True)
class Person:
    name: str
    address: str


@dataclass(frozen=True, slots=True)
class Place:
    """A folder that a message lies in."""

    id: UUID
    path: str
    role: str | None


@dataclass(frozen=True, slots=True)
class Row:
    """A message as lists show it."""

    number: MessageId
    thread_number: ThreadId
    digest: bytes
    id: UUID
    account: UUID
    thread: UUID
    subject: str
    sender: Person
    to: Sequence[Person]  # in a list the first of them
    cc: Sequence[Person]  # in a list nobody, as in the next two
    bcc: Sequence[Person]
    reply_to: Sequence[Person]
    sent_at: datetime | None
    received_at: datetime
    preview: str
    read: bool
    starred: bool
    answered: bool
    draft: bool
    flags: Sequence[str]  # of all its placements
    folders: Sequence[Place]
    attachment_count: int
    size: int
    message_id: str | None
    list_id: str | None
    defects: Sequence[str]
    priority: float | None


@dataclass(frozen=True, slots=True)
class Content:
    """What a message says, apart from its raw bytes."""

    text: str
    attachments: Sequence[Attachment]


@dataclass(frozen=True, slots=True)
class FolderRow:
    id: UUID
    account: UUID
    path: str
    role: str | None
    selectable: bool
    messages: int | None  # None: not counted


@dataclass(frozen=True, slots=True)
class ThreadRow:
    number: ThreadId
    id: UUID
    account: UUID
    subject: str
    messages: int
    last_at: datetime
    unread: int
    starred: bool
    preview: str  # of the newest message
    senders: Sequence[Person]


class NoSuchAccount(errors.NotFound):
    code = "mail.account_not_found"


class NoSuchAttachment(errors.NotFound):
    code = "mail.attachment_not_found"


class NoHtml(errors.NotFound):
    code = "mail.no_html"
