"""The generator keeps its word: the same mail for the same number, and the distribution that it claims."""

import email
from collections import Counter
from email.message import Message
from itertools import pairwise
from statistics import median
from unicodedata import name as name_of_character

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postroom.lab.broken import WAYS, damaged
from postroom.lab.mails import folders, ink_of, is_broken, mail, received_at
from postroom.lab.threads import Kind, facts_of, message_id

SEED = 7
MANY = range(3000)
MESSAGE_ID_OF_1000 = "<49bc51b9d57ac763.1000@nordlicht-versand.example>"
LENGTHS = [3858, 63034, 10465]


@pytest.fixture(scope="module")
def sizes() -> list[int]:
    return [len(mail(SEED, n)) for n in MANY]


@pytest.fixture(scope="module")
def parsed() -> dict[int, Message]:
    return {n: email.message_from_bytes(mail(SEED, n)) for n in range(400) if not is_broken(SEED, n)}


@given(st.integers(0, 10**6), st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_the_same_number_is_the_same_mail_whatever_was_made_before(seed: int, number: int) -> None:
    first = mail(seed, number)
    mail(seed, number + 1)
    mail.cache_clear()

    assert mail(seed, number) == first


def test_the_bytes_do_not_change_between_runs() -> None:
    """Copies of demonstration mailboxes and cached benchmark folders rely on it."""
    assert message_id(1, 1000) == MESSAGE_ID_OF_1000
    assert [len(mail(1, n)) for n in (0, 1000, 20_000)] == LENGTHS


def test_other_seeds_make_other_mail() -> None:
    assert {mail(1, n) for n in range(20)}.isdisjoint({mail(2, n) for n in range(20)})


def test_half_of_the_mails_are_below_23_kilobytes(sizes: list[int]) -> None:
    assert 20_000 < median(sizes) < 26_000


def test_attachments_are_in_one_of_eight_and_hold_three_quarters_of_the_bytes(sizes: list[int]) -> None:
    attached = [n for n in MANY if facts_of(SEED, n).kind is Kind.ATTACHED]

    assert 0.10 < len(attached) / len(MANY) < 0.14
    assert 0.68 < sum(sizes[n] for n in attached) / sum(sizes) < 0.82


def test_the_charsets_are_many() -> None:
    met = Counter(ink_of(SEED, facts_of(SEED, n)).charset for n in MANY)

    assert len(met) >= 15
    assert 0.5 < met["utf-8"] / len(MANY) < 0.8


def test_one_in_a_hundred_is_broken() -> None:
    assert 0.005 < sum(is_broken(SEED, n) for n in MANY) / len(MANY) < 0.015


def test_conversations_run_long() -> None:
    assert max(len(facts_of(SEED, n).ancestors) for n in MANY) > 25


def test_an_answer_names_its_parent_and_comes_later(parsed: dict[int, Message]) -> None:
    answers = [n for n in parsed if facts_of(SEED, n).ancestors]

    assert answers
    for n in answers:
        parent = facts_of(SEED, n).ancestors[0]
        assert parsed[n]["In-Reply-To"] == message_id(SEED, parent)
        assert parsed[n]["References"].split()[-1] == message_id(SEED, parent)
        assert received_at(SEED, parent) <= received_at(SEED, n)


def test_mail_arrives_in_the_order_of_its_numbers() -> None:
    assert all(received_at(SEED, a) <= received_at(SEED, b) for a, b in pairwise(range(5000)))


def test_unbroken_mail_is_clean(parsed: dict[int, Message]) -> None:
    """The oracle is Python's own parser: no defects, every text decodes as what it says it is."""
    for message in parsed.values():
        for part in message.walk():
            assert part.defects == []
            if part.get_content_maintype() == "text":
                payload = part.get_payload(decode=True)
                assert isinstance(payload, bytes)
                assert payload.decode(str(part.get_content_charset("utf-8")))


def test_no_line_is_longer_than_mail_allows() -> None:
    assert max(len(line) for n in range(300) for line in mail(SEED, n).split(b"\r\n")) <= 998


def test_newsletters_say_how_to_leave(parsed: dict[int, Message]) -> None:
    letters = [m for n, m in parsed.items() if facts_of(SEED, n).kind is Kind.NEWSLETTER]

    assert letters
    assert all(m["List-Id"] and m["List-Unsubscribe"] for m in letters)


@pytest.mark.parametrize("way", WAYS)
def test_each_way_of_breaking_changes_a_mail(way: str) -> None:
    raw = next(mail(SEED, n) for n in range(500) if not is_broken(SEED, n) and facts_of(SEED, n).ancestors)

    assert WAYS[way](raw) != raw


def test_every_way_of_breaking_is_met() -> None:
    raw = mail(SEED, 3)

    assert len({damaged(raw, throw) for throw in range(len(WAYS))}) >= len(WAYS) - 1


@pytest.mark.parametrize("count", [1, 12, 500])
def test_folders_are_all_different_and_begin_with_the_inbox(count: int) -> None:
    names = folders(SEED, count)

    assert len(set(names)) == count
    assert names[0] == "INBOX"


def test_folders_are_named_in_many_scripts() -> None:
    letters = {c for name in folders(SEED, 24) for c in name if c.isalpha()}
    scripts = {name_of_character(letter).split()[0] for letter in letters}

    assert scripts >= {"LATIN", "CYRILLIC", "GREEK", "CJK", "HANGUL", "HEBREW", "ARABIC", "DEVANAGARI"}
