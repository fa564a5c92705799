"""The client side of one IMAP connection, as a state machine without a socket.

    bytes from the socket --> receive() --> responses, and a Completed where a command ended
    send(command)         --> outgoing() --> bytes for the socket

            greeting OK          login OK              SELECT OK
    GREETING ------> NOT_AUTHENTICATED ------> AUTHENTICATED <------> SELECTED      any -- BYE --> ENDED
             PREAUTH ----------------------------^          CLOSE, UNSELECT, failed SELECT

Commands are pipelined: several are under way, each with its own tag, and the server answers them in
order. Those that change the state (login, SELECT, STARTTLS ...) run alone, and while one waits to be
invited to send a literal nothing else is sent.

IDLE is under way until `done` was answered, or until the server ends it by itself.

What follows the OK to COMPRESS is compressed: it is in `rest`, and `receive` takes what it says in clear.
"""

from dataclasses import dataclass
from enum import Enum

from . import auth, commands
from .commands import Command
from .errors import CommandFailed, Desynchronised, Disconnected, Insecure, LocalError, RemoteError
from .framing import Framer, Limits, OpenSpool
from .heeded import Heeded
from .parser import parse
from .responses import Capability, Code, Continuation, Enabled, Fetch, Response, Status, Unreadable
from .selected import Selected

NON_SYNC_LIMIT = 100_000  # a literal that the server may refuse is not sent unasked
LITERAL_MINUS_LIMIT = 4096  # RFC 7888
INJECTED = "the server sent plain text after it had agreed to STARTTLS"
TAG_WITHIN = 64  # bytes of an unreadable line in which the tag of a command may stand


class State(Enum):
    GREETING = "waiting for the greeting"
    NOT_AUTHENTICATED = "not authenticated"
    AUTHENTICATED = "authenticated"
    SELECTED = "a folder is selected"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Completed:
    """A command ended with `status`. `responses` are filled by whoever collects them (`aio.Session.run`)."""

    command: Command
    status: Status
    responses: tuple[Response, ...] = ()

    @property
    def failure(self) -> CommandFailed | None:
        """The error for NO and BAD, to raise or to look at."""
        return None if self.status.kind in {"OK", "BYE"} else auth.failure(self.command, self.status)


Event = Response | Completed


@dataclass(slots=True, eq=False, repr=False)
class _Underway:
    """A command that has a tag, and the parts of it that wait for an invitation, the next one last."""

    command: Command
    tag: str
    parts: list[bytes]
    answers: list[bytes]


