"""Connections to the server, and how long it waits on them."""

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from fastapi import FastAPI
from servers.live import on_a_port
from websockets.asyncio.client import connect

from postroom.cli import serving
from postroom.db.beside import beside

IDLE = 0.3
Ask = Callable[[StreamReader, StreamWriter], Coroutine[Any, Any, None]]


@pytest.fixture
async def url(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    monkeypatch.setattr(serving, "IDLE_SECONDS", IDLE)
    async with on_a_port(app) as url:
        yield url


def connected(url: str) -> AbstractAsyncContextManager[tuple[StreamReader, StreamWriter]]:
    @asynccontextmanager
    async def opened() -> AsyncIterator[tuple[StreamReader, StreamWriter]]:
        reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(url).port)
        yield reader, writer
        writer.close()

    return opened()


async def nothing(_: StreamReader, __: StreamWriter) -> None: ...


async def half(_: StreamReader, writer: StreamWriter) -> None:
    writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\n")


async def bit_by_bit(_: StreamReader, writer: StreamWriter) -> None:
    writer.write(b"GET /health HTTP/1.1\r\n")
    for number in range(10_000):
        writer.write(f"X-{number}: x\r\n".encode())
        await asyncio.sleep(IDLE / 10)


async def one_and_a_half(reader: StreamReader, writer: StreamWriter) -> None:
    await ask(reader, writer)
    await half(reader, writer)


async def ask(reader: StreamReader, writer: StreamWriter) -> None:
    writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await reader.readuntil(b"\r\n")).split()[1] == b"200"
    await reader.readuntil(b"}")


async def left(reader: StreamReader) -> bool:
    """Whether nothing came but the end."""
    try:
        return await reader.read() == b""
    except ConnectionError:  # it was closed upon what was still sent
        return True


@pytest.mark.parametrize("asking", [nothing, half, bit_by_bit, one_and_a_half])
async def test_who_never_ends_a_question_is_left(url: str, asking: Ask) -> None:
    async with asyncio.timeout(20), connected(url) as (reader, writer):
        if asking is one_and_a_half:
            await asking(reader, writer)
            assert await left(reader)
        else:
            async with beside(asking(reader, writer)):
                assert await left(reader)


async def test_who_asks_again_and_again_is_not(url: str) -> None:
    async with asyncio.timeout(20), connected(url) as (reader, writer):
        until = asyncio.get_running_loop().time() + 3 * IDLE
        while asyncio.get_running_loop().time() < until:
            await ask(reader, writer)
            await asyncio.sleep(IDLE / 10)


async def test_a_websocket_may_be_silent_for_longer(url: str) -> None:
    where = f"{url.replace('http', 'ws')}/v1/events/ws"
    async with asyncio.timeout(20), connect(where, proxy=None) as socket:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(socket.recv(), 3 * IDLE)


async def test_after_a_head_the_next_question_is_answered(url: str) -> None:
    async with asyncio.timeout(20), connected(url) as (reader, writer):
        for path in (b"/health", b"/docs/swagger-ui-bundle.js", b"/health"):
            writer.write(b"HEAD %b HTTP/1.1\r\nHost: x\r\n\r\n" % path)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            assert head.startswith(b"http/1.1 200")
            assert b"content-length: 0" not in head
            assert b"content-length: " in head
        await ask(reader, writer)
