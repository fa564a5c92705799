"""Dates, as they should be and as they are."""

from datetime import UTC, datetime

import pytest

from postroom.mime.dates import parse

TEN = datetime(2023, 11, 20, 10, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    "value",
    [
        "Mon, 20 Nov 2023 10:00:00 +0000",
        "Mon, 20 Nov 2023 11:00:00 +0100",
        "20 Nov 2023 05:30:00 -0430",
        "Mon, 20 Nov 23 10:00 GMT",
        "Mon, 20 Nov 2023 05:00:00 EST",
        "Mon, 20 Nov 2023 11:00:00 CET",
        "Mon,  20  NOV  2023 10:00:00 +0000 (UTC)",
        "Mon, 20 Nov (a comment (in one)) 2023 10:00:00 Z",
        "Monday, 20-Nov-23 10:00:00 UTC",
        "Mon Nov 20 10:00:00 2023 +0000",
        "Mon Nov 20 11:00:00 CET 2023",
        "2023-11-20T10:00:00Z",
        "2023-11-20 11:00:00.123+01:00",
        "November 20, 2023 10:00:00 AM GMT",
        "Mon, 20 Nov 2023 10.00.00 +0000",
        "Mon, 20 Nov 2023 18:00:00 GMT+0800",
        "garbage before 20 Nov 2023 10:00:00 +0000 and after",
    ],
)
def test_a_date_is_understood(value: str) -> None:
    assert parse(value, set()) == TEN


@pytest.mark.parametrize(
    ("value", "defect"),
    [
        ("", "date.unreadable"),
        ("yesterday", "date.unreadable"),
        ("Mon, 32 Nov 2023 10:00:00 +0000", "date.unreadable"),
        ("Mon, 20 Nov 2023 25:00:00 +0000", "date.unreadable"),
        ("Mon, 20 Foo 2023 10:00:00 +0000", "date.unreadable"),
        ("Mon, 20 Nov 0001 00:00:00 +1400", "date.absurd"),
        ("Mon, 20 Nov 1066 10:00:00 +0000", "date.absurd"),
        ("Mon, 20 Nov 9999 10:00:00 +0000", "date.absurd"),
        ("Mon, 20 Nov 20233 10:00:00 +0000", "date.absurd"),
    ],
)
def test_what_is_no_date_is_none_with_a_reason(value: str, defect: str) -> None:
    defects: set[str] = set()

    assert parse(value, defects) is None
    assert defect in defects


@pytest.mark.parametrize("zone", ["", " FOO", " +9999"])
def test_without_a_zone_it_is_taken_for_utc(zone: str) -> None:
    defects: set[str] = set()

    assert parse(f"Mon, 20 Nov 2023 10:00:00{zone}", defects) == TEN
    assert defects == {"date.no_zone"}
