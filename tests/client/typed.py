"""What the types of both clients must be. Never run: `make lint` reads it, as mypy would a user's program."""

from typing import assert_type
from uuid import UUID

from postroom.client import UNSET, AsyncClient, Client
from postroom.client.model import (
    Account,
    Content,
    Hit,
    Job,
    JobEvent,
    JobStatus,
    Message,
    MessagePage,
    News,
    SparseMessage,
)


def waits(client: Client, id: UUID) -> None:
    assert_type(client.get_account(id), Account)
    assert_type(client.change_account(id, daily_bytes=None, paused=UNSET), Account)
    assert_type(client.remove_account(id), Job | None)
    assert_type(client.list_messages(read=False, page_size=2), MessagePage)
    assert_type([each for each in client.list_messages.each(starred=True)], list[Message])
    assert_type([each for each in client.search.each("invoice")], list[Hit])
    assert_type(client.list_sparse_messages(fields=["id"]).items[0], SparseMessage)
    assert_type(client.get_attachment(id, 1, first=10), Content)
    assert_type(next(client.get_raw_message.pieces(id)), bytes)
    assert_type(next(client.follow_job(id)), JobEvent | JobStatus)
    assert_type(next(client.follow_events(types=["mail.added"])), News)
    client.get_account("an id")  # type: ignore[arg-type]
    client.list_messages(unread=True)  # type: ignore[call-arg]
    client.connect_account(password="x")  # type: ignore[call-arg]


async def is_awaited(client: AsyncClient, id: UUID) -> None:
    assert_type(await client.get_account(id), Account)
    assert_type(await client.list_messages(read=False), MessagePage)
    assert_type([each async for each in client.list_messages.each()], list[Message])
    assert_type(await client.get_attachment(id, 1), Content)
    assert_type(await anext(client.get_raw_message.pieces(id)), bytes)
    assert_type(await anext(client.follow_events()), News)
    client.search(7)  # type: ignore[arg-type, unused-coroutine]
