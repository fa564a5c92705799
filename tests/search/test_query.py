"""Any text is a query, and whatever is compiled PostgreSQL understands."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from postroom.ids import AccountId, FolderId, TenantId
from postroom.search.compile import Names, compile_query
from postroom.search.model import BadQuery
from postroom.search.query import (
    MAX_LENGTH,
    And,
    AtLeast,
    Field,
    HasAttachment,
    InFolder,
    Is,
    Node,
    Not,
    Or,
    Since,
    State,
    Text,
    parse,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PIECES = st.sampled_from(
    [
        "from:",
        "subject:",
        "in:",
        "is:unread",
        "is:",
        "has:attachment",
        "OR",
        "AND",
        "NOT",
        "-",
        "(",
        ")",
        '"',
        "before:2024-01-01",
        "after:",
        "larger:5M",
        "*",
        "'",
        "\\",
        "a",
        "b.c@d.ee",
        "中文",
        "é",
        ":",
        "label:x",
        "account:me",
        "“",
        "”",
        "&",
        "|",
        "!",
        "<->",
        "\x00",
        "�",
        "on:2024",
        "newer:9999999y",
        "body:",
    ]
) | st.just(" ")
QUERIES = st.lists(PIECES | st.text(max_size=5), max_size=25).map("".join)


def test_words_are_joined_by_and() -> None:
    assert parse("one two", NOW) == And((Text("one"), Text("two")))


def test_or_binds_less_than_and() -> None:
    assert parse("a b OR c", NOW) == Or((And((Text("a"), Text("b"))), Text("c")))


def test_a_minus_denies_what_follows_it_but_only_at_the_start_of_a_word() -> None:
    assert parse("-spam well-known -(a b) NOT c", NOW) == And(
        (Not(Text("spam")), Text("well-known"), Not(And((Text("a"), Text("b")))), Not(Text("c")))
    )


@pytest.mark.parametrize(
    ("query", "node"),
    [
        ("", And(())),
        ("   ", And(())),
        ('"two words"', Text("two words")),
        ("„zwei Worte“", Text("zwei Worte")),
        ('"never closed', Text("never closed")),
        ("(a", Text("a")),
        ("a) b", And((Text("a"), Text("b")))),
        ("()", And(())),
        ("a OR", Text("a")),
        ("OR a", Text("a")),
        ("a AND b", And((Text("a"), Text("b")))),
        ("inv*", Text("inv", prefix=True)),
        ("*", Text("")),
        ("from:bob", Text("bob", Field.SENDER)),
        ("FROM:bob", Text("bob", Field.SENDER)),
        ('from:"bob b"', Text("bob b", Field.SENDER)),
        ("from:bo*", Text("bo", Field.SENDER, prefix=True)),
        ("from:(a OR -b)", Or((Text("a", Field.SENDER), Not(Text("b", Field.SENDER))))),
        ("from: bob", And((Text("from:"), Text("bob")))),
        ("http://a.b/c", Text("http://a.b/c")),
        ("re:hello", Text("re:hello")),
        ("12:30", Text("12:30")),
        ("has:attachment", HasAttachment()),
        ("is:unread", Not(Is(State.READ))),
        ("is:starred", Is(State.STARRED)),
        ('in:"Sent Items"', InFolder("Sent Items")),
        ('in:(inbox OR "Sent Items")', Or((InFolder("inbox"), InFolder("Sent Items")))),
        ("is:(unread -starred)", And((Not(Is(State.READ)), Not(Is(State.STARRED))))),
        ("is:(read OR from:bob)", Or((Is(State.READ), Text("bob", Field.SENDER)))),
        ("has:()", And(())),
        ('has:("" attachment)', And((Text(""), HasAttachment()))),
        ("larger:1.5M", AtLeast(1_572_864)),
        ("smaller:20kb", Not(AtLeast(20_480))),
        ("after:2024-05-17", Since(datetime(2024, 5, 17, tzinfo=UTC))),
        ("before:2024/05", Not(Since(datetime(2024, 5, 1, tzinfo=UTC)))),
        ("newer:7d", Since(NOW - timedelta(days=7))),
        ("older_than:2w", Not(Since(NOW - timedelta(days=14)))),
        (
            "on:2024-02",
            And((Since(datetime(2024, 2, 1, tzinfo=UTC)), Not(Since(datetime(2024, 3, 1, tzinfo=UTC))))),
        ),
    ],
)
def test_a_query_means(query: str, node: Node) -> None:
    assert parse(query, NOW) == node


def test_a_day_begins_where_the_person_is() -> None:
    vienna = timezone(timedelta(hours=1))

    assert parse("after:2024-05-17", NOW.astimezone(vienna)) == Since(datetime(2024, 5, 16, 23, tzinfo=UTC))


@pytest.mark.parametrize(
    ("query", "position", "length", "told"),
    [
        ("a before:yesteryear", 9, 10, "YYYY-MM-DD"),
        ("on:2024-02-30", 3, 10, "no such day"),
        ("is:funny", 3, 5, "unread"),
        ("has:legs", 4, 4, "attachment"),
        ("larger:huge", 7, 4, "5M"),
        ("older:week", 6, 4, "7d"),
        ("a is:(read OR funny) b", 5, 15, "is:funny"),
        ("x" * (MAX_LENGTH + 3), MAX_LENGTH, 3, "characters"),
    ],
)
def test_a_value_without_a_meaning_is_refused_with_its_place(
    query: str, position: int, length: int, told: str
) -> None:
    with pytest.raises(BadQuery, match=told) as caught:
        parse(query, NOW)

    assert caught.value.data == {"position": position, "length": length}


@given(QUERIES)
@settings(max_examples=500)
@example("(" * MAX_LENGTH)
@example("-" * MAX_LENGTH)
@example("NOT " * (MAX_LENGTH // 4))
@example("from:(" * (MAX_LENGTH // 6))
@example("-(a OR " * (MAX_LENGTH // 7))
def test_any_text_is_a_query_or_refused_by_name(query: str) -> None:
    with suppress(BadQuery):
        compile_query(parse(query, NOW), TenantId(1))


def test_what_cannot_be_indexed_cannot_be_found() -> None:
    assert compile_query(parse("x" * 65, NOW), TenantId(1)).narrow is None
    assert compile_query(parse("in:nowhere a", NOW), TenantId(1)).narrow is None


def test_a_query_that_never_changes_its_mind_needs_the_index_only() -> None:
    compiled = compile_query(parse("subject:a -from:b has:attachment after:2024-01-01", NOW), TenantId(7))

    assert compiled.narrow == "('o:7' & ('s:a' & !'f:b' & 'h:attachment'))"
    assert compiled.exact is None
    assert compiled.since == datetime(2024, 1, 1, tzinfo=UTC)


def test_what_changes_lets_everything_through_the_index_and_is_asked_afterwards() -> None:
    names = Names(folders={"work": [FolderId(3), FolderId(4)]})

    compiled = compile_query(parse("a -(is:read b) in:work", NOW), TenantId(7), [AccountId(2)], names)

    assert compiled.narrow == "('a:2' & 'a')"
    assert compiled.exact == "('a' & !('is:read' & 'b'))"
    assert compiled.folders == [3, 4]


def test_a_phrase_lets_its_words_through_the_index_wherever_they_stand() -> None:
    compiled = compile_query(parse('"a b" -"c d" body:e -body:f', NOW), TenantId(7))

    assert compiled.loose == "('o:7' & (('a' & 'b') & 'e'))"
    assert compiled.narrow == "('o:7' & (('a' <1> 'b') & !('c' <1> 'd') & 'e':D & !'f':D))"


def test_words_alone_are_answered_by_the_index_alone() -> None:
    compiled = compile_query(parse("a -b (c OR d*) from:e is:unread", NOW), TenantId(7))

    assert compiled.loose == compiled.narrow
    assert compiled.exact is None


def test_a_second_folder_is_asked_of_each_mail_that_lies_in_the_first() -> None:
    names = Names(folders={"work": [FolderId(3)], "home": [FolderId(4)]})

    compiled = compile_query(parse("in:work in:home", NOW), TenantId(7), None, names)

    assert (compiled.folders, compiled.exact) == ([3], "'in:4'")


def test_user_text_cannot_leave_its_quotes() -> None:
    compiled = compile_query(parse("label:x'|!'o:1\\", NOW), TenantId(7))

    assert compiled.exact == "'label:x''|!''o:1\\\\'"
