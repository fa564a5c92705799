"""How accounts look to callers of the API."""

from datetime import date, datetime, timedelta
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, Field

from postroom.accounts.asked import DAILY_BYTES, WATCH_FOLDERS
from postroom.accounts.autodiscover import FoundBy
from postroom.accounts.grant import is_grant
from postroom.accounts.model import Account, AccountState
from postroom.accounts.status import SyncStatus, status
from postroom.jobs.answers import ErrorOut


class CopyScopeOut(BaseModel, from_attributes=True):
    folders: str | None
    since: date | None
    largest: int | None


class SyncStateOut(BaseModel, from_attributes=True):
    """How the syncs of an account go."""

    is_syncing: bool
    last_sync_at: datetime | None
    last_sync_status: SyncStatus | None
    last_sync_error: ErrorOut | None
    sync_count: int
    verified_fresh_at: datetime | None = Field(description="When the copy was last proven equal.")
    next_sync_at: datetime | None
    throttled_until: datetime | None = Field(description="Until then some mail waits; null: none does.")
    throttled_by: str | None = Field(description="Why.")


class AccountOut(SyncStateOut):
    id: UUID
    address: str
    provider: str
    auth: Literal["password", "oauth2"] = Field(description="What it is connected with.")
    state: AccountState
    reason: str | None = Field(description="Why it is in this state, and what to do.")
    scope: CopyScopeOut
    poll_every_minutes: float | None = Field(description="Null: the installation's default.")
    daily_bytes: int | None = Field(description=DAILY_BYTES)
    watch_folders: str | None = Field(description=WATCH_FOLDERS)
    created_at: datetime


class AccountPage(BaseModel):
    items: list[AccountOut]
    has_next: bool
    next: str | None = Field(description="The `cursor` of the next page.")


class EstimateOut(BaseModel, from_attributes=True):
    folders: int
    messages: int
    bytes: int | None = Field(description="Null: its server cannot tell without reading everything.")
    seconds: float = Field(description="About how long the first sync takes, on a good line.")


class FoundOut(BaseModel):
    estimate: EstimateOut = Field(description="What the first sync copies.")
    server: str = Field(description="Where its mail is: `imaps://HOST:PORT`, or `imap://` with STARTTLS.")
    found_by: FoundBy | None = Field(
        description="What said that this is its server: the `table` of large providers by the address, or by "
        "the domain's `mx`; its `srv` records; its `autoconfig` document; Mozilla's collection of those "
        "(`ispdb`); or a `guess`. Null: the request."
    )


class ConnectedOut(FoundOut):
    account: AccountOut


class ConsentOut(BaseModel):
    url: str = Field(description="Where to send the person, at the provider; good once.")
    expires_at: datetime


def account_out(account: Account, *, leased: bool) -> AccountOut:
    """`leased`: whether somebody is at work on it."""
    now = status(account, leased=leased)
    return AccountOut(
        id=account.public_id,
        address=account.address,
        provider=account.provider,
        auth="oauth2" if is_grant(account.settings) else "password",
        state=now.state,
        reason=now.reason,
        scope=CopyScopeOut.model_validate(account.scope),
        poll_every_minutes=account.poll_every / timedelta(minutes=1) if account.poll_every else None,
        daily_bytes=account.settings.get("daily_bytes"),
        watch_folders=account.settings.get("watch_folders"),
        created_at=account.created_at,
        **SyncStateOut.model_validate(now).model_dump(),
    )
