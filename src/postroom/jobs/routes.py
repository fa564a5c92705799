"""/v1/jobs: what is being done, what waits, what failed; follow one, cancel it, let it be done again."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Query, Request, Response

from postroom.db.pool import Connection
from postroom.http.asked import Text
from postroom.http.deps import AtDoor, Reader, StillReader, Syncer, Tx
from postroom.http.sse import EventStream
from postroom.ids import AccountId, TenantId

from . import store
from .answers import JobOut, JobPage, OverviewOut, job_out, overview_out
from .follow import Following
from .model import OVER, Job, JobId, State
from .store import duties, overview
from .telling import LARGEST, Format, Frames, place

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

LIST = "jobs"
RECENT = timedelta(hours=1)
EVENTS: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {}}},
    204: {"description": "Whoever asks has seen the end."},
}


@dataclass(frozen=True, slots=True)
class Desk:
    """What the application lends to these routes: live news; and accounts, which have only numbers here."""

    following: Following
    account: Callable[[Connection, TenantId, UUID], Awaitable[AccountId]]  # raises a `NotFound`
    public_ids: Callable[[Connection, TenantId, Sequence[AccountId]], Awaitable[Mapping[AccountId, UUID]]]


async def _desk(request: Request) -> Desk:
    desk: Desk = request.app.state.jobs
    return desk


AtDesk = Annotated[Desk, Depends(_desk)]


@router.get("")
async def list_jobs(
    caller: Reader,
    conn: Tx,
    door: AtDoor,
    desk: AtDesk,
    state: State | None = None,
    kind: Text | None = None,
    account: UUID | None = None,
    page_size: Annotated[int, Query(ge=1, le=100)] = 50,
    cursor: Annotated[str | None, Query(max_length=1000)] = None,
) -> JobPage:
    """Jobs, the latest first; with `state=failed` those that nobody tries any more."""
    within = await desk.account(conn, caller.tenant, account) if account else None
    before = JobId(door.cursors.open(caller, LIST, cursor)[0]) if cursor is not None else None
    found = await store.page(
        conn, caller.tenant, limit=page_size + 1, before=before, state=state, kind=kind, account=within
    )
    following = None
    if len(found) > page_size:
        following = door.cursors.seal(caller, LIST, [found[page_size - 1].id])
    items = await _out(conn, desk, caller.tenant, found[:page_size])
    return JobPage(items=items, has_next=following is not None, next=following)


@router.get("/overview")
async def get_jobs_overview(caller: Reader, conn: Tx) -> OverviewOut:
    """How the queue does: what waits, what runs where, what failed for which reason, what recurs."""
    return overview_out(
        await overview.of_tenant(conn, caller.tenant, RECENT),
        await duties.listed(conn),
    )


@router.get("/{id}")
async def get_job(caller: Reader, conn: Tx, desk: AtDesk, id: UUID) -> JobOut:
    """A job as it stands."""
    return await _one(conn, desk, await store.get(conn, caller.tenant, id))


@router.post("/{id}/cancel")
async def cancel_job(caller: Syncer, conn: Tx, desk: AtDesk, id: UUID) -> JobOut:
    """One that waits is cancelled; one that runs is asked to stop, which takes a moment."""
    return await _one(conn, desk, await store.cancel(conn, caller.tenant, id))


@router.post("/{id}/requeue")
async def requeue_job(caller: Syncer, conn: Tx, desk: AtDesk, id: UUID) -> JobOut:
    """Let one that failed or was cancelled be done again, with all its tries."""
    return await _one(conn, desk, await store.requeue(conn, caller.tenant, id))


@router.get("/{id}/events", response_class=Response, responses=EVENTS)
async def follow_job(
    caller: Reader,
    is_welcome: StillReader,
    door: AtDoor,
    desk: AtDesk,
    id: UUID,
    after: Annotated[int, Query(ge=0, le=LARGEST, description="Events from behind this one.")] = 0,
    format: Annotated[Format, Query(description="What the events are.")] = Format.EVENTS,
    last_event_id: Annotated[str | None, Header(description="Goes before `after`.")] = None,
) -> Response:
    """What a job says, from its first event and then live, until it ends.

    `job_event` (with the event's number as id), `job_status` (the job, whenever it has changed), `heartbeat`;
    or, with `format=batch`, `batch_progress` and `batch_complete`. A client that was cut off comes again with
    the last id that it saw; one that saw the end is answered 204.
    """
    has_seen_end = False
    if last_event_id:
        after, has_seen_end = place(last_event_id)
    async with door.data_of(caller).transaction(caller.tenant) as conn:
        found = await store.get(conn, caller.tenant, id)
        known = await _public_ids(conn, desk, caller.tenant, [found])
    if has_seen_end and found.state in OVER:
        return Response(status_code=204)
    account = known.get(found.account_id) if found.account_id is not None else None
    frames = Frames(desk.following.follower(found, after), account, format, after)
    return EventStream(frames, streams=door.streams, tenant=caller.tenant, is_welcome=is_welcome)


async def _one(conn: Connection, desk: Desk, found: Job) -> JobOut:
    return (await _out(conn, desk, found.tenant_id, [found]))[0]


async def _out(conn: Connection, desk: Desk, tenant: TenantId, found: Sequence[Job]) -> list[JobOut]:
    known = await _public_ids(conn, desk, tenant, found)
    return [job_out(job, known.get(job.account_id) if job.account_id is not None else None) for job in found]


async def _public_ids(
    conn: Connection, desk: Desk, tenant: TenantId, found: Sequence[Job]
) -> Mapping[AccountId, UUID]:
    numbers = {job.account_id for job in found if job.account_id is not None}
    return await desk.public_ids(conn, tenant, list(numbers)) if numbers else {}
