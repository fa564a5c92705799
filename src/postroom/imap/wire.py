"""The asyncio protocol under a session: bytes to events, with back-pressure in both directions."""

import asyncio
import ssl
import time
from collections import deque
from typing import cast

from .connection import Connection, Event, State
from .deflate import Deflate
from .errors import Disconnected, RemoteError
from .meter import Meter
from .tls import Tls

PAUSE_ABOVE = 1 << 20  # bytes whose responses nobody has taken yet
RESUME_BELOW = 1 << 18
AT_ONCE = 1 << 20  # bytes inflated before others have their turn


class Wire(asyncio.Protocol):
    """Owns the transport. Responses wait in `next` in batches; when too many do, reading pauses."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._transport: asyncio.Transport | None = None
        self._tls: Tls | None = None
        self._deflate: Deflate | None = None
        self._cut = False  # the server has ended, and what it said before is not inflated yet
        self._continuing: asyncio.Handle | None = None
        self._batches: deque[tuple[list[Event], int]] = deque()
        self.received = 0  # bytes, in clear
        self._arrived = 0  # bytes of a response that is not complete
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
            self._take(clear)
        if self._tls and self._tls.ended:
            self._end()
        self._news.set()
        self._check_end()

    def eof_received(self) -> bool:
        """Whether the transport is to stay: until what has arrived is delivered."""
        self._end()
        self._news.set()
        return self._cut

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None and not self._over:
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
            if self._deflate:
                out = self._deflate.send(out)
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
        if not self._reading and self._waiting < RESUME_BELOW:
            self._go_on()
        return events

    def check(self) -> None:
        """:raises ImapError: the connection has ended."""
        if self._over:
            raise self._connection.failure or Disconnected("the session is over")

    def abort(self) -> None:
        """Close at once, whatever is under way."""
        self._batches.clear()
        if self._continuing is not None:
            self._continuing.cancel()
        if self._transport is not None:
            self._transport.abort()

    async def lost(self) -> None:
        """Until the socket is closed."""
        await self._lost.wait()

    def _take(self, clear: bytes) -> None:
        if self._deflate is None:
            self._deliver(clear)
            self._measure(len(clear))
        else:
            self._deflate.put(clear)
        if self._deflate is not None:
            self._inflate(self._deflate)

    def _deliver(self, clear: bytes) -> None:
        events = self._connection.receive(clear)
        if self._connection.compressed and self._deflate is None:
            self._deflate = Deflate()
            self._deflate.put(self._connection.rest())
        self.flush()
        self.received += len(clear)
        self._arrived += len(clear)
        if not events:
            return
        self._batches.append((events, self._arrived))
        self._waiting += self._arrived
        self._arrived = 0
        if self._waiting > PAUSE_ABOVE:
            self._pause()

    def _inflate(self, deflate: Deflate) -> None:
        """Deliver what has arrived while there is room for it, and pause until the rest is delivered, too."""
        done = 0
        try:
            while not self._over and deflate.pending and done < AT_ONCE and self._waiting <= PAUSE_ABOVE:
                piece = deflate.piece()
                done += len(piece)
                self._deliver(piece)
        except RemoteError as error:
            self._connection.fail(error)
        self._measure(done)
        if self._over:
            return
        if deflate.ended or (self._cut and not deflate.pending):
            self._connection.end()
        elif deflate.pending:
            self._pause()
            if self._waiting <= PAUSE_ABOVE and self._continuing is None:
                self._continuing = asyncio.get_running_loop().call_soon(self._continue)

    def _continue(self) -> None:
        self._continuing = None
        if not self._over:
            self._go_on()

    def _go_on(self) -> None:
        """What has arrived comes first, then reading."""
        if self._deflate is not None and self._deflate.pending:
            self._inflate(self._deflate)
            self._news.set()
            self._check_end()
            if self._deflate.pending or self._over:
                return
        if not self._reading and self._waiting < RESUME_BELOW and self._transport is not None:
            self._reading = True
            self._transport.resume_reading()

    def _pause(self) -> None:
        if self._reading and self._transport is not None:
            self._reading = False
            self._transport.pause_reading()

    def _end(self) -> None:
        """The stream of the server has ended."""
        if self._deflate is not None and self._deflate.pending:
            self._cut = True
        else:
            self._connection.end()

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
        if self._over and self._transport is not None:
            self._transport.close()

    @property
    def _over(self) -> bool:
        return self._connection.state is State.ENDED

    async def _wait_for_news(self) -> None:
        self._news.clear()
        await self._news.wait()
