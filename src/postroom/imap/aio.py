"""Drive an IMAP connection over asyncio. With `wire`, the only place in this package with a socket."""

import asyncio
import secrets
import socket
import ssl
import string
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import replace
from enum import Enum
from typing import IO

from . import auth, commands
from .commands import Command
from .connection import Completed, Connection, Event, State
from .errors import CommandFailed, ImapError, Insecure, LimitExceeded, LocalError
from .framing import Limits, OpenSpool, Spool
from .heeded import Heeded
from .responses import Fetch, Response, Status
from .selected import Selected
from .wire import Told, Wire, responses_to

WINDOW = 4  # commands under way at once
LOGOUT_PATIENCE = 2  # seconds for a goodbye that nobody needs
MAX_COLLECTED = 64 << 20  # bytes of responses that `run` keeps; more belong to `stream`


class StartTls(Enum):
    """What to do with a connection that begins in the clear."""

    OFF = "off"  # stay in the clear, or TLS from the first byte if a context is given
    AUTO = "auto"  # upgrade if the server offers it
    REQUIRE = "require"  # upgrade or fail


class Session:
    """A connected IMAP client. One `run`, `stream`, `pipeline` or `idle` at a time; see `connect`.

    When one of them is cancelled, times out or is left early, answers are still under way: the session is
    spoilt, `usable` turns False, and the connection is closed.
    """

    def __init__(self, wire: Wire, connection: Connection) -> None:
        self._wire, self._connection = wire, connection
        self._busy = self._spoilt = False
        self._told: Told | None = None  # who listens, until `done`

    @property
    def usable(self) -> bool:
        """Whether another command may be run."""
        engaged = self._busy or self._spoilt or self.listening
        return not engaged and self._connection.state is not State.ENDED

    @property
    def listening(self) -> bool:
        """Whether `idle` or `listen` goes on: the session is alive, and `done` makes it usable."""
        return self._wire.listening

    @property
    def state(self) -> State:
        return self._connection.state

    @property
    def greeting(self) -> Status | None:
        return self._connection.greeting

    @property
    def capabilities(self) -> frozenset[str]:
        """What the server offers now, in upper case; asked anew after login and TLS."""
        return self._connection.capabilities or frozenset()

    @property
    def enabled(self) -> frozenset[str]:
        return self._connection.enabled

    @property
    def selected(self) -> Selected | None:
        """The open folder; it changes while responses arrive."""
        return self._connection.selected

    @property
    def encrypted(self) -> bool:
        return self._connection.tls

    @property
    def on_this_machine(self) -> bool:
        """Whether nobody but this machine hears what is said."""
        return self._wire.on_this_machine

    @property
    def failure(self) -> Exception | None:
        """Why the server's side of the session ended, unless we said goodbye."""
        return self._connection.failure

    @property
    def compressed(self) -> bool:
        return self._connection.compressed

    @property
    def received(self) -> int:
        """Bytes that the server has sent so far, in clear: of what came compressed, what it says."""
        return self._wire.received

    @property
    def heeded(self) -> Heeded:
        """Alerts, and whether answers are slow on purpose."""
        return self._connection.heeded

    @property
    def speed(self) -> float | None:
        """Bytes of content a second as they come over the link; None until enough was seen. See `meter`."""
        return self._wire.meter.speed

    async def run(self, command: Command) -> Completed:
        """Send `command`, and collect what the server says until it is completed.

        :raises CommandFailed: NO or BAD. The session stays usable.
        :raises ImapError: RemoteError or Disconnected; the session is over.
        """
        seen: list[Response] = []
        completed: Completed | None = None
        before, spooled = self._wire.taken, 0
        async with aclosing(self.pipeline([command])) as events:
            async for event in events:
                if isinstance(event, Completed):
                    completed = event
                    continue
                seen.append(event)
                spooled += _spooled(event)
                if self._wire.taken - before - spooled > MAX_COLLECTED:
                    raise LimitExceeded("sum of responses", MAX_COLLECTED)
        assert completed is not None
        if completed.failure:
            raise completed.failure
        return replace(completed, responses=tuple(seen))

    async def stream(self, command: Command) -> AsyncGenerator[Response, None]:
        """Send `command`, and give the responses as they arrive. Raises as `run` does, at the end."""
        failure: CommandFailed | None = None
        async with aclosing(self.pipeline([command])) as events:
            async for event in events:
                if isinstance(event, Completed):
                    failure = event.failure
                else:
                    yield event
        if failure:
            raise failure

    async def pipeline(
        self, commands: Iterable[Command], *, window: int = WINDOW
    ) -> AsyncGenerator[Event, None]:
        """Send commands, `window` of them under way at once, and give what comes back in order.

        A `Completed` stands where a command ended; NO and BAD are in its `failure`, and the rest goes on.
        Servers answer in order, so responses belong to the oldest command that is not completed.
        The server is read only as quickly as the responses are taken.
        """
        self._check_usable()
        self._busy, finished = True, False
        waiting, sent, completed = iter(commands), 0, 0
        try:
            while True:
                sent += self._fill(waiting, window - (sent - completed))
                if sent == completed:
                    if next(waiting, None) is not None:  # only when the server has ended the session
                        self._wire.check()
                    break
                await self._wire.send()
                for event in await self._wire.next():
                    if type(event) is Completed:
                        completed += 1
                        sent += self._fill(waiting, 1)
                    yield event
            finished = True
        finally:
            self._busy = False
            if sent and not finished:
                self._spoil()

    async def idle(self, told: Told) -> None:
        """Have the server tell what changes in the open folder; returns as soon as it has agreed to.

        `told` is called from the event loop with each response, in order, and nothing waits meanwhile: no
        task, no timer. If the server ends IDLE by itself, it hears a `Completed`; if the session ends, last
        of all, why (an exception). `done` ends it.

        :raises CommandFailed: the server will not. :raises ImapError: the session is over.
        """
        self._check_usable()
        completed: list[Completed] = []
        self._connection.send(commands.idle())
        self._wire.listen(responses_to(told, completed))
        async with self._spoilt_unless_finished():
            self._wire.flush()
            while not (self._connection.idling or completed):
                self._wire.check()
                await self._wire.news()
            self._wire.check()
        if completed and completed[0].failure:
            self._wire.listen(None)
            raise completed[0].failure
        self._told = told
        self._wire.listen(told)
        for ended in completed:
            told(ended)

    async def listen(self, told: Told) -> None:
        """Have `told` hear what the server says unasked (RFC 5465), as `idle` does, without any command.

        What has come behind the last answer is told first.
        """
        self._check_usable()
        self._told = told
        self._wire.listen(told)

    async def done(self) -> None:
        """End `idle` or `listen`: the session takes commands again. What comes before the end is told.

        :raises ImapError: the session is over, and this is not told.
        """
        if self._told is None or not self.listening:
            self._check_usable()
            return
        self._wire.listen(responses_to(self._told, []))
        self._told = None
        async with self._spoilt_unless_finished():
            self._connection.done()
            self._wire.flush()
            while not self._connection.idle:
                self._wire.check()
                await self._wire.news()
            self._wire.check()
        self._wire.listen(None)

    async def log_in(self, user: str, password: str, *, mechanism: str | None = None) -> None:
        """Log in the best way on offer (see `auth.choose`), and learn what the server offers then.

        A server that greeted with PREAUTH has done so already, and gets no password.

        :raises AuthRefused: wrong credentials. :raises ServerBusy: try later.
        """
        await self._know_capabilities()
        if self.state is State.NOT_AUTHENTICATED:
            offered, encrypted = self.capabilities, self.encrypted
            command = auth.choose(offered, user, password, mechanism=mechanism, encrypted=encrypted)
            await self._authenticate(command)

    async def log_in_with_token(self, user: str, token: str, *, mechanism: str | None = None) -> None:
        """Log in with an access token of OAuth 2.0, as `log_in` does; see `auth.choose_for_token`.

        :raises AuthRefused: the token is wrong or has expired; `status` is the server's word for it.
        """
        await self._know_capabilities()
        if self.state is State.NOT_AUTHENTICATED:
            await self._authenticate(
                auth.choose_for_token(self.capabilities, user, token, mechanism=mechanism)
            )

    async def _authenticate(self, command: Command) -> None:
        await self.run(command)
        await self._know_capabilities()

    async def compress(self) -> None:
        """Compress both directions for the rest of the session.

        :raises CommandFailed: the server will not; all goes on as before.
        """
        await self.run(commands.compress())

    async def log_out(self) -> None:
        """Say goodbye; the session is over then."""
        await self.run(commands.logout())

    def _fill(self, waiting: Iterator[Command], room: int) -> int:
        """Hand over up to `room` commands; how many there were. None once the session has ended."""
        sent = 0
        while sent < room and self._connection.state is not State.ENDED:
            if (command := next(waiting, None)) is None:
                break
            self._connection.send(command)
            sent += 1
        if sent:
            self._wire.flush()
        return sent

    def _check_usable(self) -> None:
        if not self.usable:
            if self._connection.failure is not None and not self._spoilt:
                raise self._connection.failure  # it came with the end of the last command
            raise LocalError("the session is busy or over")

    @asynccontextmanager
    async def _spoilt_unless_finished(self) -> AsyncIterator[None]:
        """Who leaves the block early leaves answers under way."""
        self._busy, finished = True, False
        try:
            yield
            finished = True
        finally:
            self._busy = False
            if not finished:
                self._spoil()

    def _spoil(self) -> None:
        self._spoilt = True
        self._wire.abort()

    async def _know_capabilities(self) -> None:
        if self._connection.capabilities is None:
            await self.run(commands.capability())

    async def _begin(self, starttls: StartTls, context: ssl.SSLContext | None, host: str) -> None:
        """From the first byte to a session that may log in."""
        while self._connection.state is State.GREETING:
            await self._wire.next()
        self._wire.check()
        await self._know_capabilities()
        if starttls is StartTls.OFF or context is None or self.state is not State.NOT_AUTHENTICATED:
            return
        if "STARTTLS" not in self.capabilities:
            if starttls is StartTls.REQUIRE:
                raise Insecure("the server does not offer STARTTLS")
            return
        try:
            await self.run(commands.starttls())
        except CommandFailed as error:
            raise Insecure(f"the server refuses STARTTLS: {error.text}") from error
        await self._wire.start_tls(context, host)
        await self._know_capabilities()


