"""Bytes that are stored, whole or a part of them, for whoever does not have them yet (RFC 9110, 13 and 14).

    has them already (If-None-Match)                  304
    wants one part (Range), of what it knows (If-Range)   206, or 416 where nothing lies in it
    anything else                                     200

Several parts at once, other units than bytes and nonsense are answered by the whole, as 14.2 allows.
"""

import re
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Header, Response
from starlette.exceptions import HTTPException

from postroom.http.pieces import streamed
from postroom.http.tags import unchanged

ONE = re.compile(r"bytes[ \t]*=[ \t,]*([0-9]*)-([0-9]*)[ \t,]*", re.IGNORECASE)
LONGEST = 18
"""Digits of a number that is read; one with more lies behind the end of anything."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a request says about what it has and wants."""

    if_none_match: str | None = None
    range: str | None = None
    if_range: str | None = None


async def _conditions(
    if_none_match: Annotated[str | None, Header(include_in_schema=False)] = None,
    range_: Annotated[
        str | None, Header(alias="Range", description="`bytes=0-999`: one part of it (RFC 9110, 14.2).")
    ] = None,
    if_range: Annotated[str | None, Header(include_in_schema=False)] = None,
) -> Conditions:
    return Conditions(if_none_match, range_, if_range)


Conditional = Annotated[Conditions, Depends(_conditions)]


def answers(media_type: str) -> dict[int | str, dict[str, Any]]:
    """What `sent` can answer, for the document of a route."""
    content = {media_type: {"schema": {"type": "string", "format": "binary"}}}
    return {200: {"content": content}, 206: {"content": content}}


@dataclass(frozen=True, slots=True)
class Stored:
    """What there is. `etag` is a strong one: it names these very bytes."""

    size: int
    etag: str
    media_type: str
    headers: dict[str, str]
    read: Callable[[int, int], AsyncGenerator[bytes]]
    """Gives the bytes [first, past)."""


async def sent(stored: Stored, asked: Conditions) -> Response:
    """What answers these conditions. Raises what `stored.read` raises at its first piece."""
    headers = {**stored.headers, "ETag": stored.etag, "Accept-Ranges": "bytes"}
    if unchanged(stored.etag, asked.if_none_match):
        return Response(status_code=304, headers=headers)
    first, past, status = 0, stored.size, 200
    if asked.if_range is None or asked.if_range.strip() == stored.etag:
        part = wanted(asked.range, stored.size)
        if part is not None:
            (first, past), status = part, 206
            headers["Content-Range"] = f"bytes {first}-{past - 1}/{stored.size}"
    headers["Content-Length"] = str(past - first)
    return await streamed(stored.read(first, past), stored.media_type, headers, status)


def wanted(range: str | None, size: int) -> tuple[int, int] | None:
    """The part [first, past) that a Range header asks for, None for all of it.

    Raises an HTTPException of 416 where no byte lies in it.
    """
    asked = ONE.fullmatch(range or "")
    if asked is None or not (asked[1] or asked[2]):
        return None
    first, last = (_number(digits) if digits else None for digits in asked.groups())
    if first is None:
        if last and size == 0:
            return None  # the last so many of none are none, which no Content-Range can say
        first, past = max(size - (last or 0), 0), size
    elif last is not None and last < first:
        return None
    else:
        past = size if last is None else min(last + 1, size)
    if first >= past:
        raise HTTPException(416, headers={"Content-Range": f"bytes */{size}"})
    return first, past


def _number(digits: str) -> int:
    digits = digits.lstrip("0")
    return int(digits[:LONGEST] or 0) if len(digits) <= LONGEST else 10**LONGEST
