"""How the copies are doing, and what could not be copied."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from .accounts import Error, SyncResult


@dataclass(frozen=True, slots=True)
class Parked:
    id: UUID
    kind: Literal["account", "folder", "message"]
    account: UUID
    address: str
    folder: UUID | None
    path: str | None
    uid: int | None
    code: str
    reason: str
    advice: str
    attempts: int
    since: datetime
    last_at: datetime
    retry_at: datetime | None  # None: not before somebody acts
    size: int | None
    has_raw: bool


@dataclass(frozen=True, slots=True)
class ParkedPage:
    items: Sequence[Parked]
    has_next: bool
    next: str | None


@dataclass(frozen=True, slots=True)
class Push:
    means: Literal["notify", "idle"]
    since: datetime


@dataclass(frozen=True, slots=True)
class SyncStatus:
    is_syncing: bool
    last_sync_at: datetime | None
    last_sync_status: SyncResult | None
    last_sync_error: Error | None
    sync_count: int
    verified_fresh_at: datetime | None
    next_sync_at: datetime | None
    throttled_until: datetime | None
    throttled_by: str | None
    parked: int
    push: Push | None  # None: its server tells nothing by itself, and is polled


@dataclass(frozen=True, slots=True)
class Alert:
    at: datetime
    text: str


@dataclass(frozen=True, slots=True)
class Budget:
    bytes_today: int
    limit: int | None
    backfill_limit: int | None
    resets_at: datetime
    connections_today: int
    connections_ceiling: int | None
    logins_today: int
    throttled_until: datetime | None
    throttled_by: str | None
    slowed_at: datetime | None
    alerts: Sequence[Alert]  # the latest first
