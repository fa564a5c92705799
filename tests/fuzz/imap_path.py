"""A server's bytes on their way in: framing, parser, connection, and what the port makes of the errors.

The first byte of an input chooses what the client has asked, the second how the rest is cut. Whatever comes:
nothing is raised, only declared errors end the connection, and every way of cutting says the same.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import pairwise
from random import Random
from typing import IO

from postroom.errors import PostroomError
from postroom.imap import auth, commands, names, quirks
from postroom.imap.commands import Command, Known
from postroom.imap.connection import Completed, Connection, Event
from postroom.imap.errors import ImapError, RemoteError
from postroom.imap.framing import Framer, Limits, Spool
from postroom.imap.parser import parse
from postroom.imap.responses import (
    Code,
    CopyUid,
    ESearch,
    Fetch,
    Listed,
    Response,
    ServerId,
    Status,
    Vanished,
)
from postroom.imap.selected import Selected
from postroom.imap.uids import UidSet
from postroom.providers.imap.failures import folder_refused, translation
from postroom.providers.imap.settings import ImapSettings, Security

LIMITS = Limits(line=1500, response=3000, literal=4000, spool_over=40)  # near, so that they are met
BYTEWISE = 400  # bytes of an input that may be fed one by one
EVERYWHERE = 8  # one in so many is
FRAMES_ONLY = 4  # one input in so many does not stop where the connection would
SETTINGS = ImapSettings("imap.example.org", 143, Security.PLAIN, "ann@example.org")
LOGIN = auth.login("ann", "secret")
ONE = UidSet.of([1])

IN = b"P1 OK in\r\n"
OPEN = b"* 5 EXISTS\r\n* OK [UIDVALIDITY 7]\r\n* OK [HIGHESTMODSEQ 9]\r\nP1 OK [READ-ONLY] open\r\n"
INBOX = commands.select(b"INBOX", read_only=True, condstore=True)


@dataclass(frozen=True, slots=True)
class Asked:
    """What was said before the bytes of the input come."""

    greeting: bytes
    commands: tuple[Command, ...] = ()
    answers: bytes = b""


ASKED = (
    Asked(b""),
    Asked(b"* OK hi\r\n", (commands.capability(), LOGIN, commands.enable("QRESYNC"), commands.logout())),
    Asked(
        b"* OK hi\r\n",
        (
            auth.plain("ann", "secret", initial_response=False),
            commands.identify(name="x"),
            commands.namespace(),
        ),
    ),
    Asked(b"* OK hi\r\n", (commands.starttls(),)),
    Asked(b"* PREAUTH hi\r\n", (INBOX, commands.uid_fetch("1:*", ["BODY.PEEK[]"])), OPEN),
    Asked(
        b"* PREAUTH hi\r\n",
        (
            INBOX,
            commands.uid_search("ALL", returning=["ALL"]),
            commands.uid_fetch("1:*", ["FLAGS"], changed_since=5, vanished=True),
        ),
        OPEN,
    ),
    Asked(
        b"* PREAUTH hi\r\n",
        (
            commands.list_folders(special_use=True, status=["MESSAGES"]),
            commands.status(b"a", ["MESSAGES", "UIDNEXT"]),
            commands.select(b"a", known=Known(7, 9)),
        ),
    ),
    Asked(
        b"* PREAUTH hi\r\n",
        (
            INBOX,
            commands.append(b"b\xc3\xa4", b"mail"),
            commands.uid_move(ONE, b"c"),
            commands.uid_store(ONE, "+", ["\\Seen"]),
            commands.unselect(),
        ),
        OPEN,
    ),
)


class Spooled(BytesIO):
    """Two of these are equal when their bytes are, so that responses can be compared."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Spooled) and self.getvalue() == other.getvalue()

    __hash__ = None  # type: ignore[assignment]


def spooled(size: int) -> IO[bytes]:
    del size
    return Spooled()


