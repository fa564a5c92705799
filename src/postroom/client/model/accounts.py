"""Connected mailboxes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal
from uuid import UUID

AccountState = Literal["active", "paused", "reauth_required", "error"]
FoundBy = Literal["table", "mx", "srv", "autoconfig", "ispdb", "guess"]
SyncResult = Literal["success", "failed", "in_progress"]


@dataclass(frozen=True, slots=True)
class Error:
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class CopyScope:
    """What of a mailbox is copied."""

    folders: str | None
    since: date | None
    largest: int | None  # bytes


@dataclass(frozen=True, slots=True)
class Account:
    is_syncing: bool
    last_sync_at: datetime | None
    last_sync_status: SyncResult | None
    last_sync_error: Error | None
    sync_count: int
    verified_fresh_at: datetime | None  # when the copy was last proven equal
    next_sync_at: datetime | None
    throttled_until: datetime | None  # until then some mail waits; None: none does
    throttled_by: str | None
    id: UUID
    address: str
    provider: str
    auth: Literal["password", "oauth2"]
    state: AccountState
    reason: str | None  # why it is in this state, and what to do
    scope: CopyScope
    poll_every_minutes: float | None  # None: the installation's default
    daily_bytes: int | None  # None: as its provider has it
    watch_folders: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class AccountPage:
    items: Sequence[Account]
    has_next: bool
    next: str | None


@dataclass(frozen=True, slots=True)
class Estimate:
    folders: int
    messages: int
    bytes: int | None  # None: its server cannot tell without reading everything
    seconds: float  # about how long the first sync takes, on a good line


@dataclass(frozen=True, slots=True)
class Found:
    estimate: Estimate  # what the first sync copies
    server: str
    found_by: FoundBy | None  # None: the request named the server


@dataclass(frozen=True, slots=True)
class Connected(Found):
    account: Account


@dataclass(frozen=True, slots=True)
class Consent:
    url: str  # where to send the person, at the provider; good once
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What a token server gave for somebody's consent; `OauthIn` of the document."""

    refresh_token: str
    scope: str | None = None
    client: str | None = None  # of the installation; else the next four
    token_url: str | None = None
    client_id: str | None = None
    client_secret: str | None = None
    client_auth: Literal["post", "basic"] | None = None
    revocation_url: str | None = None
    access_token: str | None = None
    expires_in: int | None = None  # seconds, of the access token
