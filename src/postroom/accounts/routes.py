"""/v1/accounts: connect mailboxes, see how they are doing, pause and remove them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, Field, SecretStr, model_validator

from postroom.accounts import change, store
from postroom.accounts.autodiscover import FoundBy
from postroom.accounts.change import Then
from postroom.accounts.connect import Wish, connect, renew
from postroom.accounts.grant import given, is_grant
from postroom.accounts.model import Account, AccountState, Scope
from postroom.accounts.oauth import Oauth
from postroom.accounts.seek import Seek
from postroom.accounts.status import SyncStatus, status
from postroom.db.pool import Connection, Database
from postroom.errors import TryLater
from postroom.http.asked import Text
from postroom.http.deps import Admin, AtDoor, Reader, Tx
from postroom.ids import AccountId, TenantId
from postroom.jobs.answers import ErrorOut, JobOut, job_out
from postroom.jobs.model import Job
from postroom.providers.imap.settings import from_url, to_url
from postroom.providers.model import Provider
from postroom.vault.seal import Vault

router = APIRouter(prefix="/v1/accounts", tags=["accounts"])

PATIENCE = 60
"""Seconds that a server may take to be connected."""
LIST = "accounts"
DAILY_BYTES = "To download in a day; null: as its provider has it."
WATCH_FOLDERS = (
    "A pattern of folders that are watched beside the inbox, each over a connection of its own where the "
    "server tells of one folder only, and as far as there are connections for that; null: none."
)


class TooSlow(TryLater):
    code = "accounts.too_slow"


@dataclass(frozen=True, slots=True)
class Desk:
    """What the application lends to these routes: what rooms above this one do, too."""

    vault: Vault
    providers: Mapping[str, Provider]
    interval: timedelta  # between polls, for accounts without their own
    stop: Then  # what copies an account
    begin_anew: Then  # with other credentials
    remove: Callable[[Database, Account], Awaitable[Job | None]]
    is_syncing: Callable[[Connection, TenantId, AccountId], Awaitable[bool]]
    oauth: Oauth
    seek: Seek  # the server of an address


async def _desk(request: Request) -> Desk:
    desk: Desk = request.app.state.desk
    return desk


AtDesk = Annotated[Desk, Depends(_desk)]
DailyBytes = Annotated[int, Field(ge=1 << 20, lt=1 << 50)]
Minutes = Annotated[float, Field(ge=1, le=60 * 24 * 7, description="Between polls.")]


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
    bytes: int | None


class ConnectedOut(BaseModel):
    account: AccountOut
    estimate: EstimateOut = Field(description="What the first sync copies.")
    server: str = Field(description="Where its mail is: `imaps://HOST:PORT`, or `imap://` with STARTTLS.")
    found_by: FoundBy | None = Field(
        description="What said that this is its server: the `table` of large providers by the address, or by "
        "the domain's `mx`; its `srv` records; its `autoconfig` document; Mozilla's collection of those "
        "(`ispdb`); or a `guess`. Null: the request."
    )


class OauthIn(BaseModel, extra="forbid"):
    """A grant: what a token server gave for somebody's consent."""

    refresh_token: SecretStr = Field(min_length=1, max_length=16384)
    scope: Text | None = None
    client: Text | None = Field(
        None, description="The name of a client of this installation; else the four below."
    )
    token_url: Text | None = None
    client_id: Text | None = None
    client_secret: SecretStr | None = Field(None, min_length=1, max_length=16384)
    client_auth: Literal["post", "basic"] | None = Field(None, description="`post` by default.")
    revocation_url: Text | None = Field(
        None, description="Where it is revoked when the account is removed (RFC 7009)."
    )
    access_token: SecretStr | None = Field(None, min_length=1, max_length=16384)
    expires_in: Annotated[int, Field(ge=1, lt=1 << 31)] | None = Field(
        None, description="Seconds, of the access token."
    )

    def revealed(self) -> dict[str, Any]:
        values = self.model_dump(exclude_none=True)
        return {k: v.get_secret_value() if isinstance(v, SecretStr) else v for k, v in values.items()}


class ConnectIn(BaseModel, extra="forbid"):
    address: Annotated[str, Field(min_length=1, max_length=254)]
    password: SecretStr | None = Field(None, min_length=1, max_length=1000)
    oauth: OauthIn | None = Field(None, description="Instead of a password.")
    server: Text | None = Field(
        None, description="`imaps://HOST:PORT` or `imap://HOST:PORT`; else it is found."
    )
    starttls: Literal["require", "auto", "off"] = Field("require", description="For `imap://`.")
    username: Text | None = Field(None, description="Where it is not the address.")
    folders: Text | None = Field(None, description="A pattern such as `INBOX*`; everything by default.")
    since: date | None = Field(None, description="Older mail stays on the server.")
    largest: int | None = Field(None, ge=1, lt=1 << 62, description="Bytes; larger messages stay there.")
    poll_every_minutes: Minutes | None = None
    daily_bytes: DailyBytes | None = Field(None, description=DAILY_BYTES)
    watch_folders: Text | None = Field(None, description=WATCH_FOLDERS)
    compress: Literal["auto", "always", "never"] = Field(
        "auto", description="Whether to compress what comes from the server: auto does on a slow link."
    )
    connections: int | None = Field(
        None, ge=1, le=100, description="To its server at a time; null: as its provider allows."
    )

    @model_validator(mode="after")
    def _either(self) -> Self:
        if (self.password is None) == (self.oauth is None):
            raise ValueError("give either a password or oauth")
        return self


