"""The proxy breaks a connection exactly where it was told to, and is no hindrance otherwise."""

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator

import pytest
from histories.proxy import Break, Plan, Proxy, proxy

SAID = bytes(range(256)) * 20


@pytest.fixture
async def line() -> AsyncIterator[Proxy]:
    """Before a server that says 5,120 bytes and closes."""

    async def say(_reader: StreamReader, writer: StreamWriter) -> None:
        writer.write(SAID)
        await writer.drain()
        writer.close()

    listener = await asyncio.start_server(say, "127.0.0.1")
    async with proxy("127.0.0.1", listener.sockets[0].getsockname()[1]) as standing:
        yield standing
    listener.close()
    await listener.wait_closed()


async def heard(line: Proxy) -> tuple[bytes, type[Exception] | None]:
    """What a client gets, and how it ends."""
    reader, writer = await asyncio.open_connection(line.host, line.port)
    got, error = b"", None
    try:
        while piece := await reader.read(100):
            got += piece
    except ConnectionError as reason:
        error = type(reason)
    writer.close()
    return got, error


async def test_everything_gets_through(line: Proxy) -> None:
    assert await heard(line) == (SAID, None)
    assert (line.said, line.broken) == (len(SAID), 0)


@pytest.mark.parametrize("at", [0, 1, 99, 4999])
async def test_an_end_comes_before_its_byte(line: Proxy, at: int) -> None:
    line.plan = Plan(Break.CLOSE, at)

    assert await heard(line) == (SAID[:at], None)
    assert line.broken == 1
    assert await heard(line) == (SAID, None)


@pytest.mark.parametrize("how", [Break.RESET, Break.STALL])
async def test_a_reset_is_seen_as_one(line: Proxy, how: Break) -> None:
    line.plan = Plan(how, 3000, 0.01)

    got, error = await heard(line)

    assert (SAID.startswith(got), len(got) <= 3000, error) == (True, True, ConnectionResetError)


async def test_a_pause_loses_nothing(line: Proxy) -> None:
    line.plan = Plan(Break.PAUSE, 3000, 0.01)

    assert await heard(line) == (SAID, None)
    assert line.broken == 1
