"""/v1/sync: what is parked; and how an account's syncs go, under /v1/accounts."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import BaseModel, Field

from postroom.accounts import store as accounts
from postroom.accounts.answers import SyncStateOut
from postroom.accounts.status import status
from postroom.db import leases
from postroom.http.deps import AtDoor, Reader, Syncer, Tx
from postroom.http.pieces import streamed
from postroom.jobs import store as job_store
from postroom.jobs.answers import JobOut, job_out
from postroom.mail import download
from postroom.providers import budget
from postroom.providers import store as budgets
from postroom.providers.model import Means
from postroom.providers.slots import store as slots

from . import parked
from .ask import request
from .model import key
from .quarantine import Entry, Kind, advice
from .store import quarantine, watch

router = APIRouter(prefix="/v1", tags=["sync"])

LIST = "sync.parked"


class ParkedOut(BaseModel):
    id: UUID
    kind: Kind
    account: UUID
    address: str
    folder: UUID | None
    path: str | None = Field(description="Of the folder.")
    uid: int | None = Field(description="The server's number for the message.")
    code: str
    reason: str
    advice: str = Field(description="What it means, and what can be done.")
    attempts: int
    since: datetime
    last_at: datetime = Field(description="When it failed last.")
    retry_at: datetime | None = Field(description="Null: not before somebody acts.")
    size: int | None = Field(description="Bytes, where the server told.")
    has_raw: bool = Field(description="Whether its bytes are kept; they are under `/raw`.")


class ParkedPage(BaseModel):
    items: list[ParkedOut]
    has_next: bool
    next: str | None = Field(description="The `cursor` of the next page.")


class PushOut(BaseModel):
    means: Means = Field(description="`notify`: it tells of all folders; `idle`: of the inbox.")
    since: datetime


class SyncStatusOut(SyncStateOut):
    parked: int = Field(description="Messages and folders of it that wait.")
    push: PushOut | None = Field(
        description="How its server tells of changes at once. Null: it does not, and is polled."
    )


class AlertOut(BaseModel):
    at: datetime
    text: str


class BudgetOut(BaseModel):
    """What an account costs its provider, and what the provider says to that."""

    bytes_today: int = Field(description="Downloaded, as far as it is written down.")
    limit: int | None = Field(
        description="Bytes a day: the account's own, or most of what its provider allows."
    )
    backfill_limit: int | None = Field(description="From here on older mail waits for another day.")
    resets_at: datetime = Field(description="When the day is over.")
    connections_today: int
    connections_ceiling: int | None = Field(
        description="How many its server allows at once, as far as that was learnt."
    )
    logins_today: int
    throttled_until: datetime | None = Field(description="Until then some mail waits; null: none does.")
    throttled_by: str | None = Field(description="Why.")
    slowed_at: datetime | None = Field(description="When the server last made its answers slow on purpose.")
    alerts: list[AlertOut] = Field(description="What the server wants its user to read, the latest first.")


@router.get("/sync/parked")
async def list_parked(
    caller: Reader,
    conn: Tx,
    door: AtDoor,
    account: UUID | None = None,
    page_size: Annotated[int, Query(ge=1, le=100)] = 50,
    cursor: Annotated[str | None, Query(max_length=1000)] = None,
) -> ParkedPage:
    """What waits so that the rest goes on: failing accounts first, then folders, then messages."""
    within = (await accounts.get(conn, caller.tenant, account)).id if account else None
    place = door.cursors.open(caller, LIST, cursor) if cursor is not None else None
    found = await quarantine.waiting(
        conn,
        caller.tenant,
        account=within,
        after=(place[0], place[1]) if place else None,
        limit=page_size + 1,
    )
    following = None
    if len(found) > page_size:
        following = door.cursors.seal(caller, LIST, quarantine.place(found[page_size - 1]))
    items = [_out(entry) for entry in found[:page_size]]
    return ParkedPage(items=items, has_next=following is not None, next=following)


@router.get("/sync/parked/{id}")
async def get_parked(caller: Reader, conn: Tx, id: UUID) -> ParkedOut:
    """Why something is parked, and since when."""
    return _out(await parked.entry(conn, caller.tenant, id))


@router.get(
    "/sync/parked/{id}/raw", response_class=Response, responses={200: {"content": {"message/rfc822": {}}}}
)
async def get_raw_parked(caller: Reader, door: AtDoor, id: UUID) -> Response:
    """A parked message byte for byte, where it was handed out."""
    data = door.data_of(caller)
    async with data.transaction(caller.tenant) as conn:
        entry = await parked.entry(conn, caller.tenant, id)
    pieces = parked.raw(data, caller.tenant, entry)
    headers = {
        **download.ISOLATED,
        "Content-Length": str(entry.size),
        "Content-Disposition": download.disposition(f"{id}.eml", "message.eml"),
    }
    return await streamed(pieces, "message/rfc822", headers)


@router.post("/sync/parked/{id}/retry")
async def retry_parked(caller: Syncer, conn: Tx, id: UUID) -> ParkedOut:
    """Let it be tried again at once: its account is due, and a sync takes it."""
    await parked.retry(conn, caller.tenant, ids=[id])
    return _out(await parked.entry(conn, caller.tenant, id))


@router.post("/accounts/{id}/sync", status_code=202)
async def sync_account(
    caller: Syncer,
    conn: Tx,
    id: UUID,
    response: Response,
    full: Annotated[bool, Query(description="Compare every message and flag.")] = False,
) -> JobOut:
    """Bring an account up to date as soon as may be, as a job. One that waits already is pulled forward."""
    account = await accounts.get(conn, caller.tenant, id)
    made = await request(conn, account, full=full)
    response.headers["Location"] = f"/v1/jobs/{made.public_id}"
    return job_out(await job_store.get_by_id(conn, caller.tenant, made.id), account.public_id)


@router.get("/accounts/{id}/sync-status")
async def get_sync_status(caller: Reader, conn: Tx, id: UUID) -> SyncStatusOut:
    """How the syncs of an account go."""
    account = await accounts.get(conn, caller.tenant, id)
    leased = await leases.is_held(conn, caller.tenant, key(account.id))
    now = SyncStateOut.model_validate(status(account, leased=leased))
    waiting = await quarantine.count(conn, caller.tenant, account.id)
    told = await watch.watched(conn, caller.tenant, account.id)
    push = PushOut(means=told.means, since=told.since) if told else None
    return SyncStatusOut(**now.model_dump(), parked=waiting, push=push)


@router.get("/accounts/{id}/budget")
async def get_budget(caller: Reader, conn: Tx, id: UUID) -> BudgetOut:
    """What an account has downloaded today and how much it may, and what its server says to that."""
    account = await accounts.get(conn, caller.tenant, id)
    today, state = await budgets.today(conn, caller.tenant, account.id), status(account)
    limit = budget.limit(account.settings, account.address)
    return BudgetOut(
        bytes_today=today.bytes,
        limit=limit,
        backfill_limit=None if limit is None else budget.for_backfill(limit),
        resets_at=today.ends_at,
        connections_today=today.connections,
        connections_ceiling=await slots.learnt(conn, caller.tenant, account.id),
        logins_today=today.logins,
        throttled_until=state.throttled_until,
        throttled_by=state.throttled_by,
        slowed_at=today.slowed_at,
        alerts=[AlertOut.model_validate(alert) for alert in today.alerts],
    )


def _out(entry: Entry) -> ParkedOut:
    return ParkedOut(
        id=entry.id,
        kind=entry.kind,
        account=entry.account,
        address=entry.address,
        folder=entry.folder,
        path=entry.path,
        uid=entry.uid,
        code=entry.code,
        reason=entry.reason,
        advice=advice(entry),
        attempts=entry.attempts,
        since=entry.since,
        last_at=entry.last_at,
        retry_at=entry.retry_at,
        size=entry.size,
        has_raw=entry.digest is not None,
    )
