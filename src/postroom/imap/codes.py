"""Read response codes: what stands in brackets at the start of a status (RFC 9051, 7.1)."""

import re
from collections.abc import Callable
from functools import lru_cache

from .framing import Frame
from .responses import AppendUid, Code, CodeValue, CopyUid, number, object_id
from .tokens import ParseError, flags_of, tokenize
from .uids import UidSet

# A code ends at the first bracket that is in no list and no string: flags and labels may hold one.
CODE = re.compile(rb'\[([^\s\]"(]++)(?: ((?:\([^()]*+\)|"(?:[^"\\]|\\.)*+"|[^\]"(])*+))?\] ?', re.DOTALL)
MAX_CACHED = 2048  # bytes of capabilities; what servers can make us remember is bounded
CARELESS_CODE = re.compile(rb"\[([^\s\]]++)(?: ([^\]]*+))?\] ?")


def read(raw: bytes) -> tuple[Code | None, bytes]:
    """The code at the start of `raw`, if there is one, and the text after it."""
    match = CODE.match(raw) or CARELESS_CODE.match(raw)
    if not match:
        return None, raw
    name = match[1].decode("ascii", "replace").upper()
    reader = READERS.get(name, _text)
    return Code(name, reader(match[2] or b"")), raw[match.end() :]


def _text(raw: bytes) -> CodeValue:
    return raw.decode("utf-8", "replace") or None


def _number(raw: bytes) -> CodeValue:
    return number(raw.strip())


def _flags(raw: bytes) -> CodeValue:
    try:
        values = tokenize(Frame(raw))
    except ParseError:
        return None
    return flags_of(values[0]) if values and isinstance(values[0], list) else None


def capabilities(raw: bytes) -> frozenset[str]:
    """Names in upper case. `LITERAL +` and other damage makes names that nobody asks for: absent.

    Thousands of sessions with one server share them: they are 3 KB.
    """
    return _cached_capabilities(raw) if len(raw) <= MAX_CACHED else _capabilities(raw)


@lru_cache(maxsize=1024)
def _cached_capabilities(raw: bytes) -> frozenset[str]:
    return _capabilities(raw)


def _capabilities(raw: bytes) -> frozenset[str]:
    return frozenset(raw.decode("ascii", "replace").upper().split())


def _append_uid(raw: bytes) -> CodeValue:
    match [*raw.split()]:
        case [validity, uids] if (known := UidSet.parse(uids)) and (number(validity)):
            return AppendUid(int(validity), known)
    return None


def _copy_uid(raw: bytes) -> CodeValue:
    match [*raw.split()]:
        case [validity, source, destination] if number(validity):
            old, new = UidSet.parse(source), UidSet.parse(destination)
            return CopyUid(int(validity), old, new) if old and new else None
    return None


def _object_id(raw: bytes) -> CodeValue:
    return object_id(raw.strip(b"() "))


READERS: dict[str, Callable[[bytes], CodeValue]] = {
    "UIDVALIDITY": _number,
    "UIDNEXT": _number,
    "HIGHESTMODSEQ": _number,
    "UNSEEN": _number,
    "APPENDLIMIT": _number,
    "MAXCONVERTMESSAGES": _number,
    "PERMANENTFLAGS": _flags,
    "CAPABILITY": capabilities,
    "APPENDUID": _append_uid,
    "COPYUID": _copy_uid,
    "MODIFIED": UidSet.parse,
    "MAILBOXID": _object_id,
}
