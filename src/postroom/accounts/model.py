"""An account: a mailbox that somebody connected, how to reach it and how it is doing."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any, Literal
from uuid import UUID

from postroom import errors
from postroom.ids import AccountId, TenantId

DUE = "due"  # a hint: an account has just become due


class AccountState(StrEnum):
    ACTIVE = "active"
    PAUSED = "paused"  # by its owner
    REAUTH_REQUIRED = "reauth_required"  # the server does not accept the credentials any more
    ERROR = "error"  # the last sync failed; polls go on, more slowly


@dataclass(frozen=True, slots=True)
class Scope:
    """What of a mailbox is copied. The defaults copy everything."""

    folders: str | None = None  # a pattern such as `INBOX*`; several with commas; `-` in front leaves out
    since: date | None = None  # older mail stays on the server
    largest: int | None = None  # bytes; larger messages are parked


@dataclass(frozen=True, slots=True)
class Account:
    tenant_id: TenantId
    id: AccountId
    public_id: UUID
    address: str
    provider: str
    settings: Mapping[str, Any]
    scope: Scope
    state: AccountState
    reason: str | None
    poll_every: timedelta | None
    next_sync_at: datetime
    sync_started_at: datetime | None  # set while a sync runs
    last_sync_at: datetime | None
    last_sync_status: Literal["success", "failed"] | None
    last_sync_error: Mapping[str, Any] | None  # {"code": ..., "message": ...}
    sync_count: int
    failures: int  # in a row
    verified_fresh_at: datetime | None  # when the copy was last proven equal to the server
    compared_at: datetime | None  # when every message and flag was last compared
    created_at: datetime
    stale_at: datetime | None = None  # when that was told; None: its copy is as new as it should be
    credentials_version: int = 1  # grows with each change of them
    needs_owner: bool = False  # it did, and no sync has succeeded since
    refusals: int = 0  # of its credentials, in a row
    throttled_until: datetime | None = None  # less is downloaded than there is; None: all is
    throttled_by: str | None = None  # why
    retry_at: datetime | None = None  # when it is tried again that waits for its owner; None: not by itself


@dataclass(frozen=True, slots=True)
class Throttle:
    """For how long less is downloaded than there is, and why, as one sentence."""

    wait: timedelta | None
    why: str | None


NOT_THROTTLED = Throttle(None, None)


class NoSuchAccount(errors.NotFound):
    code = "accounts.not_found"


class AlreadyConnected(errors.Conflict):
    code = "accounts.already_connected"
