"""What somebody makes up is no cursor."""

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.ids import MessageId
from postroom.search.cursor import Cursor, decode, encode
from postroom.search.model import BadCursor

AT = datetime(2026, 3, 1, 12, 30, 0, 250, tzinfo=UTC)
GOOD = ["here", 0, 3, True, 0, [0, 1], [0, 2], [0.5, 0, 3]]


def written(content: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


@pytest.mark.parametrize("end", [None, (AT, MessageId(7))])
@pytest.mark.parametrize("after", [None, (0.25, AT, MessageId(9))])
def test_a_cursor_comes_back_as_it_was_given_out(end: Any, after: Any) -> None:
    cursor = Cursor(AT, 12, is_exact=True, passed=5, past=None, end=end, after=after)

    assert decode(encode(cursor, "here"), "here") == cursor


@pytest.mark.parametrize("place", [1, 2, 4, 5, 6, 7])
@pytest.mark.parametrize(
    "lie", ["1", 1.5, True, 2**70, -(2**70), [], {}, [1], ["x", 1], [0, 2**70], [1e400, 0, 1]]
)
def test_one_with_another_thing_in_its_place_is_refused(place: int, lie: Any) -> None:
    with pytest.raises(BadCursor):
        decode(written([*GOOD[:place], lie, *GOOD[place + 1 :]]), "here")


def test_one_of_another_search_is_refused() -> None:
    assert decode(written(GOOD), "here").total == 3
    with pytest.raises(BadCursor, match="another query"):
        decode(written(GOOD), "elsewhere")


@given(st.text() | st.binary().map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(BadCursor):
        decode(text, "here")
