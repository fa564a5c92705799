"""What the vector of a mail promises to PostgreSQL and to a search."""

from itertools import pairwise

import pytest
from costs import seconds
from hypothesis import given, settings
from hypothesis import strategies as st

from postroom.text.vector import (
    MAX_BYTES,
    MAX_LEXEMES,
    MAX_PLACES,
    MAX_POSITION,
    MAX_TEXT,
    Field,
    TsVector,
    Weight,
    document,
)
from postroom.text.words import tokens

BITS = 14


def size(vector: TsVector) -> int:
    return sum(len(lexeme.encode()) + 4 + 2 * len(places) for lexeme, places in vector.items())


def pick(letters: list[str], number: int) -> list[str]:
    """Letters that spell `number`, the lowest digit first; at least two."""
    spelled: list[str] = []
    while number or len(spelled) < 2:
        number, digit = divmod(number, len(letters))
        spelled.append(letters[digit])
    return spelled


def test_words_have_their_places_and_the_weight_of_their_field() -> None:
    made = document([Field("Re: Report", Weight.A, "s:")], "the report, again the report", ["o:1"])

    assert made.vector == {
        "o:1": [],
        "re": [Weight.A << BITS | 1],
        "s:re": [Weight.A << BITS | 1],
        "report": [Weight.A << BITS | 2, 6, 9],
        "s:report": [Weight.A << BITS | 2],
        "the": [5, 8],
        "again": [7],
    }


def test_no_phrase_runs_from_one_field_into_the_next() -> None:
    vector = document([Field("one", Weight.A, "s:"), Field("two", Weight.B, "f:")], "three").vector

    places = [vector[word][0] & MAX_POSITION for word in ("one", "two", "three")]
    assert all(second - first > 1 for first, second in pairwise(places))


@given(
    st.text(st.sampled_from("ab é中@.' ") | st.characters(), max_size=50),
    st.text(st.sampled_from("ab é中@.' ") | st.characters(), max_size=200),
)
@settings(max_examples=200)
def test_every_token_is_in_the_vector_at_ascending_places(subject: str, body: str) -> None:
    vector = document([Field(subject, Weight.A, "s:")], body).vector

    assert set(vector) == {*tokens(subject), *("s:" + token for token in tokens(subject)), *tokens(body)}
    for places in vector.values():
        positions = [place & MAX_POSITION for place in places]
        assert positions == sorted(set(positions))


@pytest.mark.parametrize("word", ["word", "é", "中", "a.b@c.de"])
def test_a_long_mail_keeps_to_the_limits_of_positions(word: str) -> None:
    vector = document([Field(word, Weight.A, "s:")], f"{word} " * 20_000 + "last").vector

    for places in vector.values():
        assert len(places) <= MAX_PLACES
        assert all(0 < place & MAX_POSITION <= MAX_POSITION for place in places)
        assert all(place >> BITS in (Weight.A, Weight.D) for place in places)
    assert vector["last"] == [MAX_POSITION]


def test_a_long_mail_of_words_met_before_keeps_to_the_limits_of_positions() -> None:
    document([], "one")
    document([], "last")

    assert document([], "one " * 70_000 + "last").vector["last"] == [MAX_POSITION]


def test_fields_at_the_last_positions_keep_their_weight() -> None:
    names = [Field("\u3300" * 100, Weight.C, "n:")] * 50  # a character that folds to four

    vector = document(names, "").vector

    assert {place >> BITS for places in vector.values() for place in places} == {Weight.C}
    assert all(list(places) == sorted(places) for places in vector.values())


@pytest.mark.parametrize("first", ["a", "中"])
def test_a_mail_of_countless_words_keeps_the_first_ones_and_says_so(first: str) -> None:
    letters = [chr(ord(first) + number) for number in range(26 if first == "a" else 5_000)]
    words = ["".join(pick(letters, number)) for number in range(60_000)]

    made = document([Field("subject", Weight.A, "s:")], " ".join(words))

    assert made.truncated
    assert "s:subject" in made.vector
    assert tokens(words[0])[0] in made.vector
    assert len(made.vector) <= MAX_LEXEMES
    assert size(made.vector) <= MAX_BYTES


def test_what_is_too_long_only_when_folded_is_cut_as_well() -> None:
    made = document([], "\u3300" * (MAX_TEXT // 4) + "x last")  # a character that folds to four

    assert made.truncated
    assert "last" not in made.vector


def test_an_ordinary_mail_is_not_truncated() -> None:
    assert not document([], "word " * 1_000).truncated


@pytest.mark.parametrize(
    "piece", ["a.b-", "x@", "'", "éa'", "中", "a", "a@b.cc ", "\u0301", "\u0301\u0327", "_", "\0"]
)
def test_the_time_grows_no_faster_than_the_text(piece: str) -> None:
    def cost(characters: int) -> float:
        text = piece * (characters // len(piece))
        return seconds(lambda: document([], text))

    assert cost(240_000) < 12 * cost(60_000) + 0.005
