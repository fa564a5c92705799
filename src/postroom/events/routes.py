"""/v1/events: what happens, live, as server-sent events and over a WebSocket."""

from asyncio import Event
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeVar
from uuid import UUID

from fastapi import APIRouter, Depends, Header, HTTPException, Query, Request, Response, WebSocket
from pydantic import BaseModel, Field, ValidationError

from postroom.db.pool import Connection
from postroom.http.caller import Caller
from postroom.http.deps import AtDoor, Door, Reader, StillReader
from postroom.http.sse import EventStream
from postroom.http.streams import Source
from postroom.http.ws import BadMessage, converse
from postroom.ids import AccountId, TenantId

from . import feed
from .export import Exports
from .follow import Following
from .model import Place, Stream, stream_of
from .telling import SSE, WS, Aside, Form, Told
from .wanted import Types, Wanted

router = APIRouter(prefix="/v1/events", tags=["events"])

T = TypeVar("T", str, bytes)

BEGINNING, END = "start", "end"
EVENTS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Server-sent events, for ever.",
        "content": {"text/event-stream": {}},
    }
}


@dataclass(frozen=True, slots=True)
class Desk:
    """What the application lends to these routes: live news, of the log and beside it; and accounts."""

    following: Following
    aside: Callable[[TenantId, Collection[AccountId] | None, Event], Aside]
    other_types: frozenset[str]  # of the news beside the log
    account: Callable[[Connection, TenantId, UUID], Awaitable[AccountId]]  # raises a `NotFound`
    exports: Exports = field(default_factory=Exports)


async def _desk(request: Request) -> Desk:
    desk: Desk = request.app.state.events
    return desk


AtDesk = Annotated[Desk, Depends(_desk)]

OfTypes = Annotated[
    str | None,
    Query(max_length=2000, description="Kinds of events, with commas: `mail.added,accounts.*`, `sync`."),
]
OfAccount = Annotated[UUID | None, Query(description="Only what happens to this account.")]
OfFolder = Annotated[UUID | None, Query(description="Without events that name other folders only.")]


class Resume(BaseModel, extra="forbid"):
    """The first message of a client."""

    type: Literal["resume"]
    after: Annotated[str | None, Field(max_length=200)] = None
    types: Annotated[list[str] | None, Field(max_length=100)] = None
    account: UUID | None = None
    folder: UUID | None = None


@router.get("/stream", response_class=Response, responses=EVENTS)
async def follow_events(
    caller: Reader,
    is_welcome: StillReader,
    door: AtDoor,
    desk: AtDesk,
    types: OfTypes = None,
    account: OfAccount = None,
    folder: OfFolder = None,
    after: Annotated[
        str | None,
        Query(max_length=200, description="Events behind this cursor; `start`: all; `end`: from now on."),
    ] = None,
    last_event_id: Annotated[
        str | None, Header(max_length=200, description="A cursor; goes before `after`.")
    ] = None,
) -> Response:
    """What happens, in the order of the log: what came behind a cursor, and then live, for ever.

    First `ready`, with the cursor behind which it begins, and the epoch. Each event of the log under its
    kind, with its cursor as id; `sync_started` and `sync`, how the syncs of accounts go, without one;
    `heartbeat`. A client that was cut off comes again with the last id that it saw, and misses no event of
    the log.
    """
    asked = _Asked(last_event_id or after, words(types), account, folder)
    told = await _told(door, desk, caller, asked, SSE)
    return EventStream(
        told, streams=door.streams, tenant=caller.tenant, is_welcome=is_welcome, beat=told.beat
    )


@router.get(
    "/ws",
    status_code=101,
    response_class=Response,
    response_description="From now on a WebSocket is spoken.",
)
async def open_event_socket(_: Reader) -> Response:
    """The same over a WebSocket (RFC 6455), begun by a `Resume` of the client, the only thing that it says.

    Where the handshake shows no key, as from a browser, the first message has it. Each message of the server
    is an object whose `type` says what it is: `x-messages` has them. It ends with an `error`, a problem,
    where there is one. It is closed with 1001 when the server stops, with 1008 when the client did what it
    must not, with 1013 when it may come again a little later.
    """
    raise HTTPException(426, headers={"Upgrade": "websocket", "Connection": "Upgrade"})


@router.websocket("/ws")
async def event_socket(socket: WebSocket) -> None:
    """The same over a WebSocket. It begins with a `Resume` of the client."""
    door: Door = socket.app.state.door
    desk: Desk = socket.app.state.events

    async def begin(caller: Caller, first: Mapping[str, Any]) -> tuple[Source[str], Callable[[], str]]:
        try:
            wish = Resume.model_validate(first)
        except ValidationError as error:
            complaint = error.errors(include_url=False, include_input=False, include_context=False)[0]
            where = ".".join(map(str, complaint["loc"]))
            raise BadMessage(f"The first message makes no sense: {where}: {complaint['msg']}.") from None
        asked = _Asked(wish.after, wish.types, wish.account, wish.folder)
        told = await _told(door, desk, caller, asked, WS)
        return told, told.beat

    await converse(socket, door, begin)


@dataclass(frozen=True, slots=True)
class _Asked:
    after: str | None
    types: list[str] | None
    account: UUID | None
    folder: UUID | None


async def _told(door: Door, desk: Desk, caller: Caller, asked: _Asked, form: Form[T]) -> Told[T]:
    """Raises `BadCursor`, `PlaceLost`, `PlaceRemoved`, `NoSuchType`, and what accounts raise."""
    tenant = caller.tenant
    types = None if asked.types is None else Types.read(asked.types, desk.other_types)
    async with door.data_of(caller).transaction(tenant) as conn:
        account = await desk.account(conn, tenant, asked.account) if asked.account else None
        stream = None if account is None else stream_of(account)
        place, cursor = await place_of(conn, caller, asked.after, stream)
        state = await feed.state(conn, tenant)
    wanted = Wanted(types, stream, asked.folder)
    follower = desk.following.follower(tenant, caller.accounts, wanted, place)
    accounts = caller.accounts if account is None else {account}
    begins = {"cursor": cursor, "epoch": state.epoch, "removed_until": state.removed_until}
    return Told(follower, begins, desk.aside(tenant, accounts, follower.wake), types, form)


def words(types: str | None) -> list[str] | None:
    """What a parameter names with commas."""
    return None if types is None else [word.strip() for word in types.split(",")]


async def place_of(
    conn: Connection, caller: Caller, after: str | None, stream: Stream | None = None
) -> tuple[Place, str]:
    """Where `after` stands, and its cursor. Raises `BadCursor`, `PlaceLost` and `PlaceRemoved`."""
    tenant = caller.tenant
    if after == BEGINNING:
        return feed.START, feed.BEGINNING
    if after is not None and after != END:
        is_limited = caller.accounts is not None
        return await feed.place(conn, tenant, after, stream, is_limited=is_limited), after
    if caller.accounts is None:
        return await feed.end_with_cursor(conn, tenant)
    return await feed.end_of_some(conn, tenant, [stream_of(account) for account in caller.accounts])
