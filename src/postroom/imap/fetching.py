"""Read FETCH: by far the most frequent response, and the one that servers get wrong most often.

Three ways, from quick to patient: patterns for flag scans and whole messages; the tokens in pairs; and when
an item is broken (BODYSTRUCTURE and ENVELOPE come in twenty wrong forms), what can be trusted around
it: what stood before it, literals with their section, and plain items at the very end. Text in the
middle is not searched for items, because a sender's file name could pose as one.
"""

import re
from collections.abc import Iterable
from typing import Any

from .framing import Frame, Spool
from .responses import Fetch, FetchValue, number
from .tokens import ParseError, flag_set, flags_of, tokenize
from .uids import LARGEST

SIMPLE = re.compile(
    rb"\* (\d{1,10}) FETCH \("
    rb'(?:(?:UID (\d{1,10})|FLAGS \(([^()"\[{\r]*)\)|MODSEQ \((\d{1,20})\))(?: |(?=\))))+\)\Z'
)
MESSAGE = re.compile(
    rb"\* (\d{1,10}) FETCH \("
    rb'(?:(?:UID (\d{1,10})|FLAGS \(([^()"\[{\r]*)\)|MODSEQ \((\d{1,20})\)'
    rb'|INTERNALDATE "([^"\\\r]*)"|RFC822\.SIZE (\d{1,20})|(BODY\[[A-Z0-9.]*\]) \{\d+\}\r\n) ?)+\)\Z'
)
SECTION_LITERAL = re.compile(
    rb"[ (]((?:BODY|BINARY)\[[^\[\]\r\n]*\](?:<\d+>)?|RFC822(?:\.HEADER|\.TEXT)?) +~?\{\d+\+?\}\r\n",
    re.IGNORECASE,
)
ANNOUNCED = re.compile(rb"\{\d+\+?\}\r\n")
LAST_ITEMS = re.compile(
    rb'((?: (?:UID \d+|RFC822\.SIZE \d+|MODSEQ \(\d+\)|FLAGS \([^()"]*\)|INTERNALDATE "[^"]*"))+) *\)\Z',
    re.IGNORECASE,
)
MAX_DEFECTS = 8  # that are told of one response
AT_MOST_AT_END = 4096  # bytes in which those last items must stand


def simple(match: re.Match[bytes]) -> Fetch:
    """A match of `SIMPLE`."""
    seq, uid, flags, modseq = match.groups()
    return Fetch(
        int(seq),
        _uid(uid) if uid is not None else None,
        flag_set(flags) if flags is not None else None,
        int(modseq) if modseq is not None else None,
    )


def message(match: re.Match[bytes], literal: bytes | Spool) -> Fetch:
    """A match of `MESSAGE`, in a frame with this one literal."""
    seq, uid, flags, modseq, date, size, section = match.groups()
    attributes: dict[str, FetchValue] = {}
    if date is not None:
        attributes["INTERNALDATE"] = date
    if size is not None:
        attributes["RFC822.SIZE"] = size
    if section is not None:
        attributes[section.decode()] = literal
    return Fetch(
        int(seq),
        _uid(uid),
        flag_set(flags) if flags is not None else None,
        int(modseq) if modseq is not None else None,
        attributes,
    )


def read(frame: Frame, seq: int, at: int) -> Fetch:
    """Everything readable in the items that begin at `at`; never raises."""
    try:
        values = tokenize(frame, at)
        broken = None if len(values) == 1 else "more than one list of items"
    except ParseError as error:
        values, broken = error.values, str(error)
    items = values[0] if values and isinstance(values[0], list) else []
    pairs, defects = _pairs(items[:-1] if broken else items)
    if broken is None:
        return _fetch(seq, pairs, defects)
    return _fetch(seq, {**_from_the_end(frame), **_from_literals(frame), **pairs}, [broken])


def _pairs(items: list[Any]) -> tuple[dict[str, Any], list[str]]:
    """Names and values. The first of a name counts: UID stands in front of what a sender may have written."""
    found: dict[str, Any] = {}
    defects: list[str] = []
    at = 0
    while at < len(items):
        key = items[at]
        if not isinstance(key, bytes):
            defects.append("an item without a name")
            at += 1
            continue
        name = key.decode("utf-8", "replace").upper()
        if at + 1 == len(items):
            defects.append(f"{name} without a value")
        elif name in found:
            defects.append(f"{name} is said twice")
        else:
            found[name] = items[at + 1]
        at += 2
    return found, defects[:MAX_DEFECTS]


def _from_literals(frame: Frame) -> dict[str, Any]:
    """Sections, each by the words before its announcement."""
    found: dict[str, Any] = {}
    sections = {match.end(): match[1] for match in SECTION_LITERAL.finditer(frame.text)}
    for announced, literal in zip(ANNOUNCED.finditer(frame.text), frame.literals, strict=False):
        if announced.end() in sections:
            found.setdefault(sections[announced.end()].decode("utf-8", "replace").upper(), literal)
    return found


def _from_the_end(frame: Frame) -> dict[str, Any]:
    tail = frame.text[-AT_MOST_AT_END:]
    match = LAST_ITEMS.search(tail)
    if not match:
        return {}
    return _pairs(tokenize(Frame(match[1])))[0]


def _fetch(seq: int, found: dict[str, Any], defects: Iterable[str]) -> Fetch:
    uid = _uid(found.pop("UID", None))
    flags = found.pop("FLAGS", None)
    modseq: FetchValue = found.pop("MODSEQ", None)
    if isinstance(modseq, list):
        modseq = modseq[0] if modseq else None
    return Fetch(
        seq,
        uid,
        flags_of(flags) if isinstance(flags, list) else None,
        number(modseq),
        found,
        tuple(defects),
    )


def _uid(value: Any) -> int | None:
    """UID 0 and numbers over 32 bits name no message."""
    uid = number(value)
    return uid if uid and uid <= LARGEST else None
