"""Dates as IMAP writes them: `17-Jul-1996 02:44:25 -0700` (RFC 9051, `date-time`)."""

import re
from datetime import UTC, date, datetime, timedelta, timezone

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
NUMBERS = {name.upper().encode(): number for number, name in enumerate(MONTHS, 1)}
DATE_TIME = re.compile(
    rb"\s*(\d{1,2})-([A-Za-z]{3})-(\d{4}) (\d\d):(\d\d):(\d\d)(?: ([+-])(\d\d)(\d\d))?\s*\Z"
)


def read(raw: bytes) -> datetime | None:
    """An aware UTC time; None if `raw` is not a date that exists. Without a zone it is taken as UTC."""
    match = DATE_TIME.match(raw)
    month = NUMBERS.get(match[2].upper()) if match else None
    if not match or not month:
        return None
    offset = timedelta(hours=int(match[8] or 0), minutes=int(match[9] or 0))
    zone = timezone(-offset if match[7] == b"-" else offset) if offset < timedelta(hours=24) else UTC
    day, year, hour, minute, second = (int(match[group]) for group in (1, 3, 4, 5, 6))
    try:
        return datetime(year, month, day, hour, minute, second, tzinfo=zone).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def write(moment: datetime) -> bytes:
    """For APPEND; `moment` must be aware."""
    utc = moment.astimezone(UTC)
    return f"{utc.day:02}-{MONTHS[utc.month - 1]}-{utc.year:04} {utc:%H:%M:%S} +0000".encode()


def write_day(day: date) -> str:
    """For SEARCH SINCE and the like."""
    return f"{day.day}-{MONTHS[day.month - 1]}-{day.year:04}"
