"""Cut a response's text into atoms, strings and nested lists, without recursion.

NIL becomes None, a list a list, everything else bytes; strings and atoms look alike, as servers mix
them up. A literal is taken from beside the text (see `framing.Frame`).
"""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

from .framing import Frame, Spool

MAX_DEPTH = 64
MAX_CACHED = 256  # bytes of flags; what a server can make us remember is bounded
TOKEN = re.compile(
    rb"[ ]*(?:"
    rb"(\()|(\))"
    # A string may hold a CR or an LF, which some servers let through, but never an announced literal's CRLF.
    rb'|"([^"\\\r]*+(?:(?:\\[^\r]|\r(?!\n))[^"\\\r]*+)*+)"'
    rb"|(~?\{\d+\+?\}\r\n)"
    # An atom may hold a section with spaces in its brackets: BODY[HEADER.FIELDS (DATE FROM)]<0>
    # An opening bracket alone is a letter like any other: keywords may have one.
    rb'|([^ ()"\[\r\n][^ ()\[\r\n]*(?:\[[^\[\]\r\n]*\][^ ()\r\n]*|\[[^ ()\r\n]*)?|\[[^ ()\r\n]*)'
    rb"|(\Z))",
    re.DOTALL,
)
LIST, END_OF_LIST, QUOTED, LITERAL, ATOM, END = range(1, 7)
NIL: dict[bytes, None] = {b"NIL": None, b"nil": None, b"Nil": None}
ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
SYSTEM_FLAGS = {
    flag.upper(): flag for flag in ("\\Seen", "\\Answered", "\\Flagged", "\\Deleted", "\\Draft", "\\Recent")
}


class ParseError(ValueError):
    """The response does not follow the grammar. `values` is what was read before, outermost list first."""

    def __init__(self, reason: str, values: list[Any] | None = None) -> None:
        super().__init__(reason)
        self.values = values or []


def tokenize(frame: Frame, at: int = 0) -> list[Any]:
    """All values of `frame` from offset `at`.

    :raises ParseError: unbalanced, nested too deeply, or not a token.
    """
    text, match = frame.text, TOKEN.match
    literals = iter(frame.literals)
    outermost: list[Any] = []
    current, open_lists = outermost, []
    while token := match(text, at):
        at = token.end()
        kind = token.lastindex
        if kind == ATOM:
            atom = token[ATOM]
            current.append(NIL.get(atom, atom))
        elif kind == QUOTED:
            current.append(unescape(token[QUOTED]))
        elif kind == LIST:
            open_lists.append(current)
            if len(open_lists) > MAX_DEPTH:
                raise ParseError(f"lists are nested more than {MAX_DEPTH} deep", outermost)
            inner: list[Any] = []
            current.append(inner)
            current = inner
        elif kind == END_OF_LIST:
            if not open_lists:
                raise ParseError("a list ends that never began", outermost)
            current = open_lists.pop()
        elif kind == LITERAL:
            current.append(_next(literals))
        elif open_lists:
            raise ParseError("a list never ends", outermost)
        else:
            return outermost
    raise ParseError(f"no token at offset {at}", outermost)


def _next(literals: Iterator[bytes | Spool]) -> bytes | Spool:
    for literal in literals:
        return literal
    raise ParseError("a literal is announced and does not follow")


def unescape(quoted: bytes) -> bytes:
    """What stands between the quotes, as it was meant."""
    return ESCAPED.sub(rb"\1", quoted) if b"\\" in quoted else quoted


def flag_set(raw: bytes) -> frozenset[str]:
    """The flags between the parentheses. Few combinations make up a whole mailbox, hence the cache."""
    return _cached_flags(raw) if len(raw) <= MAX_CACHED else flags_of(raw.split())


@lru_cache(maxsize=4096)
def _cached_flags(raw: bytes) -> frozenset[str]:
    return flags_of(raw.split())


def flags_of(values: list[Any]) -> frozenset[str]:
    """System flags in their own spelling; keywords as they are, even numbers and 8-bit ones."""
    names = [value for value in values if isinstance(value, bytes)]
    return _spelled(tuple(names)) if sum(map(len, names)) <= MAX_CACHED else _spell(names)


@lru_cache(maxsize=1024)
def _spelled(names: tuple[bytes, ...]) -> frozenset[str]:
    """Sessions in one server's folders share what flags there are."""
    return _spell(names)


def _spell(names: Iterable[bytes]) -> frozenset[str]:
    decoded = (name.decode("utf-8", "replace") for name in names)
    return frozenset(SYSTEM_FLAGS.get(name.upper(), name) for name in decoded)


def text_of(value: bytes | Spool | Any) -> str:
    """For people; never fails."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else ""
