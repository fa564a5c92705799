from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postroom.http.caller import Caller
from postroom.http.pages import BadCursor, Cursors
from postroom.ids import TenantId
from postroom.vault.seal import Key, Vault

CURSORS = Cursors(Vault([Key.derived(b"sixteen bytes or more")]))
ONE, TWO = (Caller(TenantId(number), None, frozenset()) for number in (1, 2))
POSITIONS = st.lists(st.integers(-(2**62), 2**62) | st.text() | st.none(), max_size=4)


@given(position=POSITIONS)
@settings(max_examples=50)
def test_a_cursor_opens_as_it_was_sealed(position: list[Any]) -> None:
    cursor = CURSORS.seal(ONE, "mail.messages", position)

    assert CURSORS.open(ONE, "mail.messages", cursor) == position
    assert cursor.isascii()
    assert not set(cursor) & set("+/= %&?#")


def test_a_cursor_says_nothing_to_who_reads_it() -> None:
    one, other = (CURSORS.seal(ONE, "x", [12345678]) for _ in range(2))

    assert one != other
    assert b"12345678" not in urlsafe_b64decode(one.rpartition(".")[2] + "==")


def test_any_changed_bit_is_noticed() -> None:
    cursor = CURSORS.seal(ONE, "x", [1])
    head, dot, body = cursor.rpartition(".")
    raw = urlsafe_b64decode(body + "=" * (-len(body) % 4))
    for place in range(len(raw) * 8):
        changed = bytearray(raw)
        changed[place // 8] ^= 1 << place % 8
        with pytest.raises(BadCursor):
            CURSORS.open(ONE, "x", head + dot + urlsafe_b64encode(changed).decode().rstrip("="))


@pytest.mark.parametrize("cursor", ["", "A", "AAAA", "ä", "\0", "null", "A" * 900, "=" * 9])
def test_what_is_not_a_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(BadCursor):
        CURSORS.open(ONE, "x", cursor)


def test_a_cursor_is_good_for_one_tenant_one_list_and_one_installation() -> None:
    cursor = CURSORS.seal(ONE, "mail.messages", [1])

    for cursors, caller, of in (
        (CURSORS, TWO, "mail.messages"),
        (CURSORS, ONE, "mail.threads"),
        (Cursors(Vault([Key.derived(b"another installation")])), ONE, "mail.messages"),
    ):
        with pytest.raises(BadCursor):
            cursors.open(caller, of, cursor)
