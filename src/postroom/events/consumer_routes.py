"""/v1/events/consumers: how far readers have come, kept for them."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Response
from pydantic import BaseModel, Field

from postroom.db.pool import Connection
from postroom.http.asked import Body
from postroom.http.deps import ReaderOfAll, Tx
from postroom.ids import TenantId

from . import consumers, feed
from .model import BadCursor, Consumer, PlaceRemoved
from .routes import BEGINNING, END, place_of
from .store import consumers as store

router = APIRouter(prefix="/v1/events/consumers", tags=["events"])

NAME = r"^[a-z0-9][a-z0-9._-]{0,63}$"

Name = Annotated[str, Path(pattern=NAME, description="Small letters, digits, `.`, `_` and `-`.")]
Cursor = Annotated[str, Field(max_length=200)]


class ConsumerOut(BaseModel):
    name: str
    cursor: str = Field(description="It reads on behind this one.")
    created_at: datetime
    moved_at: datetime = Field(description="When it was put here.")
    unread_since: datetime | None = Field(
        description="When the first event that it has not read was logged. Null: it has read all."
    )
    problem: str | None = Field(description="The code of what is wrong with its cursor, if something is.")


class ConsumersOut(BaseModel):
    consumers: list[ConsumerOut]


class ConsumerIn(Body):
    cursor: Cursor = Field(description="`next` of the page that was handled; or `start`, or `end`.")
    if_cursor: Cursor | None = Field(
        None,
        description="Only if it stands here: `after` of that page; `start`: also if there is none yet. "
        "`end` is no place to stand at: it moves.",
    )


@router.get("")
async def list_consumers(caller: ReaderOfAll, conn: Tx) -> ConsumersOut:
    """All of them by name, and how far each is behind."""
    found = await store.every(conn, caller.tenant)
    return ConsumersOut(consumers=[await _out(conn, caller.tenant, one) for one in found])


@router.get("/{name}")
async def get_consumer(caller: ReaderOfAll, conn: Tx, name: Name) -> ConsumerOut:
    """Where it stands, and how far it is behind."""
    return await _out(conn, caller.tenant, await consumers.get(conn, caller.tenant, name))


@router.put("/{name}")
async def put_consumer(caller: ReaderOfAll, conn: Tx, name: Name, wanted: ConsumerIn) -> ConsumerOut:
    """Let it stand behind a cursor; made where there is none. With `if_cursor` only one of two workers does.

    Without it a consumer can be moved anywhere, also back, to read again what it has read.
    """
    try:
        _, cursor = await place_of(conn, caller, wanted.cursor)
    except PlaceRemoved:  # who reads one account may miss nothing by it: a page says
        cursor = wanted.cursor
    found = await consumers.put(conn, caller.tenant, name, cursor, _before(wanted.if_cursor))
    return await _out(conn, caller.tenant, found)


@router.delete("/{name}", status_code=204)
async def remove_consumer(caller: ReaderOfAll, conn: Tx, name: Name) -> Response:
    """Forget how far it has come."""
    await consumers.remove(conn, caller.tenant, name)
    return Response(status_code=204)


def _before(cursor: str | None) -> str | None:
    """Raises `BadCursor`."""
    if cursor == BEGINNING:
        return feed.BEGINNING
    if cursor == END:
        raise BadCursor("`if_cursor` names a place: `after` of the page that was handled. The end moves.")
    if cursor is not None:
        feed.require_cursor(cursor)
    return cursor


async def _out(conn: Connection, tenant: TenantId, consumer: Consumer) -> ConsumerOut:
    found = await consumers.standing(conn, tenant, consumer)
    return ConsumerOut(
        name=consumer.name,
        cursor=consumer.cursor,
        created_at=consumer.created_at,
        moved_at=consumer.moved_at,
        unread_since=found.unread_since,
        problem=found.problem,
    )
