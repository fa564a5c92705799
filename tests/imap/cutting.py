"""Feed a stream in pieces, and see what comes out."""

from collections.abc import Iterable
from itertools import pairwise

from postroom.imap.framing import Frame, Framer, Limits, Spool
from postroom.imap.parser import parse
from postroom.imap.responses import Response


def frames(stream: bytes, cuts: Iterable[int] = (), limits: Limits | None = None) -> list[Frame]:
    """Every frame of `stream`, cut at these offsets; spools are read, so that frames can be compared."""
    edges = [0, *sorted(cuts), len(stream)]
    framer = Framer(limits)
    found = [frame for a, b in pairwise(edges) for frame in framer.feed(stream[a:b])]
    return [Frame(frame.text, tuple(map(_whole, frame.literals))) for frame in found]


def responses(stream: bytes, cuts: Iterable[int] = ()) -> list[Response]:
    return [parse(frame) for frame in frames(stream, cuts)]


def one(line: bytes) -> Response:
    """The one response that `line` holds, its last CRLF left out."""
    (response,) = responses(line + b"\r\n")
    return response


def _whole(literal: bytes | Spool) -> bytes:
    return literal.read() if isinstance(literal, Spool) else literal
