"""Decide what a sync has to do. Pure: no socket, no database, no clock.

way(cursor, status)          what the folder needs
  NOTHING   the server's numbers prove that the copy is equal
  CHANGES   the server can tell what changed since the cursor
  COMPARE   it cannot: list everything, and scan all flags
  AFRESH    every number we know is worthless (RFC 9051, 2.3.1.1), or we know none

compare(stored, listed)             plan(known, seen)
          stored      not stored              known          not known
listed    -           fetch         seen      flag (if new)  fetch, newest first
not       remove      -
"""

from array import array
from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

from postroom.providers.model import FolderStatus, RemoteItem

from .model import Cursor

DOUBTFUL_COUNT = 100
DOUBTFUL_SHARE = 0.05
PIECE = 1 << 14  # uids that are compared at a time


class Way(Enum):
    NOTHING = auto()
    CHANGES = auto()
    COMPARE = auto()
    AFRESH = auto()


def way(cursor: Cursor | None, status: FolderStatus) -> Way:
    """What a folder needs, given how far its copy goes and what the server says of it now.

    A modseq is a hint: one that is missing or went back proves nothing (RFC 7162, 3.1.2.2), and neither do
    equal counts without one, for flags may have changed.
    """
    if cursor is None or (status.validity and status.validity != cursor.validity):
        return Way.AFRESH
    if not status.validity or not status.modseq or not cursor.modseq or status.modseq < cursor.modseq:
        return Way.COMPARE
    if status.modseq == cursor.modseq:
        return Way.NOTHING if is_same_mail(cursor, status) else Way.COMPARE
    return Way.CHANGES


def is_same_mail(cursor: Cursor, status: FolderStatus) -> bool:
    """Whether no message came, for each takes a new number, and then none has gone (RFC 9051, 2.3.1.1)."""
    return (status.uid_next, status.messages) == (cursor.uid_next, cursor.messages)


@dataclass(frozen=True, slots=True)
class Difference:
    """All ascending."""

    missing: Sequence[int]  # the server has them, the copy has not
    extra: Sequence[int]  # the copy has them, the server has not
    both: Sequence[int]


def compare(stored: Sequence[int], listed: Sequence[int]) -> Difference:
    """Compare what is stored with a complete listing, both ascending; a piece of each at a time."""
    missing, extra, both = array("I"), array("I"), array("I")
    ours, theirs = 0, 0
    while ours < len(stored) and theirs < len(listed):
        end = min(stored[min(ours + PIECE, len(stored)) - 1], listed[min(theirs + PIECE, len(listed)) - 1])
        ours_end = bisect_right(stored, end, ours, min(ours + PIECE, len(stored)))
        theirs_end = bisect_right(listed, end, theirs, min(theirs + PIECE, len(listed)))
        here, there = stored[ours:ours_end], listed[theirs:theirs_end]
        if here == there:
            both.extend(here)
        else:
            known, seen = frozenset(here), frozenset(there)
            missing.extend(uid for uid in there if uid not in known)
            extra.extend(uid for uid in here if uid not in seen)
            both.extend(uid for uid in here if uid in seen)
        ours, theirs = ours_end, theirs_end
    extra.extend(stored[ours:])
    missing.extend(listed[theirs:])
    return Difference(missing, extra, both)


def is_doubtful(removed: int, stored: int) -> bool:
    """Whether so much has vanished that the server must say so twice before we believe it."""
    return removed > DOUBTFUL_COUNT or removed > stored * DOUBTFUL_SHARE


@dataclass(frozen=True, slots=True)
class Plan:
    fetch: Sequence[RemoteItem] = ()
    flag: Mapping[int, frozenset[str]] = field(default_factory=dict)


def plan(known: Mapping[int, frozenset[str]], seen: Sequence[RemoteItem], skip: Collection[int] = ()) -> Plan:
    """What to fetch and which flags to change, for the messages in `seen`.

    An item without flags changes none: left out is not empty. Those in `skip` are parked.
    """
    fetch = [item for item in seen if item.uid not in known and item.uid not in skip]
    fetch.sort(key=lambda item: item.uid, reverse=True)
    return Plan(fetch, changed(known, {item.uid: item.flags for item in seen if item.flags is not None}))


def changed(
    known: Mapping[int, frozenset[str]], now: Mapping[int, frozenset[str]]
) -> dict[int, frozenset[str]]:
    """The flags in `now` that differ from those of messages that we know. `\\Recent` is nobody's flag."""
    clean = {uid: flags - {"\\Recent"} for uid, flags in now.items() if uid in known}
    return {uid: flags for uid, flags in clean.items() if flags != known[uid]}
