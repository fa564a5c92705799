import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.ids import ThreadId
from postroom.mail.threads import group, key, keys_of
from postroom.mime.parse import parse

A, B, C = (key(f"{name}@example.org") for name in "abc")


def test_an_answer_joins_what_it_answers() -> None:
    groups = group([[A], [B, A], [C]], {})

    assert sorted(sorted(found.members) for found in groups) == [[0, 1], [2]]


def test_a_mail_that_mentions_two_threads_joins_them_into_the_older() -> None:
    [found] = group([[C, A, B]], {A: ThreadId(7), B: ThreadId(3)})

    assert found.threads == [3, 7]


def test_a_mail_without_any_id_is_a_thread_by_itself() -> None:
    assert len(group([[], [], []], {})) == 3


def test_two_mails_that_lead_to_one_stored_thread_stay_together() -> None:
    [found] = group([[A], [B]], {A: ThreadId(5), B: ThreadId(5)})

    assert (found.members, found.threads) == ([0, 1], [5])


def test_ids_too_short_to_be_unique_join_nobody() -> None:
    assert keys_of(parse(b"Message-ID: <1>\r\nIn-Reply-To: <x>\r\n\r\nhi")) == ()


def test_of_many_references_the_first_and_the_latest_count() -> None:
    references = " ".join(f"<number{n}@example.org>" for n in range(500))

    keys = keys_of(parse(f"References: {references}\r\n\r\nhi".encode()))

    assert len(keys) == 50
    assert keys[0] == key("number0@example.org")
    assert keys[-1] == key("number499@example.org")


mails = st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=3), max_size=8)


@given(mails, st.randoms())
def test_the_order_of_arrival_does_not_change_who_is_together(batch: list[list[str]], random) -> None:  # type: ignore[no-untyped-def]
    order = list(range(len(batch)))
    random.shuffle(order)

    def together(groups: list[set[int]]) -> set[frozenset[int]]:
        return {frozenset(members) for members in groups}

    whole = together([set(found.members) for found in group(batch, {})])
    shuffled = together([{order[n] for n in found.members} for found in group([batch[n] for n in order], {})])
    assert shuffled == whole


@given(mails, st.integers(0, 8))
def test_a_batch_cut_in_two_gives_the_same_threads(batch: list[list[str]], cut: int) -> None:
    numbers = itertools.count(1)
    known: dict[str, ThreadId] = {}
    of: dict[int, ThreadId] = {}
    for start, part in ((0, batch[:cut]), (len(batch[:cut]), batch[cut:])):
        for found in group(part, known):
            thread = found.threads[0] if found.threads else ThreadId(next(numbers))
            gone = set(found.threads[1:])
            known = {k: thread if t in gone else t for k, t in known.items()}
            of = {n: thread if t in gone else t for n, t in of.items()}
            known |= dict.fromkeys(found.keys, thread)
            of |= {start + n: thread for n in found.members}

    whole = {frozenset(found.members) for found in group(batch, {})}
    pieces = {frozenset(n for n, t in of.items() if t == thread) for thread in of.values()}
    assert pieces == whole


def test_a_chain_of_ten_thousand_is_no_problem() -> None:
    chain = [[str(n), str(n + 1)] for n in range(10_000)]

    assert len(group(chain, {})) == 1


@pytest.mark.parametrize("text", ["a" * 100_000, "\ud800x" * 5, "ü@ö"])
def test_any_text_makes_a_key(text: str) -> None:
    assert key(text) == key(text)
