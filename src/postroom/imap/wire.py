"""The asyncio protocol under a session: bytes to events, with back-pressure in both directions."""

import asyncio
import ssl
import time
from collections import deque
from typing import cast

from .connection import Connection, Event, State
from .errors import Disconnected
from .meter import Meter
from .tls import Tls

PAUSE_ABOVE = 1 << 20  # bytes whose responses nobody has taken yet
RESUME_BELOW = 1 << 18


class Wire(asyncio.Protocol):
    """Owns the transport. Responses wait in `next` in batches; when too many do, reading pauses."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._transport: asyncio.Transport | None = None
        self._tls: Tls | None = None
        self._batches: deque[tuple[list[Event], int]] = deque()
        self._waiting = 0  # bytes behind those batches
        self.taken = 0  # bytes behind the batches that were taken
        self.meter = Meter()
        self._reading = True
        self._news = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name

    def data_received(self, data: bytes) -> None:
        try:
            clear = self._tls.receive(data) if self._tls else data
        except ssl.SSLError as error:
            self._flush_tls()
            self._break(error)
            return
        self._flush_tls()
        if clear:
            self._deliver(clear)
        self._measure(len(clear))
        if self._tls and self._tls.ended:
            self._connection.end()
        self._news.set()
        self._check_end()

    def eof_received(self) -> bool:
        self._connection.end()
        self._news.set()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None and self._connection.state is not State.ENDED:
            self._connection.fail(Disconnected(f"the connection broke: {exc}"))
        self._connection.end()
        self._writable.set()
        self._news.set()
        self._lost.set()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    async def start_tls(self, context: ssl.SSLContext, server_name: str) -> None:
        """Shake hands, and tell the connection.

        :raises ssl.SSLError: the certificate, or the handshake, is not good.
        """
        self.check()
        self._batches.clear()  # nothing said in the clear is believed from here on
        self._tls = Tls(context, server_name)
        self._tls.shake()
        self._flush_tls()
        while not self._tls.established:
            await self._wait_for_news()
            self.check()
        self._connection.tls_started()

    def flush(self) -> None:
        """Write what the connection has to say, and do not wait."""
        out = self._connection.outgoing()
        if out and self._transport is not None and not self._transport.is_closing():
            if self._tls:
                self._tls.send(out)
                self._flush_tls()
            else:
                self._transport.write(out)

    async def send(self) -> None:
        """Write what the connection has to say; waits while the server does not read."""
        self.flush()
        if not self._writable.is_set():
            await self._writable.wait()

    async def next(self) -> list[Event]:
        """The responses that arrived together, in order.

        :raises ImapError: the connection ended, and everything before its end was taken.
        """
        while not self._batches:
            self.check()
            await self._wait_for_news()
        events, size = self._batches.popleft()
        self._waiting -= size
        self.taken += size
        if not self._reading and self._waiting < RESUME_BELOW and self._transport is not None:
            self._reading = True
            self._transport.resume_reading()
        return events

    def check(self) -> None:
        """:raises ImapError: the connection has ended."""
        if self._connection.state is State.ENDED:
            raise self._connection.failure or Disconnected("the session is over")

    def abort(self) -> None:
        """Close at once, whatever is under way."""
        self._batches.clear()
        if self._transport is not None:
            self._transport.abort()

    async def lost(self) -> None:
        """Until the socket is closed."""
        await self._lost.wait()

    def _deliver(self, clear: bytes) -> None:
        events = self._connection.receive(clear)
        self.flush()
        if not events:
            return
        self._batches.append((events, len(clear)))
        self._waiting += len(clear)
        if self._reading and self._waiting > PAUSE_ABOVE and self._transport is not None:
            self._reading = False
            self._transport.pause_reading()

    def _measure(self, content: int) -> None:
        owed = self._reading and self._connection.owed
        self.meter.read(time.perf_counter(), time.thread_time(), content, owed=owed)

    def _flush_tls(self) -> None:
        if self._tls and self._transport is not None and (out := self._tls.outgoing()):
            self._transport.write(out)

    def _break(self, error: Exception) -> None:
        self._connection.fail(error)
        self._news.set()
        self._check_end()

    def _check_end(self) -> None:
        if self._connection.state is State.ENDED and self._transport is not None:
            self._transport.close()

    async def _wait_for_news(self) -> None:
        self._news.clear()
        await self._news.wait()
