"""Folder names: modified UTF-7 for people, bytes for servers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.imap import names


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"INBOX", "INBOX"),
        (b"Entw&APw-rfe", "Entwürfe"),
        (b"~peter/mail/&U,BTFw-/&ZeVnLIqe-", "~peter/mail/台北/日本語"),
        (b"a &- b", "a & b"),
        (b"&2D3eAA-", "😀"),
    ],
)
def test_names_as_people_read_them(raw: bytes, shown: str) -> None:
    assert names.decode(raw) == shown
    assert names.encode(shown) == raw


@pytest.mark.parametrize("raw", [b"&", b"A&B", b"&&-", b"&Jjo!", b"&U,BTF2XlZyyKng-&", b"&2D0-", b"&AGE"])
def test_damaged_names_are_shown_as_they_stand_or_as_well_as_can_be(raw: bytes) -> None:
    assert names.decode(raw)


def test_eight_bit_names_are_utf8() -> None:
    assert names.decode("Entwürfe".encode()) == "Entwürfe"
    assert names.decode(b"A&B", utf8=True) == "A&B"


@given(st.text())
def test_a_name_survives_encoding(name: str) -> None:
    raw = names.encode(name)

    assert raw.isascii()
    assert names.decode(raw) == name


@given(st.binary())
def test_decoding_never_raises(raw: bytes) -> None:
    names.decode(raw).encode("utf-8")
