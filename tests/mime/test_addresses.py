"""Address lists as people's programs write them."""

import pytest
from costs import seconds

from postroom.mime.addresses import parse
from postroom.mime.model import Address


def read(value: str) -> list[tuple[str, str]]:
    return [(found.name, found.address) for found in parse(value, "ambiguous", set())]


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("", []),
        ("a@b.c", [("", "a@b.c")]),
        ("Ada <Ada.L@Example.ORG>", [("Ada", "Ada.L@example.org")]),
        ('"Lovelace, Ada" <a@b.c>, b@c', [("Lovelace, Ada", "a@b.c"), ("", "b@c")]),
        ('"A \\"B\\" C" <a@b>', [('A "B" C', "a@b")]),
        ("a@b (Ada)", [("Ada", "a@b")]),
        ("Ada (who (else)) <a@b>", [("Ada", "a@b")]),
        ("Friends: a@b, Bob <b@c>;, d@e", [("", "a@b"), ("Bob", "b@c"), ("", "d@e")]),
        ("Undisclosed recipients:;", []),
        ('"john doe"@x.org', [("", '"john doe"@x.org')]),
        ('"a@b"@x.org', [("", '"a@b"@x.org')]),
        ("<@a,@b:c@d>", [("", "c@d")]),
        ("a @ b . c", [("", "a@b.c")]),
        ("root", [("root", "")]),
        ("<root>", [("", "root")]),
        ("'Ada' <a@b>", [("Ada", "a@b")]),
        ("=?utf-8?q?Zo=C3=AB=2C?= <z@b>", [("Zoë,", "z@b")]),
        ("=?utf-8?q?a,_b?= <z@b>", [("a, b", "z@b")]),
        ("a@b; c@d", [("", "a@b"), ("", "c@d")]),
        ("a@[192.0.2.1]", [("", "a@[192.0.2.1]")]),
        ("jürgen@müller.de", [("", "jürgen@müller.de")]),
        ("<>", [("", "")]),
        (", ,", []),
        ("(nobody)", []),
        ('"Ada <a@b>', [('"Ada', "a@b")]),
    ],
)
def test_a_list_is_read_as_it_was_meant(value: str, wanted: list[tuple[str, str]]) -> None:
    assert read(value) == wanted


@pytest.mark.parametrize(
    "value",
    [
        "alice@example.org)bob@evil",
        "alice@example.org <bob@evil>",
        '"alice@example.org" <bob@evil>',
        "<alice@example.org> <bob@evil>",
        "alice@example.org bob@evil",
        "alice@example.org@evil",
        "<alice@example.org>bob@evil",
        "<alice@example.org, bob@evil",
        "=?utf-8?q?alice=40example.org?= <bob@evil>",
    ],
)
def test_what_can_be_read_in_two_ways_is_reported(value: str) -> None:
    defects: set[str] = set()

    parse(value, "ambiguous", defects)

    assert defects == {"ambiguous"}


def test_an_encoded_word_never_becomes_syntax() -> None:
    assert read("=?utf-8?q?=3Cboss=40x=3E=2C?= <a@b>") == [("<boss@x>,", "a@b")]


def test_a_name_that_repeats_the_address_is_not_ambiguous() -> None:
    defects: set[str] = set()

    assert parse('"a@b.c" <A@B.C>', "ambiguous", defects) == (Address("a@b.c", "A@b.c"),)
    assert defects == set()


LONG = {
    "a name with a late at": lambda n: '"' + "a" * 8 * n + ' @" <a@b>',
    "many addresses under one name": lambda n: "n " * n + "a@b " * n,
    "many addresses under a name with an at": lambda n: '"' + "a " * n + '@b" ' + "a@b " * n,
    "many addresses under one comment": lambda n: "(" + "a " * n + ")" + "a@b " * n,
    "quotes between dots": lambda n: '.""' * n,
    "quotes that stand together": lambda n: "x" + '""' * 2 * n,
    "colons behind a late at": lambda n: '""' * n + "@" + ":" * n,
}


@pytest.mark.parametrize("name", LONG)
def test_four_times_the_length_takes_about_four_times_as_long(name: str) -> None:
    """Headers are cut at 256 kB, so that whole mails would not show it."""
    short, long = LONG[name](4_000), LONG[name](16_000)

    once, four_times = seconds(lambda: parse(short, "x", set())), seconds(lambda: parse(long, "x", set()))

    assert four_times < max(once, 0.02) * 10
