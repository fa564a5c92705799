"""/v1/accounts: connect mailboxes, see how they are doing, pause and remove them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response

from postroom.accounts import change, store
from postroom.accounts.answers import (
    AccountOut,
    AccountPage,
    ConnectedOut,
    EstimateOut,
    FoundOut,
    account_out,
)
from postroom.accounts.asked import ChangeIn, ConnectIn, every, login_of
from postroom.accounts.change import Then
from postroom.accounts.connect import Wish, connect, examine, renew
from postroom.accounts.model import Account
from postroom.accounts.oauth import Oauth
from postroom.accounts.seek import Seek
from postroom.accounts.signing_in import Consents
from postroom.db.pool import Connection, Database
from postroom.errors import TryLater
from postroom.http.deps import Admin, AdminOfAll, AtDoor, Reader, Tx
from postroom.ids import AccountId, TenantId
from postroom.jobs.answers import JobOut, job_out
from postroom.jobs.model import Job
from postroom.providers.imap.settings import to_url
from postroom.providers.model import Provider
from postroom.vault.seal import Vault

router = APIRouter(prefix="/v1/accounts", tags=["accounts"])

PATIENCE = 60
"""Seconds that a server may take to be connected."""
LIST = "accounts"


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
    consents: Consents


async def _desk(request: Request) -> Desk:
    desk: Desk = request.app.state.desk
    return desk


AtDesk = Annotated[Desk, Depends(_desk)]


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
    after = AccountId(door.cursors.open(caller, LIST, cursor)[0]) if cursor is not None else None
    found = await store.list_after(conn, caller.tenant, after, page_size + 1)
    following = None
    if len(found) > page_size:
        following = door.cursors.seal(caller, LIST, [found[page_size - 1].id])
    items = [await _out(conn, desk, account) for account in found[:page_size]]
    return AccountPage(items=items, has_next=following is not None, next=following)


@router.post("", status_code=201)
async def connect_account(
    caller: AdminOfAll, door: AtDoor, desk: AtDesk, wanted: ConnectIn, response: Response
) -> ConnectedOut:
    """Connect a mailbox: its server is tried first, and nothing is stored unless that works."""
    async with patience():
        connected = await connect(
            door.database,
            desk.vault,
            desk.providers,
            caller.tenant,
            wanted.asked(),
            desk.begin_anew,
            desk.oauth,
            desk.seek,
        )
    account = connected.account
    response.headers["Location"] = f"{router.prefix}/{account.public_id}"
    async with door.data_of(caller).transaction(caller.tenant) as conn:
        return ConnectedOut(
            account=await _out(conn, desk, account),
            estimate=EstimateOut.model_validate(connected.estimate),
            server=to_url(account.settings),
            found_by=connected.found_by,
        )


@router.post("/estimate")
async def estimate(_: AdminOfAll, desk: AtDesk, wanted: ConnectIn) -> FoundOut:
    """What connecting a mailbox would copy: its server is tried as it would be then, and nothing is stored.

    A refresh token is left alone, as it may be good once: with `oauth` comes an `access_token`.
    """
    async with patience():
        found = await examine(desk.providers, wanted.asked(), desk.oauth, desk.seek, spends=False)
    return FoundOut(
        estimate=EstimateOut.model_validate(found.estimate),
        server=to_url(found.settings),
        found_by=found.found_by,
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
    data = door.data_of(caller)
    async with data.transaction(caller.tenant) as conn:
        found = await store.get(conn, caller.tenant, id)
    if wanted.password is not None or wanted.oauth is not None:
        wish = Wish(found.address, **login_of(wanted.password, wanted.oauth))
        async with patience():
            await renew(door.database, desk.vault, desk.providers, found, wish, desk.begin_anew, desk.oauth)
    async with data.transaction(caller.tenant) as conn:
        if wanted.paused:
            await change.pause(conn, found, desk.stop)
        elif wanted.paused is not None:
            await change.resume(conn, found)
        if "poll_every_minutes" in wanted.model_fields_set:
            await change.poll(conn, found, every(wanted.poll_every_minutes), desk.interval)
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
    async with door.data_of(caller).transaction(caller.tenant) as conn:
        found = await store.get(conn, caller.tenant, id)
    job = await desk.remove(door.database, found)
    if job is None:
        return Response(status_code=204)
    place = {"Location": f"/v1/jobs/{job.public_id}"}
    told = job_out(job, found.public_id).model_dump_json()
    return Response(told, 202, place, "application/json")


@asynccontextmanager
async def patience() -> AsyncIterator[None]:
    """For as long as a server may take. Raises `TooSlow`."""
    try:
        async with asyncio.timeout(PATIENCE):
            yield
    except TimeoutError as error:
        raise TooSlow("The mail server takes too long to answer.") from error


async def _out(conn: Connection, desk: Desk, account: Account) -> AccountOut:
    marked = account.sync_started_at is not None
    return account_out(account, leased=marked and await desk.is_syncing(conn, account.tenant_id, account.id))
