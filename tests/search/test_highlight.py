"""What a highlight shows."""

import pytest
from costs import seconds
from hypothesis import given, settings
from hypothesis import strategies as st
from search.test_query import NOW

from postroom.search.highlight import MAX_WORDS, find_matches, mark, snippet, terms
from postroom.search.query import parse


@pytest.mark.parametrize(
    ("text", "query", "marked"),
    [
        ("The Invoice is here", "invoice", "The <mark>Invoice</mark> is here"),
        ("Crème Brûlée!", "brulee", "Crème <mark>Brûlée</mark>!"),
        ("Cre\u0300me brule\u0301e", "creme brulee", "<mark>Cre\u0300me</mark> <mark>brule\u0301e</mark>"),
        ("STRASSE und Straße", "straße", "<mark>STRASSE</mark> und <mark>Straße</mark>"),
        ("invoices", "invoice", "invoices"),
        ("invoices", "inv*", "<mark>invoices</mark>"),
        ("a <b>bold</b> & b", "bold", "a &lt;b&gt;<mark>bold</mark>&lt;/b&gt; &amp; b"),
        ("one two, one three", '"one three"', "one two, <mark>one three</mark>"),
        ("we don’t", "don't", "we <mark>don’t</mark>"),
        ("電子郵件系統", "郵件", "電子<mark>郵件</mark>系統"),
        ("東京タワー", "京", "東<mark>京</mark>タワー"),
        ("写真iPhone写真、iPhones", "iphone", "写真<mark>iPhone</mark>写真、iPhones"),
        (
            "写真iPhone写真、iPhones",
            "iphone 写真",
            "<mark>写真</mark><mark>iPhone</mark><mark>写真</mark>、iPhones",
        ),
        ("写真iPhone8写真", "iph*", "写真<mark>iPhone8写真</mark>"),
        ("annual 写 report", '"annual report"', "annual 写 report"),
        ("annual写report", '"annual report"', "annual写report"),
        ("写 annual — report", '"annual report"', "写 <mark>annual — report</mark>"),
        ("bob@mail.example.com", "example.com", "bob@mail.<mark>example.com</mark>"),
        ("ham and spam", "ham -spam", "<mark>ham</mark> and spam"),
        ("nothing", "is:unread", "nothing"),
        ("a\xa0word… ﬁnd", "find", "a\xa0word… <mark>ﬁnd</mark>"),
        ("㍿です", "株 式", "<mark>㍿</mark>です"),
        ("(a+)+ $", "(a+)+ $", "(<mark>a</mark>+)+ $"),
    ],
)
def test_what_was_searched_for_is_marked_in_the_text_as_written(text: str, query: str, marked: str) -> None:
    assert mark(text, find_matches(text, terms(parse(query, NOW)))) == marked


def test_a_new_word_costs_little_beside_looking_for_it() -> None:
    text = "some words of a mail, " * 2_000
    words = iter(f"word{number}" for number in range(100_000))
    again = seconds(lambda: [find_matches(text, ("word",)) for _ in range(20)])

    assert seconds(lambda: [find_matches(text, (next(words),)) for _ in range(20)]) < 3 * again


def test_a_snippet_shows_the_stretch_with_most_of_one_word() -> None:
    text = "report report " + "filler " * 100 + "a report, this report, any report"

    assert "this report" in snippet(text, terms(parse("report", NOW)), width=80).text


def test_a_snippet_shows_the_stretch_with_most_of_what_was_asked() -> None:
    text = "report " + "filler " * 100 + "the annual report of ours " + "filler " * 100

    found = snippet(text, terms(parse("annual report", NOW)), width=80)

    assert "the <mark>annual</mark> <mark>report</mark>" in found.html
    assert found.before
    assert found.after
    assert len(found.text) <= 80


def test_without_a_match_a_snippet_is_how_the_text_begins() -> None:
    found = snippet("Hello,\nhow are you?", ("absent",))

    assert found.html == "Hello, how are you?"


TEXTS = st.text(st.sampled_from("abé ’'\n<&中ß\u0301\xa0…-@.") | st.characters(), max_size=300)


@given(TEXTS, st.lists(TEXTS.map(lambda text: text[:8]), max_size=4), st.integers(1, 60))
@settings(max_examples=300)
def test_a_snippet_is_part_of_the_text_and_its_matches_are_in_it(
    text: str, words: list[str], width: int
) -> None:
    found = snippet(text, words, width)

    assert len(found.text) <= width
    flat = "".join(" " if ord(c) < 32 or c in "\x7f\x85\u2028\u2029" else c for c in text)
    assert found.text in flat
    at = 0
    for start, end in found.matches:
        assert at <= start < end <= len(found.text)
        at = end
    stripped = found.html.replace("<mark>", "").replace("</mark>", "")
    assert "<" not in stripped


@pytest.mark.parametrize("piece", ["a ", "a", "' ", "é ", "中", "ab\u0301", "- ", "\u1100\u1161"])
def test_highlighting_takes_time_in_proportion(piece: str) -> None:
    def cost(characters: int) -> float:
        text = piece * (characters // len(piece))
        return seconds(lambda: find_matches(text, ("a a a b", "a*", "中中", "é b", "aaaaaaaaaab")))

    assert cost(40_000) < 12 * cost(10_000) + 0.005


def test_a_phrase_without_end_costs_no_more_than_a_long_one() -> None:
    text = "a " * 10_000

    def cost(words: int) -> float:
        terms = iter("a " * words + end for end in "bcd")  # a pattern is built once for each
        return seconds(lambda: find_matches(text, (next(terms),)))

    assert cost(900) < 4 * cost(MAX_WORDS) + 0.005


def test_a_long_phrase_is_marked_as_far_as_it_is_looked_for() -> None:
    words = " ".join(f"w{number}" for number in range(60))

    assert find_matches(f"see {words}.", (words,)) == [(4, 4 + words.index(f" w{MAX_WORDS}"))]
