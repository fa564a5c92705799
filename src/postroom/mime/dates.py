"""The Date header (RFC 5322, 3.3 and 4.3) and what senders put there instead."""

import re
from datetime import UTC, datetime, timedelta

MONTH_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
MONTHS = {name: number for number, name in enumerate(MONTH_NAMES, start=1)}
ZONES = {  # minutes east of Greenwich
    **{"ut": 0, "utc": 0, "gmt": 0, "z": 0, "wet": 0, "west": 60, "bst": 60, "cet": 60, "met": 60},
    **{
        "cest": 120,
        "mest": 120,
        "mesz": 120,
        "mez": 60,
        "eet": 120,
        "eest": 180,
        "sast": 120,
        "msk": 180,
        "msd": 240,
    },
    **{"ist": 330, "hkt": 480, "sgt": 480, "awst": 480, "jst": 540, "kst": 540, "aest": 600, "aedt": 660},
    **{"nzst": 720, "nzdt": 780, "brt": -180, "nst": -210, "ndt": -150, "ast": -240, "adt": -180},
    **{
        "est": -300,
        "edt": -240,
        "cst": -360,
        "cdt": -300,
        "mst": -420,
        "mdt": -360,
        "pst": -480,
        "pdt": -420,
    },
    **{"akst": -540, "akdt": -480, "hst": -600},
}
# Mon, 20 Nov 2023 10:00:00 +0100, as nearly everybody writes it.
USUAL = re.compile(
    r"(?:[A-Za-z]{3}, )?(\d{1,2}) ([A-Za-z]{3}) (\d{4}) (\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)(?!\d)",
    re.ASCII,
)
TIME = (
    r"(?P<hour>\d{1,2})[:.](?P<minute>\d{1,2})(?:[:.](?P<second>\d{1,2})(?:[.,]\d{1,9})?)?"
    r"\s{0,3}(?P<half>[ap]m\b)?"
)
ZONE = r"\s{0,9}\(?(?P<zone>[+-]\s?\d{1,2}:?\d{2}|[a-z]{1,5}(?:(?=[+-])(?P<offset>[+-]\d{1,2}:?\d{2}))?)?"
FORMS = tuple(
    re.compile(form, re.IGNORECASE | re.ASCII)
    for form in (
        # Mon, 20 Nov 2023 10:00:00 +0100
        r"(?<!\d)(?P<day>\d{1,2})[\s.-]{1,9}(?P<month>[a-z]{3})[a-z]{0,9}[\s.,-]{1,9}(?P<year>\d{2,5})(?!\d)[\s,]{1,9}(?:at\s)?"
        + TIME
        + ZONE,
        # Mon Nov 20 10:00:00 [CET] 2023
        r"(?P<month>[a-z]{3})[a-z]{0,9}[\s,]{1,9}(?P<day>\d{1,2})[\s,]{1,9}"
        + TIME
        + r"\s{1,9}(?:(?P<zone>[a-z]{1,5}|[+-]\d{4})\s{1,9})?(?P<year>\d{4})(?!\d)(?:\s(?P<late>[+-]\d{4}))?",
        # November 20, 2023 10:00:00 +0100
        r"(?P<month>[a-z]{3})[a-z]{0,9}[\s.]{1,9}(?P<day>\d{1,2})[\s,]{1,9}(?P<year>\d{4})(?!\d)[\s,]{1,9}"
        + TIME
        + ZONE,
        # 2023-11-20T10:00:00+01:00
        r"(?<!\d)(?P<year>\d{4})[-/](?P<month>\d{1,2})[-/](?P<day>\d{1,2})[t\s]{1,3}" + TIME + ZONE,
    )
)
COMMENT = re.compile(r"\([^()]*+\)")
LONGEST = 200  # characters that are looked at
EARLIEST, LATEST = 1970, 2100


def parse(value: str, defects: set[str]) -> datetime | None:
    """`value` as an instant in UTC, or None and a defect."""
    usual = USUAL.match(value)
    if usual is not None:
        day, name, year, hour, minute, second, sign, hours, minutes = usual.groups()
        east = int(hours) * 60 + int(minutes)
        try:
            local = datetime(
                int(year), MONTHS.get(name.lower(), 0), int(day), int(hour), int(minute), int(second), 0, UTC
            )
            moment = local - timedelta(minutes=-east if sign == "-" else east)
        except (ValueError, OverflowError):
            moment = None
        if moment is not None and EARLIEST < moment.year < LATEST and east < 24 * 60:
            return moment
    return _unusual(value[:LONGEST], defects)


def _unusual(value: str, defects: set[str]) -> datetime | None:
    while "(" in value and (bare := COMMENT.sub(" ", value)) != value:
        value = bare
    match = next((found for form in FORMS if (found := form.search(value))), None)
    if match is None:
        defects.add("date.unreadable")
        return None
    parts = match.groupdict()
    year = _year(parts["year"])
    month = parts["month"].lower()
    number = int(month) if month.isdigit() else MONTHS.get(month, 0)
    offset = _offset(parts, defects)
    try:
        local = datetime(
            min(year, 9999), number, int(parts["day"]), _hour(parts), int(parts["minute"]),
            min(int(parts["second"] or 0), 59), tzinfo=UTC,
        )  # fmt: skip
        moment = local - timedelta(minutes=offset)
    except (ValueError, OverflowError):
        defects.add("date.unreadable")
        return None
    if not EARLIEST <= moment.year <= LATEST:
        defects.add("date.absurd")
        return None
    return moment


def _year(digits: str) -> int:
    """RFC 5322, 4.3: two digits are 1950 to 2049, three count from 1900."""
    year = int(digits)
    if len(digits) == 2:
        return year + (2000 if year < 50 else 1900)
    return year + 1900 if len(digits) == 3 else year


def _hour(parts: dict[str, str | None]) -> int:
    hour, half = int(parts["hour"] or 0), (parts["half"] or "").lower()
    if half and 1 <= hour <= 12:
        return hour % 12 + (12 if half == "pm" else 0)
    return hour


def _offset(parts: dict[str, str | None], defects: set[str]) -> int:
    """Minutes east of Greenwich. Unknown letters mean nothing known, so UTC (RFC 5322, 4.3)."""
    zone = (parts.get("late") or parts.get("offset") or parts["zone"] or "").lower()
    if zone[:1] in ("+", "-"):
        digits = zone[1:].replace(":", "").strip().zfill(4)
        minutes = int(digits[:2]) * 60 + int(digits[2:4])
        if minutes >= 24 * 60:
            defects.add("date.no_zone")
            return 0
        return -minutes if zone[0] == "-" else minutes
    if zone not in ZONES:
        defects.add("date.no_zone")
    return ZONES.get(zone, 0)
