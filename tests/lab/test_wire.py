"""What clients write is read as they meant it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postroom.lab.names import decode_name, encode_name, matcher
from postroom.lab.wire import Misread, compressed, numbers, parse, quoted


@given(st.text(st.characters(codec="utf-8")))
@settings(max_examples=100, deadline=None)
def test_a_name_survives_modified_utf_7(name: str) -> None:
    encoded = encode_name(name)

    assert encoded.isascii()
    assert decode_name(encoded) == name


def test_names_are_encoded_as_the_rfc_shows() -> None:
    assert encode_name("~peter/mail/台北/日本語") == "~peter/mail/&U,BTFw-/&ZeVnLIqe-"
    assert decode_name("&not valid!-") == "&not valid!-"


@given(st.sets(st.integers(1, 60)))
@settings(max_examples=100, deadline=None)
def test_a_set_of_numbers_survives_being_written(members: set[int]) -> None:
    ordered = sorted(members)

    assert numbers(compressed(ordered), ordered) == ordered if ordered else compressed(ordered) == ""


def test_a_star_is_the_last_number_even_when_it_is_below_the_first() -> None:
    assert numbers("9:*", [2, 4, 6]) == [6]
    assert numbers("3:5,*", [2, 4, 6]) == [4, 6]
    assert numbers("1:*", []) == []


@given(st.text(st.characters(codec="utf-8"), max_size=40))
@settings(max_examples=100, deadline=None)
def test_a_string_survives_quoting(text: str) -> None:
    command = parse(b"a LIST " + quoted(text) + b"\r\n")

    assert command.arguments == [text.encode()]


def test_brackets_keep_an_item_together() -> None:
    command = parse(b'a UID FETCH 1:* (FLAGS BODY.PEEK[HEADER.FIELDS (TO "CC")]<0.9>) (CHANGEDSINCE 7)\r\n')

    assert command.name == "UID FETCH"
    assert command.arguments == [
        "1:*",
        ["FLAGS", 'BODY.PEEK[HEADER.FIELDS (TO "CC")]<0.9>'],
        ["CHANGEDSINCE", "7"],
    ]


@given(st.binary(max_size=60))
@settings(max_examples=100, deadline=None)
def test_nothing_that_a_client_sends_breaks_the_parser(raw: bytes) -> None:
    try:
        parse(b"a " + raw)
    except Misread:
        return


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("*", "a/b", True),
        ("%", "a/b", False),
        ("a/%", "a/b", True),
        ("inbox", "INBOX", True),
        ("Sent", "sent", False),
    ],
)
def test_list_patterns(pattern: str, name: str, expected: bool) -> None:
    assert matcher(pattern)(name) is expected