class ChangeIn(BaseModel, extra="forbid"):
    paused: bool | None = Field(None, description="True pauses, false resumes.")
    poll_every_minutes: Minutes | None = Field(None, description="Null: the installation's default.")
    daily_bytes: DailyBytes | None = Field(None, description=DAILY_BYTES)
    watch_folders: Text | None = Field(None, description=WATCH_FOLDERS)
    password: SecretStr | None = Field(None, min_length=1, max_length=1000)
    oauth: OauthIn | None = Field(None, description="Instead of a password, or of another grant.")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if self.password is not None and self.oauth is not None:
            raise ValueError("give either a password or oauth")
        return self


@router.get("")
async def list_accounts(
    caller: Reader,
    conn: Tx,
    door: AtDoor,
    desk: AtDesk,
    page_size: Annotated[int, Query(ge=1, le=100)] = 100,
    cursor: Annotated[str | None, Query(max_length=1000)] = None,
) -> AccountPage:
    """Connected mailboxes, in the order in which they were connected."""
    after = AccountId(door.cursors.open(caller.tenant, LIST, cursor)[0]) if cursor is not None else None
    found = await store.list_after(conn, caller.tenant, after, page_size + 1)
    following = None
    if len(found) > page_size:
        following = door.cursors.seal(caller.tenant, LIST, [found[page_size - 1].id])
    items = [await _out(conn, desk, account) for account in found[:page_size]]
    return AccountPage(items=items, has_next=following is not None, next=following)


@router.post("", status_code=201)
async def connect_account(
    caller: Admin, door: AtDoor, desk: AtDesk, wanted: ConnectIn, response: Response
) -> ConnectedOut:
    """Connect a mailbox: its server is tried first, and nothing is stored unless that works."""
    wish = Wish(
        address=wanted.address,
        settings=from_url(wanted.server, starttls=wanted.starttls) if wanted.server else None,
        username=wanted.username,
        scope=Scope(wanted.folders, wanted.since, wanted.largest),
        poll_every=_every(wanted.poll_every_minutes),
        compress=wanted.compress,
        connections=wanted.connections,
        daily_bytes=wanted.daily_bytes,
        watch_folders=wanted.watch_folders,
    )
    wish = _with_credentials(wish, wanted.password, wanted.oauth)
    async with _patience():
        connected = await connect(
            door.database,
            desk.vault,
            desk.providers,
            caller.tenant,
            wish,
            desk.begin_anew,
            desk.oauth,
            desk.seek,
        )
    account = connected.account
    response.headers["Location"] = f"{router.prefix}/{account.public_id}"
    async with door.database.transaction(caller.tenant) as conn:
        return ConnectedOut(
            account=await _out(conn, desk, account),
            estimate=EstimateOut.model_validate(connected.estimate),
            server=to_url(account.settings),
            found_by=connected.found_by,
        )


@router.get("/{id}")
async def get_account(caller: Reader, conn: Tx, desk: AtDesk, id: UUID) -> AccountOut:
    """How a mailbox is doing."""
    return await _out(conn, desk, await store.get(conn, caller.tenant, id))


@router.patch("/{id}")
async def change_account(caller: Admin, door: AtDoor, desk: AtDesk, id: UUID, wanted: ChangeIn) -> AccountOut:
    """Pause or resume a mailbox, change how often it is polled, how much is downloaded in a day and which
    folders are watched, or what one logs in with.

    What is left out stays as it is. A password or grant is tried at the server first.
    """
    async with door.database.transaction(caller.tenant) as conn:
        found = await store.get(conn, caller.tenant, id)
    if wanted.password is not None or wanted.oauth is not None:
        wish = _with_credentials(Wish(found.address), wanted.password, wanted.oauth)
        async with _patience():
            await renew(door.database, desk.vault, desk.providers, found, wish, desk.begin_anew, desk.oauth)
    async with door.database.transaction(caller.tenant) as conn:
        if wanted.paused:
            await change.pause(conn, found, desk.stop)
        elif wanted.paused is not None:
            await change.resume(conn, found)
        if "poll_every_minutes" in wanted.model_fields_set:
            await change.poll(conn, found, _every(wanted.poll_every_minutes), desk.interval)
        if "daily_bytes" in wanted.model_fields_set:
            await change.allow(conn, found, wanted.daily_bytes)
        if "watch_folders" in wanted.model_fields_set:
            await change.watch(conn, found, wanted.watch_folders)
        return await _out(conn, desk, await store.get(conn, caller.tenant, id))


@router.delete(
    "/{id}",
    status_code=204,
    responses={202: {"model": JobOut, "description": "Something is at work on it; this job removes it."}},
)
async def remove_account(caller: Admin, door: AtDoor, desk: AtDesk, id: UUID) -> Response:
    """Forget a mailbox and everything copied from it. The mailbox itself is not touched."""
    async with door.database.transaction(caller.tenant) as conn:
        found = await store.get(conn, caller.tenant, id)
    job = await desk.remove(door.database, found)
    if job is None:
        return Response(status_code=204)
    place = {"Location": f"/v1/jobs/{job.public_id}"}
    told = job_out(job, found.public_id).model_dump_json()
    return Response(told, 202, place, "application/json")


@asynccontextmanager
async def _patience() -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(PATIENCE):
            yield
    except TimeoutError as error:
        raise TooSlow("The mail server takes too long to answer.") from error


def _with_credentials(wish: Wish, password: SecretStr | None, oauth: OauthIn | None) -> Wish:
    grant, granted = given(oauth.revealed()) if oauth else (None, None)
    secret = password.get_secret_value() if password else ""
    return replace(wish, secret=secret, grant=grant, granted=granted)


def _every(minutes: float | None) -> timedelta | None:
    return None if minutes is None else timedelta(minutes=minutes)


async def _out(conn: Connection, desk: Desk, account: Account) -> AccountOut:
    marked = account.sync_started_at is not None
    leased = marked and await desk.is_syncing(conn, account.tenant_id, account.id)
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
