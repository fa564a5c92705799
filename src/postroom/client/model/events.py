"""What happens."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeAlias
from uuid import UUID

from .accounts import Error


@dataclass(frozen=True, slots=True)
class Ready:
    """The stream is open, behind this cursor. Said again after each reconnection."""

    cursor: str


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
