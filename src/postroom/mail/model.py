"""The nouns of mail: folder, message, placement, thread."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from postroom import errors
from postroom.ids import AccountId, FolderId, MessageId, ThreadId

PARSER = 1  # goes up when `mime` reads mail differently; rows tell which version read them


@dataclass(frozen=True, slots=True)
class Folder:
    id: FolderId
    public_id: UUID
    account_id: AccountId
    name: bytes
    path: str
    role: str | None
    selectable: bool


@dataclass(frozen=True, slots=True)
class Kept:
    """What the tables keep of a mail that was read; the rest is read again from its bytes when asked for."""

    message_id: str | None
    subject: str
    sender_name: str
    sender_address: str
    recipients: bytes  # JSON
    sent_at: datetime | None
    preview: str
    list_id: str | None
    text: str
    attachments: tuple[tuple[object, ...], ...]  # the columns of each
    keys: tuple[str, ...]  # lead to its thread
    defects: str  # with spaces between


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message that the server has under `uid`, read and ready to be stored."""

    folder_id: FolderId
    uid: int
    flags: frozenset[str]
    received_at: datetime
    digest: bytes
    size: int
    kept: Kept


@dataclass(frozen=True, slots=True)
class Added:
    """What became of an incoming message. The first of its content is new; another is a placement more."""

    incoming: Incoming
    id: MessageId
    public_id: UUID
    is_new: bool
    was_unplaced: bool = False  # it lay in no folder: it has been moved here


@dataclass(frozen=True, slots=True)
class Known:
    """A stored message with the content in question, and the folders it lies in."""

    id: MessageId
    public_id: UUID
    digest: bytes
    folders: frozenset[FolderId]
    is_unplaced: bool


@dataclass(frozen=True, slots=True)
class Displaced:
    """A message that lost a placement."""

    id: MessageId
    public_id: UUID
    uid: int


@dataclass(frozen=True, slots=True)
class Purged:
    """A message that is gone from every folder, and now from the copy."""

    id: MessageId
    public_id: UUID
    digest: bytes


@dataclass(frozen=True, slots=True)
class Group:
    """Messages of one batch that belong to one thread, and the threads they already lead to."""

    members: Sequence[int]  # positions in the batch
    keys: frozenset[str]
    threads: Sequence[ThreadId]  # existing ones, the oldest first; none: a new thread


class NoSuchMessage(errors.NotFound):
    code = "mail.not_found"


class NoSuchFolder(errors.NotFound):
    code = "mail.folder_not_found"


class NoSuchThread(errors.NotFound):
    code = "mail.thread_not_found"