class Connection:
    """See the module. Thousands may wait at once, hence lists: an empty deque weighs ten times as much."""

    def __init__(
        self,
        *,
        limits: Limits | None = None,
        open_spool: OpenSpool | None = None,
        tls: bool = False,
        require_tls: bool = False,
        tag_prefix: str = "P",
    ) -> None:
        self.state = State.GREETING
        self.greeting: Status | None = None
        self.capabilities: frozenset[str] | None = None  # None: the server must be asked (again)
        self.enabled: frozenset[str] = frozenset()
        self.selected: Selected | None = None
        self.tls = tls
        self.failure: Exception | None = None  # why the connection ended, unless we said goodbye
        self.compressed = False  # COMPRESS was granted
        self.idling = False  # the server has agreed to IDLE, and was not told to stop
        self.heeded = Heeded()
        self.strays = 0  # replies to unknown tags, invitations that nobody waited for, unreadable lines
        self._require_tls = require_tls
        self._framer = Framer(limits, open_spool) if open_spool else Framer(limits)
        self._tag_prefix = tag_prefix
        self._tags_used = 0
        self._underway: list[_Underway] = []
        self._queued: list[Command] = []
        self._out: list[bytes] = []
        self._opening: Selected | None = None  # the folder that a SELECT under way opens
        self._upgrading = False  # STARTTLS was granted, the handshake has not begun
        self._enabled_said = False
        self._rest = b""
        self._login: Command | None = None  # the last one sent: its secrets are kept out of what is said

    @property
    def idle(self) -> bool:
        """Whether no command is under way or waiting."""
        return not (self._underway or self._queued)

    @property
    def owed(self) -> bool:
        """Whether the server is in the middle of a literal, and owes us the rest of it."""
        return self._framer.within_literal

    def send(self, command: Command) -> None:
        """Begin `command`, or queue it until it may be sent; its bytes appear in `outgoing`.

        :raises LocalError: not in this state, or a secret would travel in the clear.
        """
        if self.state in {State.GREETING, State.ENDED} or self._upgrading:
            raise LocalError(f"cannot send {command.name}: {self.state.value}")
        if command.secrets and self._require_tls and not self.tls:
            raise LocalError(f"cannot send {command.name} before TLS")
        if command.name == "STARTTLS" and (self.tls or self.state is not State.NOT_AUTHENTICATED):
            raise LocalError("STARTTLS comes before login, once")
        if command.secrets and self.state is not State.NOT_AUTHENTICATED:
            raise LocalError("already logged in")
        if command.name == "COMPRESS" and (self.compressed or self.state is State.NOT_AUTHENTICATED):
            raise LocalError("COMPRESS comes after login, once")
        opening = self._opening or any(queued.folder is not None for queued in self._queued)
        if command.name.startswith("UID ") and self.state is not State.SELECTED and not opening:
            raise LocalError(f"cannot send {command.name}: no folder is selected")
        self._queued.append(command)
        self._pump()

    def done(self) -> None:
        """Tell the server to end the IDLE that it has agreed to; the answer ends the command."""
        if self.idling:
            self._answer(self._underway[-1])
            self.idling = False

    def restrict(self, limits: Limits | None) -> None:
        """Accept no more than this of a response, from here on; None: as in the beginning."""
        self._framer.restrict(limits)

    def outgoing(self) -> bytes:
        """What is to be written now; asking takes it."""
        out = b"".join(self._out)
        self._out.clear()
        return out

    def rest(self) -> bytes:
        """What came with the OK to COMPRESS, behind it; asking takes it."""
        rest, self._rest = self._rest, b""
        return rest

    def receive(self, data: bytes) -> list[Event]:
        """Take bytes from the socket and return what they say.

        Never raises for what a server does: `state` turns to ENDED, and `failure` says why.
        """
        events: list[Event] = []
        try:
            if self._upgrading:
                raise Insecure(INJECTED)
            if self._underway and self._underway[0].command.name == "COMPRESS":
                data = self._read_answer(data, events)
            if self.state is not State.ENDED:
                self._read(data, events)
        except (RemoteError, OSError) as error:
            self.fail(Insecure(INJECTED) if self._upgrading else error)
        return events

    def _read_answer(self, data: bytes, events: list[Event]) -> bytes:
        """Line by line up to the answer to COMPRESS; what is left of `data` in clear."""
        at, asked = 0, self._underway[0]
        while at < len(data) and self._underway and self._underway[0] is asked:
            end = data.find(b"\n", at) + 1 or len(data)
            self._read(data[at:end], events)
            at = end
        if not self.compressed:
            return data[at:]
        self._rest = data[at:]
        return b""

    def _read(self, data: bytes, events: list[Event]) -> None:
        for frame in self._framer.feed(data):
            if self._upgrading:
                raise Insecure(INJECTED)
            response = parse(frame)
            if type(response) is Fetch and self.selected is not None:  # by far the most frequent
                if response.seq > (self.selected.exists or 0) or not response.seq:
                    self.selected.renumbered = True
                events.append(response)
                continue
            self._take(response, events)
            if self.state is State.ENDED:
                return
        if self._upgrading and not self._framer.empty:
            raise Insecure(INJECTED)

    def tls_started(self) -> None:
        """The handshake is done: forget what was said in the clear."""
        self._upgrading = False
        self.tls = True
        self.capabilities, self.enabled = None, frozenset()

    def end(self) -> None:
        """The stream ended; nothing under way will be answered any more."""
        if self.state is not State.ENDED:
            self.fail(Disconnected("the server closed the connection"))

    def fail(self, error: Exception) -> None:
        """The connection is of no more use, because of `error`."""
        self.state, self.idling = State.ENDED, False
        # Its traceback would hold the last response, and that perhaps a large file.
        self.failure = error.with_traceback(None)
        self._underway.clear()
        self._queued.clear()
        self._out.clear()
        self._framer.close()

    def _pump(self) -> None:
        """Send what may be sent."""
        while self._queued:
            if self._underway:
                last = self._underway[-1]
                if self._queued[0].alone or last.command.alone or last.parts:
                    return
            self._start(self._queued.pop(0))

    def _start(self, command: Command) -> None:
        self._tags_used += 1
        tag = f"{self._tag_prefix}{self._tags_used}"
        first, *rest = commands.encode(command, tag.encode(), self._non_sync())
        self._out.append(first)
        self._underway.append(_Underway(command, tag, rest[::-1], list(command.answers[::-1])))
        if command.folder is not None:
            self._opening = Selected(command.folder)
        if command.secrets:
            self._login = command
            self.capabilities = None  # the server may tell them with its answer; else it must be asked
        self._enabled_said = False

    def _non_sync(self) -> int:
        known = self.capabilities or frozenset()
        if "LITERAL+" in known:
            return NON_SYNC_LIMIT
        return LITERAL_MINUS_LIMIT if known & {"LITERAL-", "IMAP4REV2"} else -1

    def _take(self, response: Response, events: list[Event]) -> None:
        if self._login is not None and type(response) is Status and response.kind != "OK":
            response = auth.redacted(self._login, response)
        if type(response) is Status:
            self.heeded.take(response)
        match response:
            case _ if self.state is State.GREETING:
                self._greet(response)
            case Status(tag=str(tag)):
                self._complete(tag, response, events)
                return
            case Status(kind="BYE"):
                self._bye(response, events)
                return
            case Continuation():
                self._invited(response.text)
            case Unreadable(raw):
                self._unreadable(raw)
            case _:
                self._learn(response)
        events.append(response)

    def _greet(self, greeting: Response) -> None:
        match greeting:
            case Status(tag=None, kind="OK"):
                self.state = State.NOT_AUTHENTICATED
            case Status(tag=None, kind="PREAUTH"):
                if self._require_tls and not self.tls:
                    raise Insecure("the server skips login (PREAUTH), and with it TLS")
                self.state = State.AUTHENTICATED
            case Status(tag=None, kind="BYE", text=text):
                self.fail(Disconnected(f"the server does not want us: {text}", text))
                return
            case _:
                raise RemoteError("this is no IMAP server: it does not greet as one")
        self.greeting = greeting
        self._learn(greeting)

    def _complete(self, tag: str, status: Status, events: list[Event]) -> None:
        index = next((i for i, one in enumerate(self._underway) if one.tag == tag), None)
        if index is None:
            self._check_stray(tag)
            return
        done = self._underway[index]
        if status.kind == "OK" and (done.parts or done.answers) and not self.idling:
            raise Desynchronised(f"the server answers {done.command.name} before it was sent")
        del self._underway[index]
        self.idling = False
        command = done.command
        self._learn(status)
        if command.folder is not None:
            self._opened(succeeded=status.kind == "OK")
        elif status.kind == "OK":
            self._succeeded(command)
        events.append(Completed(command, status))
        self._pump()

    def _check_stray(self, tag: str) -> None:
        """A tag of no command: count it, but never go on if it means that replies and commands part ways."""
        number = tag.removeprefix(self._tag_prefix)
        if number != tag and number.isdigit() and (len(number) > 10 or int(number) > self._tags_used):
            raise Desynchronised("the server answers a command that was not sent")
        self._unreadable(tag.encode())

    def _opened(self, *, succeeded: bool) -> None:
        """A SELECT that fails closes what was open before (RFC 9051, 6.3.2)."""
        self.selected = self._opening if succeeded else None
        self._opening = None
        self.state = State.SELECTED if succeeded else State.AUTHENTICATED

    def _succeeded(self, command: Command) -> None:
        match command.name:
            case "LOGIN" | "AUTHENTICATE":
                if command.dialogue is not None:
                    command.dialogue.finish()
                self.state = State.AUTHENTICATED
            case "STARTTLS":
                self._upgrading = True
            case "COMPRESS":
                self.compressed = True
            case "CLOSE" | "UNSELECT":
                self.selected, self.state = None, State.AUTHENTICATED
            case "LOGOUT":
                self.state = State.ENDED
            case "ENABLE" if not self._enabled_said:
                self.enabled |= command.words  # iCloud forgets to say ENABLED

    def _bye(self, status: Status, events: list[Event]) -> None:
        """The first BYE ends everything: some servers repeat it for ever and never answer LOGOUT."""
        events.append(status)
        first = self._underway[0].command if self._underway else None
        if first is not None and first.name == "LOGOUT":
            events.append(Completed(first, status))
            self._underway.clear()
            self.state = State.ENDED
        else:
            self.fail(Disconnected(f"the server said goodbye: {status.text}", status.text))

    def _invited(self, challenge: bytes) -> None:
        """Send the next part of a command, or the answer to a challenge."""
        last = self._underway[-1] if self._underway else None
        if last and last.parts:
            self._out.append(last.parts.pop())
            self._pump()
        elif last and last.command.dialogue:
            self._out.append(last.command.dialogue.answer(challenge) + b"\r\n")
        elif last and last.command.name == "AUTHENTICATE":
            self._answer(last)
        elif last and last.command.name == "IDLE":
            self.idling = bool(last.answers)  # some say it again and again
        else:
            self.strays += 1

    def _answer(self, underway: _Underway) -> None:
        answer = underway.answers.pop() if underway.answers else b"*"  # one challenge too many: give up
        self._out.append(answer + b"\r\n")

    def _unreadable(self, raw: bytes) -> None:
        """Fail at once if this was the reply that a command waits for, rather than wait for ever."""
        self.strays += 1
        start = raw[:TAG_WITHIN].replace(b"\x00", b" ").split()
        if raw.startswith(b"* "):
            return
        for one in self._underway:
            if one.tag.encode() in start:
                raise Desynchronised(f"the server's reply to {one.command.name} cannot be read")

    def _learn(self, response: Response) -> None:
        match response:
            case (
                Capability(names)
                | Status(kind="OK" | "PREAUTH", code=Code("CAPABILITY", frozenset() as names))
            ):
                self.capabilities = names
            case Enabled(names):
                self.enabled |= names
                self._enabled_said = True
            case Status(code=Code("CLOSED")) if self._opening is not None:
                self._opening = Selected(self._opening.name)  # what came before belonged to the old one
            case _ if self._opening is not None:
                self._opening.learn(response)
            case _ if self.selected is not None:
                self.selected.learn(response)
