"""What tokens a text has."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postroom.text.words import MAX_TOKEN, MAX_WHOLE, tokens


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello, World!", ["hello", "world"]),
        ("well-known snake_case", ["well", "known", "snake", "case"]),
        ("don't", ["dont", "don"]),
        ("l'heure", ["lheure", "heure"]),
        ("L’Équipe", ["lequipe", "equipe"]),
        ("3.14 1,000", ["3", "14", "1", "000"]),
        (
            "<Alice.B@Mail.Example.com>",
            ["alice", "b", "mail", "example", "com", "alice.b@mail.example.com", "mail.example.com"],
        ),
        ("https://www.example.com/a", ["https", "www", "example", "com", "www.example.com", "a"]),
        ("root@localhost", ["root", "localhost", "root@localhost"]),
        ("電子郵件", ["電子", "子郵", "郵件", "件"]),
        ("iPhone手机", ["iphone", "手机", "机"]),
        ("ภาษา", ["ภา", "าษ", "ษา", "า"]),
        ("क्षत्रिय धर्म", ["क्षत्रिय", "धर्म"]),
        ("end. 'quoted' --- a--b", ["end", "quoted", "a", "b"]),
        ("", []),
    ],
)
def test_a_text_has_these_tokens(text: str, expected: list[str]) -> None:
    assert tokens(text) == expected


def test_encoded_data_is_no_word() -> None:
    assert tokens("a" * (MAX_TOKEN + 1) + " b") == ["b"]


@given(st.text(st.sampled_from("ab1.@-_+' é") | st.characters(), max_size=80))
@settings(max_examples=400)
def test_tokens_are_short_and_hold_nothing_that_our_own_lexemes_begin_with(text: str) -> None:
    for token in tokens(text):
        assert 0 < len(token) <= MAX_WHOLE
        assert not set(token) & set(": \0'\\")


@given(st.text(st.sampled_from("ab1.@-_+' ,"), max_size=60))
@settings(max_examples=400)
def test_plain_text_has_the_same_tokens_beside_other_letters(text: str) -> None:
    assert tokens(text + " й") == [*tokens(text), "й"]
