"""Connections that are kept: which answer belongs to which request, and when they end."""

import asyncio
from datetime import timedelta

import pytest
from webhooks.receiving import BROKEN, OK, Message, receiving

from postroom.net.egress import Egress
from postroom.net.kept import open_kept

ANYWHERE = Egress(private_allowed=True)


@pytest.mark.parametrize("is_read", [True, False])
async def test_a_second_answer_is_not_taken_for_that_to_the_next_request(is_read: bool) -> None:
    """As of a receiver that answers before it has read, and once more when it has."""
    writers: list[asyncio.StreamWriter] = []

    async def answer(_message: Message, writer: asyncio.StreamWriter) -> bytes:
        writers.append(writer)
        return OK if len(writers) == 1 else BROKEN

    async with (
        asyncio.timeout(10),
        receiving(answer) as receiver,
        receiving() as other,
        open_kept(receiver.url, ANYWHERE, at_once=1) as line,
        open_kept(other.url, ANYWHERE, at_once=1) as beside,
    ):
        first = await line.post(b"{}", {"webhook-id": "1"})
        writers[0].write(OK)
        if is_read:
            await beside.post(b"{}", {"webhook-id": "x"})  # by then the event loop has it
        second = await line.post(b"{}", {"webhook-id": "2"})
    assert (first.status, second.status, receiver.connections) == (204, 500, 2)


@pytest.mark.parametrize("second", [OK, BROKEN, b"HTTP/1.1 200 OK\r\nContent-Le", b"\r\n"])
async def test_a_connection_that_has_said_more_than_was_asked_serves_no_further_request(
    second: bytes,
) -> None:
    """In one segment with the answer, whose request has been taken by then."""
    async with (
        asyncio.timeout(10),
        receiving(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nme" + second) as receiver,
        open_kept(receiver.url, ANYWHERE, at_once=1) as line,
    ):
        answers = [await line.post(b"{}", {"webhook-id": str(n)}) for n in range(3)]
    assert [(answer.status, answer.body) for answer in answers] == [(200, b"me")] * 3
    assert [message.id for message in receiver.got] == ["0", "1", "2"]
    assert receiver.connections == 3


async def test_a_body_where_there_should_be_none_costs_no_request() -> None:
    body = b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nOK"
    async with (
        asyncio.timeout(10),
        receiving(body) as receiver,
        open_kept(receiver.url, ANYWHERE, at_once=1) as line,
    ):
        statuses = [(await line.post(b"{}", {"webhook-id": str(n)})).status for n in range(3)]
    assert (statuses, len(receiver.got)) == ([204, 204, 204], 3)


async def test_a_connection_that_has_rested_is_closed_though_nobody_posts_again() -> None:
    tenth = timedelta(seconds=0.1)
    async with (
        asyncio.timeout(10),
        receiving() as receiver,
        open_kept(receiver.url, ANYWHERE, at_once=1, limit=tenth, rest=0.1) as line,
    ):
        await line.post(b"{}", {"webhook-id": "1"})
        [serving] = receiver.open.values()
        assert serving is not None
        await asyncio.wait([serving])
        assert receiver.open == {}
