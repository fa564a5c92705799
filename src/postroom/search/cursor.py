"""The place where a page of results ended, as an opaque text. Pure.

A cursor belongs to one query of one tenant: it holds a hash of both, so that it means nothing elsewhere. It
is not signed, because it grants nothing: whatever somebody makes up lists their own mail in an odd order.
"""

import base64
import binascii
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from math import isfinite
from typing import Any

from postroom.ids import MessageId, TenantId

from .model import BadCursor, Position

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LIMIT = 2**62


@dataclass(frozen=True, slots=True)
class Cursor:
    anchor: datetime
    total: int
    is_exact: bool
    passed: int
    """Matches in the windows before this one."""
    past: Position | None
    end: Position | None
    after: tuple[float, datetime, MessageId] | None


def fingerprint(tenant: TenantId, *question: object) -> str:
    """What tells one search from another."""
    return blake2b(repr((tenant, *question)).encode("utf-8", "replace"), digest_size=6).hexdigest()


def encode(cursor: Cursor, search: str) -> str:
    past, end = (place and (_micros(place[0]), place[1]) for place in (cursor.past, cursor.end))
    after = cursor.after and (cursor.after[0], _micros(cursor.after[1]), cursor.after[2])
    told = [cursor.total, cursor.is_exact, cursor.passed]
    content = json.dumps([search, _micros(cursor.anchor), *told, past, end, after], separators=(",", ":"))
    return base64.urlsafe_b64encode(content.encode()).decode().rstrip("=")


def decode(text: str, search: str) -> Cursor:
    """Raises BadCursor for what `encode` never made, or made for another search."""
    try:
        content = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        found, anchor, total, is_exact, passed, past, end, after = json.loads(content)
        if found != search:
            raise BadCursor("This cursor belongs to another query; start again without it.")
        return Cursor(
            _time(anchor),
            _whole(total),
            is_exact is True,
            _whole(passed),
            _position(past),
            _position(end),
            None if after is None else (_finite(after[0]), _time(after[1]), MessageId(_whole(after[2]))),
        )
    except (
        binascii.Error,
        ValueError,
        TypeError,
        IndexError,
        KeyError,
        OverflowError,
        RecursionError,
    ) as error:
        raise BadCursor("This is not a cursor; use `next` of the page before.") from error


def _micros(at: datetime) -> int:
    return (at - _EPOCH) // _MICROSECOND


def _time(micros: Any) -> datetime:
    return _EPOCH + timedelta(microseconds=_whole(micros))


def _position(place: Any) -> Position | None:
    return None if place is None else (_time(place[0]), MessageId(_whole(place[1])))


def _whole(number: Any) -> int:
    if type(number) is not int or abs(number) > _LIMIT:
        raise ValueError("not a number")
    return number


def _finite(number: Any) -> float:
    if type(number) not in (int, float) or not isfinite(number):
        raise ValueError("not a score")
    return float(number)
