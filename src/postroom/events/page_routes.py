"""/v1/events: what happened, a page at a time."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from postroom.http.answers import Ready
from postroom.http.caller import Caller
from postroom.http.deps import AdminOfAll, AtDoor, Door, Reader, StillReader, UnknownKey
from postroom.http.limits import allow
from postroom.http.pieces import streamed
from postroom.ids import TenantId

from . import consumers, feed
from . import pages as reading
from .answers import out
from .consumer_routes import NAME
from .export import Exported, pieces
from .feed import State
from .follow import Heard
from .model import BadCursor, stream_of
from .pages import Page, Question
from .routes import BEGINNING, AtDesk, Desk, OfAccount, OfFolder, OfTypes, place_of, words
from .wanted import Types, Wanted

router = APIRouter(prefix="/v1/events", tags=["events"])

JSON_LINES = "application/jsonl"
LARGEST_PAGE = 1000
LONGEST_WAIT = 30


class EventOut(BaseModel):
    """An event of the log. It holds ids and facts, never addresses, subjects or content."""

    cursor: str = Field(description="Stands behind this event.")
    account: UUID | None = Field(description="Null where it is none's, and for an account that was removed.")
    stream: int = Field(description="That of the account; 0 for what is none's.")
    seq: int = Field(description="Its number in the stream, without a gap.")
    at: datetime = Field(description="When it was logged.")
    kind: str
    data: dict[str, Any] = Field(description="What happened; `v` is the version of this kind's fields.")


class EventPageOut(BaseModel):
    entries: list[EventOut]
    after: str = Field(description="The cursor behind which this page begins.")
    next: str = Field(description="The cursor behind all that was read, wanted or not: the next `after`.")
    has_more: bool = Field(description="There may be more already: ask again at once.")
    epoch: str = Field(description="Another one than before: the database may have gone back to a backup.")
    removed_until: datetime | None = Field(
        description="What was logged up to then was removed, as it was older than the log is kept."
    )


@router.get("", response_model=EventPageOut)
async def list_events(
    request: Request,
    caller: Reader,
    is_welcome: StillReader,
    door: AtDoor,
    desk: AtDesk,
    after: Annotated[
        str | None,
        Query(max_length=200, description="Events behind this cursor; `start`: all; `end`: from now on."),
    ] = None,
    consumer: Annotated[
        str | None, Query(pattern=NAME, description="Events behind where it stands; not with `after`.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=LARGEST_PAGE)] = 100,
    types: OfTypes = None,
    account: OfAccount = None,
    folder: OfFolder = None,
    wait: Annotated[
        float, Query(ge=0, le=LONGEST_WAIT, description="Seconds to wait for an event, where there is none.")
    ] = 0,
) -> Response:
    """What happened, in the order of the log, behind a cursor.

    Who keeps `next` together with what they made of the entries, and comes again with it as `after`, misses
    nothing and gets nothing twice; a `consumer` keeps it here. With `wait` the answer comes as soon as
    something fits, and else, without entries, at the end of that time.
    """
    wanted = Wanted(_types(desk, types), None, folder)
    if consumer is not None:
        caller.require_all_accounts()
        if after is not None:
            raise BadCursor("Ask with `after` or with `consumer`, not with both.")
    asked, state = await _asked(
        door, desk, caller, wanted, account, _From(after or BEGINNING, consumer), limit
    )
    page = await reading.read(desk.following, asked)
    if wait and not page.entries and not page.has_more:
        allow(request, timedelta(seconds=wait))
        page = await _waited(door, desk, is_welcome, replace(asked, after=page.next, place=page.top), wait)
    return Ready(
        {
            "entries": _told(page.entries),
            "after": asked.after,
            "next": page.next,
            "has_more": page.has_more,
            "epoch": state.epoch,
            "removed_until": state.removed_until,
        }
    )


@dataclass(frozen=True, slots=True)
class _From:
    """Where a page begins: where a consumer stands, if there is one."""

    after: str
    consumer: str | None


@router.get(
    "/export",
    response_class=Response,
    responses={200: {"description": "Lines of JSON.", "content": {JSON_LINES: {}}}},
)
async def export_events(caller: AdminOfAll, door: AtDoor, desk: AtDesk) -> Response:
    """The whole log as it is at this moment, with its seals: the file that `check.py` checks anywhere.

    Whoever takes nothing of it for a minute gets no more. A whole file ends with a line `end`.
    """
    headers = {"Content-Disposition": 'attachment; filename="events.jsonl"'}
    return await streamed(_exported(door, desk, caller.tenant), JSON_LINES, headers)


async def _exported(door: Door, desk: Desk, tenant: TenantId) -> AsyncGenerator[bytes, None]:
    """Over a connection of its own, which nobody waits for."""
    with desk.exports.one(tenant):
        async with door.database.reserved(1) as own, aclosing(pieces(own, tenant, Exported())) as found:
            async for piece in found:
                yield piece


def _types(desk: Desk, types: str | None) -> Types | None:
    named = words(types)
    return None if named is None else Types.read(named, desk.other_types)


async def _asked(
    door: Door, desk: Desk, caller: Caller, wanted: Wanted, account: UUID | None, begins: _From, limit: int
) -> tuple[Question, State]:
    """With the state of the log. Raises what `place_of` does, `NoSuchConsumer`, and what accounts raise."""
    async with door.data_of(caller).transaction(caller.tenant) as conn:
        if account is not None:
            found = await desk.account(conn, caller.tenant, account)
            wanted = replace(wanted, stream=stream_of(found))
        after = begins.after
        if begins.consumer is not None:
            after = (await consumers.get(conn, caller.tenant, begins.consumer)).cursor
        place, cursor = await place_of(conn, caller, after, wanted.stream)
        state = await feed.state(conn, caller.tenant)
    return Question(caller.tenant, caller.accounts, wanted, cursor, place, limit), state


async def _waited(
    door: Door, desk: Desk, is_welcome: Callable[[], Awaitable[bool]], asked: Question, seconds: float
) -> Page:
    """Raises `TooManyStreams`, for one who waits is one who follows; and `UnknownKey`."""
    with door.streams.entered(asked.tenant) as waits:
        page = await reading.wait(desk.following, asked, waits, seconds)
    if not await is_welcome():
        raise UnknownKey("This key was revoked, or changed, meanwhile.")
    return page


def _told(entries: Sequence[Heard]) -> list[dict[str, Any]]:
    return [out(heard.entry, heard.account) for heard in entries]
