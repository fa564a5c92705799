"""Turn one framed response into a typed value."""

import re
from collections.abc import Callable
from typing import Any

from . import codes, fetching
from .framing import Frame, Spool
from .responses import (
    Capability,
    Continuation,
    Enabled,
    ESearch,
    Exists,
    Expunge,
    Flags,
    FolderStatus,
    Listed,
    Namespace,
    Namespaces,
    Other,
    Recent,
    Response,
    Search,
    ServerId,
    Status,
    Unreadable,
    Vanished,
    number,
    object_id,
)
from .tokens import ParseError, flags_of, text_of, tokenize, unescape
from .uids import UidSet

STATUS = re.compile(rb"(\S+) +(OK|NO|BAD|BYE|PREAUTH)(?: +|\Z)(.*)", re.IGNORECASE | re.DOTALL)
NUMBERED = re.compile(rb"\* +(\d{1,20}) +([A-Za-z]+) *")
NAMED = re.compile(rb"\* +([^\s()\[\]{}\"]+) *")
LIST_HEAD = re.compile(rb'\(([^()]*)\) +(?:NIL|"((?:[^"\\]|\\.)?)"|([^\s"()])) +', re.IGNORECASE)
QUOTED_NAME = re.compile(rb'"([^"\\\r]*+(?:\\[^\r][^"\\\r]*+)*+)" *(?=\Z|\()')
EXTENDED = re.compile(rb' \("?(?:OLDNAME|CHILDINFO)"? ', re.IGNORECASE)
SHOWN = 4096  # of a response that we cannot read


def parse(frame: Frame) -> Response:
    """Parse one response; never raises, see `Unreadable`."""
    if len(frame.literals) == 1:
        if message := fetching.MESSAGE.match(frame.text):
            return fetching.message(message, frame.literals[0])
    elif simple := fetching.SIMPLE.match(frame.text):
        return fetching.simple(simple)
    try:
        return _parse(frame)
    except ParseError as error:
        return Unreadable(frame.text[:SHOWN], str(error))


def _parse(frame: Frame) -> Response:
    text = frame.text
    if text[:1] == b"+":
        return Continuation(text[1:].strip())
    if status := STATUS.match(text):
        code, rest = codes.read(status[3])
        tag = None if status[1] == b"*" else text_of(status[1])
        return Status(tag, text_of(status[2]).upper(), code, text_of(rest))
    if numbered := NUMBERED.match(text):
        return _numbered(frame, int(numbered[1]), numbered[2].upper(), numbered.end())
    if text.startswith((b"* [", b"[")):  # Exchange forgets the OK, and sometimes the star
        code, rest = codes.read(text.removeprefix(b"* "))
        if code:
            return Status(None, "OK", code, text_of(rest))
    if named := NAMED.match(text):
        name = text_of(named[1]).upper()
        reader = READERS.get(name)
        return reader(frame, named.end()) if reader else Other(name, tuple(tokenize(frame, named.end())))
    raise ParseError("not a response")


def _numbered(frame: Frame, count: int, name: bytes, at: int) -> Response:
    if name == b"FETCH":
        return fetching.read(frame, count, at)
    if name in COUNTS:
        return COUNTS[name](count)
    return Other(text_of(name), (b"%d" % count, *tokenize(frame, at)))


COUNTS: dict[bytes, Callable[[int], Exists | Recent | Expunge]] = {
    b"EXISTS": Exists,
    b"RECENT": Recent,
    b"EXPUNGE": Expunge,
}


def _capability(frame: Frame, at: int) -> Response:
    return Capability(codes.capabilities(frame.text[at:]))


def _enabled(frame: Frame, at: int) -> Response:
    return Enabled(codes.capabilities(frame.text[at:]))


def _flags(frame: Frame, at: int) -> Response:
    match tokenize(frame, at):
        case [list(values)]:
            return Flags(flags_of(values))
    raise ParseError("FLAGS without a list")


def _list(frame: Frame, at: int) -> Response:
    return _listed(frame, at, lsub=False)


def _lsub(frame: Frame, at: int) -> Response:
    return _listed(frame, at, lsub=True)


def _listed(frame: Frame, at: int, *, lsub: bool) -> Listed:
    """Read the name by hand: servers send it unquoted with spaces, tabs and brackets in it."""
    head = LIST_HEAD.match(frame.text, at)
    if not head:
        raise ParseError("LIST without attributes and delimiter")
    name, extended = _name(frame, head.end())
    if isinstance(name, Spool):
        raise ParseError("a folder name as large as a message")
    old_name, child_info = _extended(Frame(extended, frame.literals[1:]))
    attributes = frozenset(text_of(attribute).lower() for attribute in head[1].split())
    delimiter = head[3] or (unescape(head[2]) if head[2] else None)
    return Listed(name, delimiter, attributes, lsub, old_name, child_info)


