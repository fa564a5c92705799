"""The asyncio protocol under a session: bytes to events, with back-pressure in both directions.

Events wait for whoever asks for the next one; while somebody listens, they are told at once.
"""

import asyncio
import ssl
import time
from collections.abc import Callable
from ipaddress import ip_address
from typing import cast

from .connection import Completed, Connection, Event, State
from .deflate import Deflate
from .errors import Disconnected, RemoteError
from .framing import SMALL
from .meter import Meter
from .responses import Continuation
from .tls import Tls

Told = Callable[[Event | Exception], None]

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
        self._batches: list[tuple[list[Event], int]] = []
        self.received = 0  # bytes, in clear
        self._arrived = 0  # bytes of a response that is not complete
        self._waiting = 0  # bytes behind those batches
        self.taken = 0  # bytes behind the batches that were taken
        self.meter = Meter()
        self._reading = True
        self._told: Told | None = None
        self._waiters: list[asyncio.Future[None]] = []
        self._writable, self._lost = True, False

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
        self._wake()
        self._check_end()

    def eof_received(self) -> bool:
        """Whether the transport is to stay: until what has arrived is delivered."""
        self._end()
        self._wake()
        return self._cut

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None and not self._over:
            self._connection.fail(Disconnected(f"the connection broke: {exc}"))
        self._connection.end()
        self._writable = self._lost = True
        self._wake()
        self._check_end()

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = True
        self._wake()

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
            await self.news()
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
        while not self._writable:
            await self.news()

    async def next(self) -> list[Event]:
        """The responses that arrived together, in order.

        :raises ImapError: the connection ended, and everything before its end was taken.
        """
        while not self._batches:
            self.check()
            await self.news()
        events, size = self._batches.pop(0)
        self._waiting -= size
        self.taken += size
        if not self._reading and self._waiting < RESUME_BELOW:
            self._go_on()
        return events

    def listen(self, told: Told | None) -> None:
        """From here on `told` hears each event at once, first those that wait, and last why it ended, once.

        An invitation to go on says nothing, and is not told. Meanwhile responses may only be small. None:
        events wait to be asked for again.
        """
        self._told = told
        self._connection.restrict(SMALL if told is not None else None)
        while self._told is not None and self._batches:
            events, size = self._batches.pop(0)
            self._waiting -= size
            self._tell(events)
        if not self._reading and self._waiting < RESUME_BELOW:
            self._go_on()

    @property
    def on_this_machine(self) -> bool:
        """Whether the other side is a loopback address."""
        peer = self._transport.get_extra_info("peername") if self._transport is not None else None
        return isinstance(peer, tuple) and ip_address(peer[0].partition("%")[0]).is_loopback

    @property
    def listening(self) -> bool:
        return self._told is not None

    def check(self) -> None:
        """:raises ImapError: the connection has ended."""
        if self._over:
            raise self._connection.failure or Disconnected("the session is over")

    def abort(self) -> None:
        """Close at once, whatever is under way; nothing more is told."""
        self._told = None
        self._batches.clear()
        if self._continuing is not None:
            self._continuing.cancel()
        if self._transport is not None:
            self._transport.abort()

    async def lost(self) -> None:
        """Until the socket is closed."""
        while not self._lost:
            await self.news()

    async def news(self) -> None:
        """Until something has happened, whatever it is."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter

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
        if self._told is not None:
            self._arrived = 0
            self._tell(events)
            return
        self._batches.append((events, self._arrived))
        self._waiting += self._arrived
        self._arrived = 0
        if self._waiting > PAUSE_ABOVE:
            self._pause()

    def _tell(self, events: list[Event]) -> None:
        for event in events:
            if self._told is not None and type(event) is not Continuation:
                self._told(event)

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
            self._wake()
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
        self._wake()
        self._check_end()

    def _check_end(self) -> None:
        if not self._over:
            return
        if self._transport is not None:
            self._transport.close()
        told, self._told = self._told, None
        if told is not None:
            told(self._connection.failure or Disconnected("the session is over"))

    @property
    def _over(self) -> bool:
        return self._connection.state is State.ENDED

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


def responses_to(told: Told, completed: list[Completed]) -> Told:
    """`told` hears responses only; the rest is the business of who waits for it."""

    def hear(event: Event | Exception) -> None:
        if isinstance(event, Completed):
            completed.append(event)
        elif not isinstance(event, Exception):
            told(event)

    return hear
