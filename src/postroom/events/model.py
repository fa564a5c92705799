"""An entry of the log, before and after it is written; a place in it; a seal of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NewType, TypeAlias

from postroom import errors
from postroom.ids import AccountId, TenantId

Stream = NewType("Stream", int)
TENANT = Stream(0)  # what belongs to no account

APPENDED = "events"
"""The hint that something was appended to the log of a tenant, to be told after the commit."""


def stream_of(account: AccountId) -> Stream:
    """Each account has a stream of its own, so that no account's commits wait for another's."""
    return Stream(account)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. `data` holds public ids and facts about them, never content."""

    kind: str  # the room, a dot, the past tense: mail.added; see `kinds`
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Entry:
    """An event as it stands in the log."""

    tenant: TenantId
    stream: Stream
    seq: int  # 1, 2, 3 ... without a gap
    position: int  # among the entries of all streams; see `feed`
    at: datetime
    kind: str
    body: str  # JSON, exactly as hashed
    hash: bytes


Place: TypeAlias = tuple[int, int, int]
"""Position, stream, seq: the order of feeds."""


@dataclass(frozen=True, slots=True)
class Head:
    """Where a stream ends."""

    stream: Stream
    seq: int
    position: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class Seal:
    """The heads of all of a tenant's streams at one moment, signed. `seal` says what stands in the body."""

    number: int  # 1, 2, 3 ... without a gap
    body: str  # JSON, exactly as signed
    signature: bytes


@dataclass(frozen=True, slots=True)
class Removed:
    """The last entry of a stream that was removed, because it was older than the log is kept."""

    stream: Stream
    seq: int
    position: int
    hash: bytes
    at: datetime


@dataclass(frozen=True, slots=True)
class Consumer:
    """A reader of the log, and how far it has come."""

    name: str
    cursor: str
    created_at: datetime
    moved_at: datetime


class ChainBroken(errors.Broken):
    """The log was altered: an entry's hash does not follow from the one before it."""

    code = "events.chain_broken"


class BadCursor(errors.Invalid):
    """What was given as a cursor is none."""

    code = "events.bad_cursor"


class PlaceLost(errors.Conflict):
    """The entry that a cursor stands behind is not in the log, or is another than it was."""

    code = "events.place_lost"


class PlaceRemoved(errors.Conflict):
    """Behind the cursor stood entries that were removed, because they were older than the log is kept."""

    code = "events.place_removed"


class NoSuchConsumer(errors.NotFound):
    code = "events.consumer_not_found"


class ConsumerMoved(errors.Conflict):
    """It does not stand where whoever moves it believes; `cursor` says where."""

    code = "events.consumer_moved"


class TooManyConsumers(errors.Conflict):
    code = "events.too_many_consumers"


class NoSuchType(errors.Invalid):
    """A filter names a kind that no event is of."""

    code = "events.no_such_type"


class ExportBusy(errors.TryLater):
    """As many exports are being sent as may be at a time."""

    code = "events.export_busy"


class BadSeal(errors.Invalid):
    """A file that should hold a seal holds none."""

    code = "events.bad_seal"
