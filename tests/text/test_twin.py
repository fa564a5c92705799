"""The native twin makes the same vectors, to the byte, and is there where it could be built."""

import importlib.util
import shutil
import sysconfig
from pathlib import Path

import pytest
from costs import seconds
from hypothesis import example, given, settings
from hypothesis import strategies as st

from postroom.db.codecs import encode_tsvector
from postroom.text import twin
from postroom.text.vector import MAX_POSITION, MAX_TEXT, Field, Weight, document, encoded

HEADERS = Path(sysconfig.get_path("include")) / "Python.h"
CAN_BE_BUILT = shutil.which("cc") is not None and HEADERS.exists()

needs_twin = pytest.mark.skipif(not twin.IS_BUILT, reason="needs a C compiler and Python's headers")

LETTERS = st.sampled_from("aBz09 éЁж中カ한ไ@.'_+-\u0301’ß\u200b\uff21\0\n\u0e31") | st.characters()
WORDS = st.sampled_from(
    [
        "Hello,", "don't", "l'heure", "alice@mail.example", "www.example.com", "a.b@c.de", "well-known",
        "x@y", "'tis'", "..a..b..",
        "a'b'c", "1.2.3.4", "v1.2b", "a_b.co", "電子郵件", "Ёлка", "naïve", "Straße", "ﬁn",
        "क्या", "한국어", "ｶﾞ", "👋", "a" * 64, "a" * 65, "é" * 65, ("a" * 60 + ".") * 3 + "de",
        "https://a.de/x?y=z",
        "中" * 70, "a中b", "中.中", "a.中", "ab'" * 90 + "c.de", "\ud800a", "Ａ＠ｂ．ｃｄ", "²3", "a.²²",
    ]
)  # fmt: skip
TEXTS = st.lists(st.text(LETTERS, max_size=12) | WORDS, max_size=40).map(" ".join)


def slowly(fields: list[Field], body: str) -> tuple[bytes, bool]:
    made = document(fields, body, ["o:1"])
    return encode_tsvector(made.vector), made.truncated


@pytest.mark.skipif(not CAN_BE_BUILT, reason="needs a C compiler and Python's headers")
def test_it_is_there_where_it_can_be_built() -> None:
    assert twin.IS_BUILT
    assert importlib.util.find_spec("postroom.mime._transfer")


@needs_twin
@given(TEXTS, TEXTS, TEXTS)
@settings(max_examples=600)
@example("", "", "a-a.a'a a")
@example("", "", "\x1fa\x85b")
def test_it_makes_the_same_bytes(subject: str, sender: str, body: str) -> None:
    fields = [Field(subject, Weight.A, "s:"), Field(sender, Weight.B, "f:"), Field(subject, Weight.C, "n:")]

    assert encoded(fields, body, ["o:1"]) == slowly(fields, body)


@needs_twin
@pytest.mark.parametrize("block", range(0, 0x30000, 0x1000))
def test_every_character_is_folded_alike(block: int) -> None:
    for code in range(block, block + 0x1000, 3):
        text = f"{chr(code)} a{chr(code)}b {chr(code)}{chr(code + 1)}a x.{chr(code + 2)}"

        assert encoded([], text, ["o:1"]) == slowly([], text), hex(code)


@needs_twin
@pytest.mark.parametrize("word", ["word", "é", "中", "a.b@c.de", "क्या", "--", "it's", "中" * 100])
def test_what_goes_beyond_the_last_position_is_not_its_business(word: str) -> None:
    for count in (100, MAX_POSITION - 2, MAX_POSITION - 1, MAX_POSITION, MAX_POSITION + 1, 20_000):
        body = f"{word} " * count

        made = encoded([Field(body, Weight.C, "n:")], "end", ["o:1"])

        assert made in (None, slowly([Field(body, Weight.C, "n:")], "end"))
        made = encoded([], body, ["o:1"])
        assert made in (None, slowly([], body))
        assert made is not None or count > 100


@needs_twin
def test_more_lexemes_than_a_vector_holds_are_left_out_alike() -> None:
    body = " ".join(f"a{number:060}'b{number}'c{number}.d{number}" for number in range(4_000))

    made = encoded([], body, ["o:1"])

    assert made == slowly([], body)
    assert made[1]


@needs_twin
@pytest.mark.parametrize(
    "piece", ["a.b-", "x@", "'", "éa'", "中", "a", "a@b.cc ", "\u0301", "\0", "a ", "क् "]
)
def test_its_time_grows_no_faster_than_the_text(piece: str) -> None:
    def cost(characters: int) -> float:
        text = piece * (characters // len(piece))
        return seconds(lambda: encoded([], text[:MAX_TEXT]))

    assert cost(240_000) < 12 * cost(60_000) + 0.005


@needs_twin
def test_a_lexeme_with_a_nul_is_refused() -> None:
    with pytest.raises(ValueError, match="NUL"):
        encoded([], "body", ["o:\0"])
