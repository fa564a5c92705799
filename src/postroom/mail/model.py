"""The nouns of mail: folder, message, placement, thread."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
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
    object_id: str | None = None  # the server's own id for it, which outlives its name


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
    object_id: str | None = None  # the server's name for this content, in any folder


class Came(IntEnum):
    """How a message came to lie under a number of a folder; of several ways the first is likeliest."""

    STAYED = 1  # it lay in this folder, under another number
    MOVED = 2  # it lay in another folder, and is gone from there
    COPIED = 3  # it lies in another folder, too
    ADDED = 4  # we never had it


@dataclass(frozen=True, slots=True)
class Place:
    """A folder that a message lies in, or lay in last."""

    folder: UUID  # its public id
    uid: int  # below zero: the server's number for it is not known
    flags: frozenset[str]


@dataclass(frozen=True, slots=True)
class Known:
    """A stored message that may be the one in question, and where it lies."""

    id: MessageId
    public_id: UUID
    key: bytes | str  # what it is known by: the digest of its content, or the server's own id for that
    size: int
    places: Mapping[FolderId, Place]
    last: Place | None  # where it lay last, if it lies nowhere


@dataclass(frozen=True, slots=True)
class Placed:
    """A message that lies in a folder now, and how that came."""

    id: MessageId
    public_id: UUID
    uid: int
    flags: frozenset[str]
    came: Came
    before: Place | None = None  # where it lay, for one that stayed or moved


@dataclass(frozen=True, slots=True)
class Added:
    """A new message with its ids."""

    incoming: Incoming
    id: MessageId
    public_id: UUID


@dataclass(frozen=True, slots=True)
class Displaced:
    """A message that lost a placement."""

    id: MessageId
    public_id: UUID
    uid: int
    is_unplaced: bool  # it was its last one


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
