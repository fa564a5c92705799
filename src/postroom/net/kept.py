"""A place that is posted to again and again: its connections are kept between requests.

The same way out as `client`: each connection goes to an address that was checked. One that has died at rest,
or said there what nobody asked for, is replaced, and a request that it took along is sent once more, so this
is for what may arrive twice. A redirect is an answer as any other.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

import httpcore2
import httpx2

from postroom.net import tls
from postroom.net.client import OURS, UNUSED, Answer, Guarded, checked, mapped, translated
from postroom.net.egress import Egress
from postroom.net.model import BadAnswer, Dropped, TooSlow

REST = 30.0  # seconds that a connection is kept without a request
LIMIT = timedelta(seconds=10)  # for all of a request
MOST = 1024  # bytes of an answer that are kept
HEADERS = {name: value for name, value in OURS.items() if name != "Connection"}


class Kept:
    """Made by `open_kept`. At most so many requests run at once; further ones wait."""

    def __init__(self, url: str, pool: httpcore2.AsyncConnectionPool, limit: timedelta, most: int) -> None:
        target = checked(url)
        self._host, self._pool, self._limit, self._most = target.host, pool, limit, most
        self._url = httpcore2.URL(
            scheme=target.raw_scheme, host=target.raw_host, port=target.port, target=target.raw_path
        )
        self._headers = [(b"Host", target.netloc), *((k.encode(), v.encode()) for k, v in HEADERS.items())]

    async def post(self, content: bytes, headers: Mapping[str, str]) -> Answer:
        """What was answered; of a longer body its beginning, and what does not come in time is left out.

        Raises what `Client.send` raises, but never for the body alone: the status has been told by then.
        """
        try:
            return await self._post(content, headers)
        except (Dropped, BadAnswer):  # perhaps it had died at rest, or had more of an answer before
            return await self._post(content, headers)

    async def _post(self, content: bytes, headers: Mapping[str, str]) -> Answer:
        given = [(k.encode(), v.encode()) for k, v in headers.items()]
        length = (b"Content-Length", b"%d" % len(content))
        request = httpcore2.Request(
            "POST", self._url, headers=[*self._headers, length, *given], content=content
        )
        ends = asyncio.get_running_loop().time() + self._limit.total_seconds()
        try:
            async with asyncio.timeout_at(ends):
                with translated(self._host), mapped():
                    response = await self._pool.handle_async_request(request)
        except TimeoutError as error:
            raise TooSlow(
                f"{self._host} did not answer within {self._limit.total_seconds():g} seconds.",
                host=self._host,
            ) from error
        told = httpx2.Headers(response.headers)
        try:
            return Answer(response.status, told, await self._beginning(response, ends))
        finally:
            if _has_said_more(response):
                await response.extensions["network_stream"].aclose()
            await response.aclose()

    async def _beginning(self, response: httpcore2.Response, ends: float) -> bytes:
        found = bytearray()
        with suppress(TimeoutError, httpcore2.ProtocolError, httpcore2.NetworkError, OSError):
            async with asyncio.timeout_at(ends):
                async for piece in response.aiter_stream():
                    found += piece
                    if len(found) > self._most:
                        break
        return bytes(found[: self._most])


def _has_said_more(response: httpcore2.Response) -> bool:
    """Whether more has come than the answer: it would be taken for that to the next request."""
    connection = response.stream._stream._connection  # type: ignore[union-attr]  # nothing public tells
    return bool(connection._h11_state.trailing_data[0])


@asynccontextmanager
async def open_kept(
    url: str,
    allowed: Egress,
    *,
    at_once: int,
    limit: timedelta = LIMIT,
    most: int = MOST,
    rest: float = REST,
) -> AsyncIterator[Kept]:
    """Connections to this URL for as long as the block runs. Raises `BadUrl`."""
    async with httpcore2.AsyncConnectionPool(
        ssl_context=UNUSED,
        network_backend=Guarded(allowed, tls.client_context(), max(rest, limit.total_seconds())),
        max_connections=at_once,
        keepalive_expiry=rest,
    ) as pool:
        yield Kept(url, pool, limit, most)