def _name(frame: Frame, at: int) -> tuple[bytes | Spool, bytes]:
    """The name at `at`, and what follows it."""
    rest = frame.text[at:]
    if frame.literals:
        return frame.literals[0], rest[rest.find(b"\n") + 1 :]
    if quoted := QUOTED_NAME.match(rest):
        return unescape(quoted[1]), rest[quoted.end() :]
    begins = EXTENDED.search(rest)
    name = rest[: begins.start()] if begins else rest.rstrip(b" ")
    if not name:
        raise ParseError("LIST without a name")
    return name, rest[begins.start() :] if begins else b""


def _extended(frame: Frame) -> tuple[bytes | None, frozenset[str]]:
    """OLDNAME and CHILDINFO of RFC 9051; nothing if they are unreadable."""
    old_name, child_info = None, frozenset[str]()
    try:
        values = tokenize(frame)
    except ParseError:
        return None, child_info
    items = values[0] if values and isinstance(values[0], list) else []
    for key, value in zip(items[::2], items[1::2], strict=False):
        match key, value:
            case bytes(), [bytes(name)] if key.upper() == b"OLDNAME":
                old_name = name
            case bytes(), list() if key.upper() == b"CHILDINFO":
                child_info = frozenset(text_of(item).upper() for item in value)
    return old_name, child_info


def _status(frame: Frame, at: int) -> Response:
    match tokenize(frame, at):
        # Unquoted names with spaces come in pieces.
        case [*pieces, list(items)] if pieces and not any(isinstance(p, list | Spool) for p in pieces):
            name = b" ".join(b"NIL" if piece is None else piece for piece in pieces)
            pairs = zip(items[::2], items[1::2], strict=False)
            found = {text_of(key).upper(): _status_item(key, value) for key, value in pairs}
            return FolderStatus(name, found)
    raise ParseError("STATUS without a name and a list")


def _status_item(key: Any, value: Any) -> int | str | None:
    return object_id(value) if text_of(key).upper() == "MAILBOXID" else number(value)


def _namespace(frame: Frame, at: int) -> Response:
    match tokenize(frame, at):
        case [personal, other, shared, *_]:
            return Namespaces(_namespaces(personal), _namespaces(other), _namespaces(shared))
    raise ParseError("NAMESPACE without its three parts")


def _namespaces(values: Any) -> tuple[Namespace, ...]:
    found: list[Namespace] = []
    for value in values if isinstance(values, list) else ():
        match value:
            case [bytes(prefix), bytes(delimiter), *_]:
                found.append(Namespace(prefix, delimiter or None))
            case [bytes(prefix), None, *_]:
                found.append(Namespace(prefix, None))
    return tuple(found)


def _id(frame: Frame, at: int) -> Response:
    match tokenize(frame, at):
        case [list(items)]:
            pairs = zip(items[::2], items[1::2], strict=False)
            return ServerId({text_of(key).lower(): text_of(value) for key, value in pairs})
    return ServerId({})


def _search(frame: Frame, at: int) -> Response:
    raw, _, modseq = frame.text[at:].upper().partition(b"(MODSEQ")
    numbers = tuple(int(word) for word in raw.split() if word.isdigit() and len(word) <= 10)
    return Search(numbers, number(modseq.strip(b" )")) if modseq else None)


def _esearch(frame: Frame, at: int) -> Response:
    values = tokenize(frame, at)
    tag = None
    match values:
        case [[bytes(key), bytes(raw)], *rest] if key.upper() == b"TAG":
            tag, values = text_of(raw), rest
    by_uid = bool(values) and text_of(values[0]).upper() == "UID"
    items = values[1:] if by_uid else values
    found = {text_of(key).upper(): value for key, value in zip(items[::2], items[1::2], strict=False)}
    everything = found.get("ALL")
    return ESearch(
        tag,
        by_uid,
        UidSet.parse(everything) if isinstance(everything, bytes) else None,
        number(found.get("COUNT")),
        number(found.get("MIN")),
        number(found.get("MAX")),
        number(found.get("MODSEQ")),
    )


def _vanished(frame: Frame, at: int) -> Response:
    rest = frame.text[at:].strip()
    earlier = rest[:9].upper() == b"(EARLIER)"
    uids = UidSet.parse(rest[9:].strip() if earlier else rest)
    if uids is None:
        raise ParseError("VANISHED without UIDs")
    return Vanished(uids, earlier)


READERS: dict[str, Callable[[Frame, int], Response]] = {
    "CAPABILITY": _capability,
    "ENABLED": _enabled,
    "FLAGS": _flags,
    "LIST": _list,
    "XLIST": _list,
    "LSUB": _lsub,
    "STATUS": _status,
    "NAMESPACE": _namespace,
    "ID": _id,
    "SEARCH": _search,
    "ESEARCH": _esearch,
    "VANISHED": _vanished,
}
