"""The two ways in which requests go out: with httpx2's client that waits, and with the one that is awaited.

What a client says (`conversation`) is written once, as coroutines. Those of a `Client` never wait for
anything but what blocks, so they run to their end at the first push.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Coroutine, Generator
from typing import Any, Protocol, TypeVar

import httpx2

T = TypeVar("T")


class Wire(Protocol):
    """What a conversation needs. Raises httpx2.TransportError."""

    async def send(self, request: httpx2.Request) -> httpx2.Response:
        """The beginning of an answer; whoever asked reads or closes it."""

    async def read(self, response: httpx2.Response) -> None: ...

    async def close(self, response: httpx2.Response) -> None: ...

    def pieces(self, response: httpx2.Response) -> AsyncGenerator[bytes]: ...

    def events(self, response: httpx2.Response) -> AsyncGenerator[httpx2.ServerSentEvent]: ...

    async def wait(self, seconds: float) -> None: ...


class BlockingWire:
    """Whatever is awaited here has happened already."""

    def __init__(self, http: httpx2.Client) -> None:
        self.http = http

    async def send(self, request: httpx2.Request) -> httpx2.Response:
        return self.http.send(request, stream=True)

    async def read(self, response: httpx2.Response) -> None:
        response.read()

    async def close(self, response: httpx2.Response) -> None:
        response.close()

    async def pieces(self, response: httpx2.Response) -> AsyncGenerator[bytes]:
        for piece in response.iter_bytes():
            yield piece

    async def events(self, response: httpx2.Response) -> AsyncGenerator[httpx2.ServerSentEvent]:
        for event in httpx2.EventSource(response):
            yield event

    async def wait(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251  # nobody else runs here


class WaitingWire:
    def __init__(self, http: httpx2.AsyncClient) -> None:
        self.http = http

    async def send(self, request: httpx2.Request) -> httpx2.Response:
        return await self.http.send(request, stream=True)

    async def read(self, response: httpx2.Response) -> None:
        await response.aread()

    async def close(self, response: httpx2.Response) -> None:
        await response.aclose()

    async def pieces(self, response: httpx2.Response) -> AsyncGenerator[bytes]:
        async for piece in response.aiter_bytes():
            yield piece

    async def events(self, response: httpx2.Response) -> AsyncGenerator[httpx2.ServerSentEvent]:
        async for event in httpx2.EventSource(response):
            yield event

    async def wait(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def run(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that waits for nothing."""
    try:
        work.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    raise RuntimeError("something waits that should have blocked")


def each(work: AsyncGenerator[T]) -> Generator[T, None, None]:
    """What an asynchronous generator that waits for nothing gives."""
    try:
        while True:
            try:
                yield run(work.__anext__())
            except StopAsyncIteration:
                return
    finally:
        run(work.aclose())
