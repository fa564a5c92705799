"""The HTTP client: every request that leaves this installation.

    url ──> checked ──> egress.connect ──> TLS (net/tls) ──> request ──> answer, bounded in bytes and time
              ↑                                                             │
              └──────────── a redirect, if any may be followed ─────────────┘

The socket goes to an address that was checked, at every hop anew. One connection serves one request: none
is found dead, so nobody has to guess whether a request that failed was carried out; `kept` is for who need
not care. Nothing is read from the environment, no cookies are kept, and nothing is unpacked: what comes
compressed, unasked, is no answer.
"""

import asyncio
import re
import select
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpcore2
import httpx2

from postroom import __version__
from postroom.net import egress, tls
from postroom.net.egress import Egress
from postroom.net.model import BadAnswer, BadUrl, Dropped, TooSlow

MOST = 1 << 20  # bytes of an answer's body
LIMIT = timedelta(seconds=20)  # for all of it, redirects included
LONGEST_URL = 8000  # characters (RFC 9110, 4.1)
REDIRECTS = {301, 302, 303, 307, 308}
SAFE = {"GET", "HEAD"}
OURS = {"Accept-Encoding": "identity", "Connection": "close", "User-Agent": f"postroom/{__version__}"}
CUT_SHORT = re.compile(r"disconnected|peer closed")  # as httpx2 says of a connection that ended too early
LONGEST_WAIT = timedelta(days=366)
UNUSED = ssl.SSLContext(
    ssl.PROTOCOL_TLS_CLIENT
)  # httpcore2 changes what it is given: not the one that all share


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered, whatever its status."""

    status: int
    headers: Mapping[str, str] = field(repr=False)  # names in any case
    body: bytes = field(repr=False)
    at: datetime = field(repr=False, default_factory=lambda: datetime.now(UTC))  # by our clock

    @property
    def retry_after(self) -> timedelta | None:
        """How long the server asks to be left alone (RFC 9110, 10.2.3); None where it does not say."""
        said = self.headers.get("Retry-After", "").strip()
        if said.isascii() and said.isdigit():
            return min(timedelta(seconds=int(said[:9])), LONGEST_WAIT)
        try:
            until = parsedate_to_datetime(said)
        except (ValueError, OverflowError):  # a year of twenty digits
            return None
        until = until if until.tzinfo else until.replace(tzinfo=UTC)
        return min(max(until - self.at, timedelta()), LONGEST_WAIT)


@dataclass(frozen=True, slots=True)
class Client:
    """Asks HTTP servers, where `allowed` lets it. `ca_file`: as in `tls.client_context`."""

    allowed: Egress
    ca_file: Path | None = None
    most: int = MOST
    limit: timedelta = LIMIT

    async def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        hops: int = 0,
    ) -> Answer:
        """One request. Up to `hops` redirects of a GET or HEAD are followed; else they are answers as others.

        Raises `BadUrl`; what `egress.connect` and `tls.handshake_with` raise, and then nothing was asked;
        `Dropped`, `TooSlow`, `BadAnswer`, where the server may have done what it was asked.
        """
        target, given = checked(url), dict(headers or {})
        try:
            async with asyncio.timeout(self.limit.total_seconds()):
                while True:
                    answer = await self._sent(method, target, given, content)
                    if hops == 0 or method not in SAFE or answer.status not in REDIRECTS:
                        return answer
                    hops -= 1
                    onward = _onward(target, answer)
                    if (onward.scheme, onward.host, onward.port) != (target.scheme, target.host, target.port):
                        given = {}  # they were meant for another server
                    target = onward
        except TimeoutError as error:
            raise TooSlow(
                f"{target.host} did not answer within {self.limit.total_seconds():g} seconds.",
                host=target.host,
            ) from error

    async def _sent(
        self, method: str, url: httpx2.URL, headers: Mapping[str, str], content: bytes | None
    ) -> Answer:
        transport = _Transport(Guarded(self.allowed, tls.client_context(self.ca_file)))
        with translated(url.host):
            async with (
                httpx2.AsyncClient(transport=transport, trust_env=False, timeout=None) as client,
                client.stream(method, url, headers={**headers, **OURS}, content=content) as response,
            ):
                return Answer(response.status_code, response.headers, await self._body(url, response))

    async def _body(self, url: httpx2.URL, response: httpx2.Response) -> bytes:
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise BadAnswer(
                f"{url.host} sends a compressed answer though nobody asked for it.", host=url.host
            )
        pieces: list[bytes] = []
        size = 0
        async for piece in response.aiter_raw():
            size += len(piece)
            if size > self.most:
                raise BadAnswer(f"{url.host} answers with more than {self.most} bytes.", host=url.host)
            pieces.append(piece)
        return b"".join(pieces)


def checked(url: str) -> httpx2.URL:
    """An absolute http(s) URL without user and password. Raises `BadUrl`, which does not repeat it."""
    try:
        if len(url) > LONGEST_URL or any(ord(c) <= 32 or ord(c) == 127 for c in url):
            raise BadUrl("A URL is at most 8000 characters long and has no spaces.")
        parsed = httpx2.URL(url)
        host = parsed.host
    except (httpx2.InvalidURL, UnicodeError, ValueError) as error:
        raise BadUrl("This is not a URL like https://example.org/path.") from error
    if parsed.scheme not in {"http", "https"} or not host:
        raise BadUrl("This is not a URL like https://example.org/path.")
    if parsed.userinfo:
        raise BadUrl("A URL must not hold a user name or a password.")
    return parsed


def _onward(before: httpx2.URL, answer: Answer) -> httpx2.URL:
    try:
        onward = checked(str(before.join(answer.headers.get("Location", ""))))
    except (BadUrl, httpx2.InvalidURL) as error:
        raise BadAnswer(f"{before.host} sends us on to what is no URL.", host=before.host) from error
    if before.scheme == "https" and onward.scheme != "https":
        raise BadAnswer(f"{before.host} sends us on to where nothing is encrypted.", host=before.host)
    return onward


@contextmanager
def translated(host: str) -> Iterator[None]:
    """What a request raises, as one of ours."""
    try:
        yield
    except httpx2.ProtocolError as error:
        if CUT_SHORT.search(str(error)):
            raise Dropped(f"The connection to {host} was lost.", host=host) from error
        raise BadAnswer(f"{host} does not keep to HTTP.", host=host) from error
    except (httpx2.NetworkError, httpx2.StreamError, OSError) as error:
        raise Dropped(f"The connection to {host} was lost.", host=host) from error


class _Transport(httpx2.AsyncBaseTransport):
    """HTTP/1.1 over connections that the egress guard makes."""

    def __init__(self, guarded: "Guarded") -> None:
        self._pool = httpcore2.AsyncConnectionPool(ssl_context=UNUSED, network_backend=guarded)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        url = request.url
        assert isinstance(request.stream, httpx2.AsyncByteStream)
        asked = httpcore2.Request(
            method=request.method,
            url=httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=request.headers.raw,
            content=request.stream,
        )
        with mapped():
            response = await self._pool.handle_async_request(asked)
        return httpx2.Response(response.status, headers=response.headers, stream=_Body(response))

    async def aclose(self) -> None:
        await self._pool.aclose()


class _Body(httpx2.AsyncByteStream):
    def __init__(self, response: httpcore2.Response) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with mapped():
            async for piece in self._response.aiter_stream():
                yield piece

    async def aclose(self) -> None:
        await self._response.aclose()


@contextmanager
def mapped() -> Iterator[None]:
    """What a connection raises, as `httpx2` has it."""
    try:
        yield
    except httpcore2.ProtocolError as error:
        raise httpx2.ProtocolError(str(error)) from error
    except httpcore2.NetworkError as error:
        raise httpx2.NetworkError(str(error)) from error


class Guarded(httpcore2.AsyncNetworkBackend):
    """Connections that the egress guard makes. One on which nothing goes for `rest` seconds ends."""

    def __init__(self, allowed: Egress, context: ssl.SSLContext, rest: float | None = None) -> None:
        self._allowed, self._context, self._rest = allowed, context, rest

    async def connect_tcp(self, host: str, port: int, *_: Any, **__: Any) -> httpcore2.AsyncNetworkStream:
        with ExitStack() as stack:
            sock = stack.enter_context(await egress.connect(host, port, self._allowed))
            reader, writer = await asyncio.open_connection(sock=sock)
            stack.pop_all()
        stream = _Stream(reader, writer, self._context)
        if self._rest is not None:
            stream.end_after(self._rest)
        return stream


class _Stream(httpcore2.AsyncNetworkStream):
    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, context: ssl.SSLContext
    ) -> None:
        self._reader, self._writer, self._context = reader, writer, context
        self._used = asyncio.get_running_loop().time()
        self._timer: asyncio.TimerHandle | None = None

    def end_after(self, rest: float) -> None:
        """Of silence. A pool looks for connections at rest only when it is used itself."""
        loop = asyncio.get_running_loop()
        left = self._used + rest - loop.time()
        if left > 0:
            self._timer = loop.call_later(left, self.end_after, rest)
        else:
            self._writer.transport.abort()

    async def read(self, max_bytes: int, *_: Any, **__: Any) -> bytes:
        self._used = asyncio.get_running_loop().time()
        try:
            return await self._reader.read(max_bytes)
        except OSError as error:
            raise httpcore2.ReadError("lost") from error

    async def write(self, buffer: bytes, *_: Any, **__: Any) -> None:
        self._used = asyncio.get_running_loop().time()
        try:
            self._writer.write(buffer)
            await self._writer.drain()
        except OSError as error:
            raise httpcore2.WriteError("lost") from error

    async def aclose(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._writer.transport.abort()  # its only request is over: nobody waits for goodbyes

    async def start_tls(  # type: ignore[override]  # it is called by name
        self, *, server_hostname: str | None = None, **_: Any
    ) -> httpcore2.AsyncNetworkStream:
        with tls.handshake_with(server_hostname or ""):
            await self._writer.start_tls(self._context, server_hostname=server_hostname)
        return self

    def get_extra_info(self, info: str) -> Any:
        """Whether a connection that rests is at its end, or has said what nobody asked for: a second answer,
        which would be taken for that to the next request. Nothing else: HTTP/2 we do not speak.
        """
        return self._is_over() if info == "is_readable" else None

    def _is_over(self) -> bool:
        ahead = self._reader._buffer  # type: ignore[attr-defined]  # nothing that is public tells
        if ahead or self._reader.at_eof() or self._writer.is_closing():
            return True
        come = select.poll()  # what the event loop has not read yet
        come.register(self._writer.get_extra_info("socket").fileno(), select.POLLIN)
        return bool(come.poll(0))
