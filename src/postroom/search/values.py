"""Dates, spans and sizes as people write them in a query. Errors are ValueErrors with a clause for people."""

import re
from datetime import UTC, datetime, timedelta

EARLIEST = datetime(1, 1, 2, tzinfo=UTC)
LATEST = datetime(9999, 12, 30, tzinfo=UTC)
MAX_SIZE = 2**62

_DATE = re.compile(r"([0-9]{4})(?:([-/.])([0-9]{1,2})(?:\2([0-9]{1,2}))?)?")
_SPAN = re.compile(r"([0-9]{1,9})(h|d|w|m|y)", re.IGNORECASE)
_SIZE = re.compile(r"([0-9]{1,18})(?:\.([0-9]{1,3}))?([kmgt]?)i?b?", re.IGNORECASE)
_HOURS = {"h": 1, "d": 24, "w": 7 * 24, "m": 30 * 24, "y": 365 * 24}
_SCALE = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def day(value: str, now: datetime) -> datetime:
    """The first moment of a day, month or year (`2024-05-17`, `2024/05`, `2024`, `today`, `yesterday`)."""
    return days(value, now)[0]


def days(value: str, now: datetime) -> tuple[datetime, datetime]:
    """The first moment of it, and the first after it, in the time zone of `now`."""
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if value.lower() == "today":
        return _utc(today), _utc(today + timedelta(days=1))
    if value.lower() == "yesterday":
        return _utc(today - timedelta(days=1)), _utc(today)
    match = _DATE.fullmatch(value)
    if match is None:
        raise ValueError("write a date as YYYY-MM-DD")
    year, _, month, date = match.groups()
    try:
        first = today.replace(year=int(year), month=int(month or 1), day=int(date or 1))
    except ValueError as error:
        raise ValueError("there is no such day") from error
    length = timedelta(days=1 if date else 31 if month else 366)
    if first.year >= LATEST.year:
        return _utc(first), LATEST
    past = first + length
    if not date:
        past = past.replace(day=1) if month else past.replace(day=1, month=1)
    return _utc(first), _utc(past)


def span(value: str, now: datetime) -> datetime:
    """The moment that long ago: `12h`, `7d`, `2w`, `6m` (of 30 days), `1y`."""
    match = _SPAN.fullmatch(value)
    if match is None:
        raise ValueError("write a time as 12h, 7d, 2w, 6m or 1y")
    hours = int(match[1]) * _HOURS[match[2].lower()]
    elapsed = now.astimezone(UTC) - EARLIEST
    return EARLIEST if hours >= elapsed / timedelta(hours=1) else _utc(now) - timedelta(hours=hours)


def volume(value: str) -> int:
    """Bytes: `500`, `20k`, `5M`, `1.5GB`."""
    match = _SIZE.fullmatch(value)
    if match is None:
        raise ValueError("write a size as 500, 20K, 5M or 1.5G")
    scale = _SCALE[match[3].lower()]
    thousandths = int((match[2] or "").ljust(3, "0"))
    return min(int(match[1]) * scale + thousandths * scale // 1000, MAX_SIZE)


def _utc(at: datetime) -> datetime:
    """In UTC, and inside the years that Python has."""
    if at.year <= EARLIEST.year:
        return EARLIEST
    return LATEST if at.year >= LATEST.year else at.astimezone(UTC)