@dataclass(frozen=True, slots=True)
class Heard:
    """What a connection made of the bytes."""

    events: tuple[Event, ...]
    written: bytes
    state: str
    strays: int
    failure: str | None
    capabilities: frozenset[str] | None
    enabled: frozenset[str]
    selected: Selected | None


def check(data: bytes) -> None:
    """Raises whatever should not be: a bug was found."""
    if len(data) < 2:
        return
    asked, stream, seed = ASKED[data[0] % len(ASKED)], data[2:], data[1]
    cuts = list(ways_to_cut(stream, seed >> 2))
    if seed % FRAMES_ONLY == 0:
        said = [framed(stream, way) for way in cuts]
        assert all(one == said[0] for one in said), "the frames depend on how the bytes arrive"
        events: Sequence[Event] = said[0][0]
    else:
        heard = [converse(asked, stream, way) for way in cuts]
        assert all(one == heard[0] for one in heard), "the conversation depends on how the bytes arrive"
        events = heard[0].events
    for event in events:
        look_at(event)


def ways_to_cut(stream: bytes, seed: int) -> Iterator[list[int]]:
    """Not at all, at a few places, and now and then everywhere."""
    yield []
    dice = Random(seed)
    yield sorted(dice.randrange(len(stream) + 1) for _ in range(1 + seed % 7))
    if seed % EVERYWHERE == 0 and len(stream) <= BYTEWISE:
        yield list(range(1, len(stream)))


def framed(stream: bytes, cuts: list[int]) -> tuple[list[Response], str | None]:
    """The responses, and the limit that was exceeded."""
    framer, found = Framer(LIMITS, spooled), list[Response]()
    try:
        for start, end in pairwise([0, *cuts, len(stream)]):
            for frame in framer.feed(stream[start:end]):
                found.append(parse(frame))
    except RemoteError as error:
        return found, str(error)
    return found, None


def converse(asked: Asked, stream: bytes, cuts: list[int]) -> Heard:
    connection = Connection(limits=LIMITS, open_spool=spooled)
    connection.receive(asked.greeting)
    for command in asked.commands:
        connection.send(command)
    connection.receive(asked.answers)
    events: list[Event] = []
    for start, end in pairwise([0, *cuts, len(stream)]):
        if start < end:
            events += connection.receive(stream[start:end])
    return Heard(
        tuple(events),
        connection.outgoing(),
        connection.state.value,
        connection.strays,
        failed(connection.failure),
        connection.capabilities,
        connection.enabled,
        connection.selected,
    )


def failed(error: Exception | None) -> str | None:
    """The failure, as the port's error says it."""
    if error is None:
        return None
    assert isinstance(error, ImapError), error
    reason = translation(error, SETTINGS)
    assert isinstance(reason, PostroomError), reason
    return f"{type(error).__name__} {error} {reason.code} {reason.message}"


def look_at(event: Event) -> None:
    """Ask everything that the rooms above ask of a response."""
    match event:
        case Completed():
            if event.failure is not None:
                failed(event.failure)
                folder_refused(event.failure, "a", SETTINGS)
        case Fetch():
            assert event.uid is None or 0 < event.uid < 1 << 32
            asked = event.size, event.internal_date, event.gmail_id, event.gmail_thread, event.gmail_labels
            assert len(asked) == 5
            assert not isinstance(body := event.body, Spool) or len(body.read()) == body.size
        case Listed(name=name):
            names.decode(name).encode()
        case ServerId():
            quirks.of(None, event, "")
        case Vanished(uids=uids) | ESearch(all=UidSet() as uids):
            assert all(0 < low <= high < 1 << 32 for low, high in uids.ranges)
            assert len(uids.among(range(1, 50))) <= min(uids.count, 49)
            assert all(str(part) for part in uids.split(20))
        case Status(code=Code(value=CopyUid() as copied)):
            copied.pairs()
        case Status():
            quirks.of(event, None, "")
