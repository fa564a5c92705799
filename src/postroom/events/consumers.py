"""Readers of the log who let the server keep how far they have come.

    GET /v1/events?consumer=tickets     what comes behind its cursor, C
    ... it makes something of it ...
    PUT {cursor: next, if_cursor: C}    moves on only from where this page began

Two workers of one name read the same page; of both, one moves it on, and the other hears that it was moved.
"""

from dataclasses import dataclass
from datetime import datetime

from postroom.db.pool import Connection
from postroom.ids import TenantId

from . import feed
from .model import Consumer, ConsumerMoved, NoSuchConsumer, PlaceLost, PlaceRemoved, TooManyConsumers
from .store import consumers as store

MOST = 100
"""Consumers of one tenant."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a consumer is behind."""

    consumer: Consumer
    unread_since: datetime | None  # when the first that it has not read was logged
    problem: str | None  # the code of what is wrong with its cursor


async def put(
    conn: Connection, tenant: TenantId, name: str, cursor: str, before: str | None = None
) -> Consumer:
    """Let a consumer stand behind a cursor, which is one of the log; with `before` only if it stands there.

    Without one of that name it stands at the beginning. Raises `ConsumerMoved` and `TooManyConsumers`.
    """
    if before is None:
        found: Consumer | None = await store.put(conn, tenant, name, cursor)
    elif before == feed.BEGINNING:
        found = await store.begin(conn, tenant, name, cursor, before)
    else:
        found = await store.move(conn, tenant, name, cursor, before)
    if found is None:
        now = await store.find(conn, tenant, name)
        raise ConsumerMoved(
            "The consumer does not stand there: another worker has moved it. Read on from where it is.",
            cursor=now.cursor if now else feed.BEGINNING,
        )
    is_new = found.created_at == found.moved_at
    if is_new and len(await store.every(conn, tenant)) > MOST:
        raise TooManyConsumers(f"There are {MOST} consumers already; remove those that nobody uses.")
    return found


async def get(conn: Connection, tenant: TenantId, name: str) -> Consumer:
    """Raises `NoSuchConsumer`."""
    found = await store.find(conn, tenant, name)
    if found is None:
        raise NoSuchConsumer("There is no such consumer; PUT one first.")
    return found


async def remove(conn: Connection, tenant: TenantId, name: str) -> None:
    """Raises `NoSuchConsumer`."""
    if not await store.remove(conn, tenant, name):
        raise NoSuchConsumer("There is no such consumer.")


async def standing(conn: Connection, tenant: TenantId, consumer: Consumer) -> Standing:
    try:
        place = await feed.place(conn, tenant, consumer.cursor)
    except (PlaceLost, PlaceRemoved) as error:
        return Standing(consumer, None, error.code)
    unread = await feed.read(conn, tenant, place, limit=1)
    return Standing(consumer, unread[0].at if unread else None, None)