def _spooled(response: Response) -> int:
    values = response.attributes.values() if isinstance(response, Fetch) else ()
    return sum(value.size for value in values if isinstance(value, Spool))


def spool(size: int) -> IO[bytes]:
    """A nameless file in the usual temporary directory, for a literal too large for memory."""
    del size
    return tempfile.TemporaryFile()


@asynccontextmanager
async def connect(
    host: str,
    port: int,
    *,
    tls: ssl.SSLContext | None = None,
    starttls: StartTls = StartTls.OFF,
    sock: socket.socket | None = None,
    limits: Limits | None = None,
    open_spool: OpenSpool = spool,
) -> AsyncIterator[Session]:
    """Open a session that is ready to log in, and close it on the way out, whatever happened.

    `tls` is used from the first byte, or after STARTTLS if `starttls` asks for that; `host` is the name that
    the certificate must bear. `sock` is an already connected socket, which the session then owns.

    :raises Insecure: TLS was required, and cannot be had; no credentials were sent.
    :raises Disconnected: the server said BYE instead of a greeting, or hung up.
    :raises OSError: also ssl.SSLCertVerificationError.
    """
    if starttls is not StartTls.OFF and tls is None:
        raise LocalError("STARTTLS needs an SSLContext")
    connection = Connection(
        limits=limits,
        open_spool=open_spool,
        require_tls=starttls is StartTls.REQUIRE,
        tag_prefix="".join(secrets.choice(string.ascii_uppercase) for _ in range(4)),
    )
    loop = asyncio.get_running_loop()
    where = {"sock": sock} if sock is not None else {"host": host, "port": port}
    _, wire = await loop.create_connection(lambda: Wire(connection), **where)
    session = Session(wire, connection)
    try:
        if tls is not None and starttls is StartTls.OFF:
            await wire.start_tls(tls, host)
        await session._begin(starttls, tls, host)
        yield session
        if session.usable or session.listening:
            with suppress(ImapError, OSError, TimeoutError):
                async with asyncio.timeout(LOGOUT_PATIENCE):
                    await session.done()
                    await session.log_out()
    finally:
        wire.abort()
        await wire.lost()
