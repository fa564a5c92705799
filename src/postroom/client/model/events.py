"""What happens."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeAlias
from uuid import UUID

from .accounts import Error


@dataclass(frozen=True, slots=True)
class Ready:
    """The stream is open, behind this cursor. Said again after each reconnection."""

    cursor: str
    epoch: str  # another one than before: the database may have gone back to a backup
    removed_until: datetime | None  # what was logged up to then was removed


@dataclass(frozen=True, slots=True)
class Event:
    """An event of the log: ids and facts. Keep the `cursor` of the last one that you are done with."""

    cursor: str
    account: UUID | None
    stream: int
    seq: int
    at: datetime
    kind: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class EventPage:
    """Events behind a cursor. Keep `next` in the transaction of what you made of them."""

    entries: Sequence[Event]
    after: str
    next: str
    has_more: bool
    epoch: str
    removed_until: datetime | None


@dataclass(frozen=True, slots=True)
class Consumer:
    """A reader of the log whose cursor the server keeps."""

    name: str
    cursor: str
    created_at: datetime
    moved_at: datetime
    unread_since: datetime | None  # when the first event that it has not read was logged
    problem: str | None  # the code of what is wrong with its cursor


@dataclass(frozen=True, slots=True)
class Consumers:
    consumers: Sequence[Consumer]


@dataclass(frozen=True, slots=True)
class SyncStarted:
    account: UUID
    at: datetime


@dataclass(frozen=True, slots=True)
class SyncEnded:
    account: UUID
    status: Literal["success", "failed", "stopped"]  # stopped: it says nothing of the account
    at: datetime
    added: int
    removed: int
    error: Error | None


News: TypeAlias = Ready | Event | SyncStarted | SyncEnded
