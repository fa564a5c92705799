"""An entry of the log, before and after it is written."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NewType

from postroom import errors
from postroom.ids import AccountId

Stream = NewType("Stream", int)
TENANT = Stream(0)  # what belongs to no account


def stream_of(account: AccountId) -> Stream:
    """Each account has a stream of its own, so that no account's commits wait for another's."""
    return Stream(account)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. `data` holds public ids and facts about them, never content."""

    kind: str  # the room, a dot, the past tense: mail.added
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Entry:
    """An event as it stands in the log."""

    stream: Stream
    seq: int  # 1, 2, 3 ... without a gap
    at: datetime
    kind: str
    body: str  # JSON, exactly as hashed
    hash: bytes


class ChainBroken(errors.Broken):
    """The log was altered: an entry's hash does not follow from the one before it."""

    code = "events.chain_broken"
