"""What a search finds, in a real PostgreSQL."""

from datetime import timedelta

import pytest
from search.conftest import NOW, Mailbox

from postroom.ids import MessageId
from postroom.search.find import find_first
from postroom.search.model import BadCursor, BadQuery, Results


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("Die Rechnung für März", "RECHNUNG marz"),
        ("La crème brûlée", '"creme brulee"'),
        ("we don’t know", "don't"),
        ("à l’heure exacte", "heure"),
        ("電子郵件搜尋系統", "郵件"),
        ("電子郵件搜尋系統", "件搜尋"),
        ("東京タワー", "京"),
        ("東京", "京"),
        ("写真 by iPhone", '"写真 by"'),
        ("회의를 합니다", "회의"),
        ("ภาษาไทย", "ไทย"),
        ("Ёжик в тумане", "ежик"),
        ("write to bob@mail.example.com", "bob@mail.example.com"),
        ("write to bob@mail.example.com", "example.com"),
        ("write to bob@mail.example.com", "mail.exam*"),
        ("see https://shop.example.org/cart?x=1", "shop.example.org/cart"),
        ("an invoice", "inv*"),
        ("it's John's report", "john"),
        ("version 3.14 of it", "3.14"),
        ("x" * 64, "X" * 64),
    ],
)
async def test_words_are_found_however_they_are_written(mailbox: Mailbox, text: str, query: str) -> None:
    await mailbox.add("nothing to see here")
    message = await mailbox.add(text)

    assert await mailbox.found(query) == {message}
    await mailbox.settle()
    assert await mailbox.found(query) == {message}


async def test_every_operator_finds_what_it_names_and_nothing_else(mailbox: Mailbox) -> None:
    await mailbox.add_folder("INBOX", "inbox")
    await mailbox.add_folder("Archive/Büro")
    first = await mailbox.add(
        "lunch tomorrow",
        subject="Quarterly report",
        sender="Alice Example <alice@example.com>",
        to="bob@example.org",
        cc="Carol <carol@example.net>",
        attachments=("annual report 2024.pdf",),
        message_id="<One@example.com>",
        at=NOW - timedelta(days=3),
        seen=False,
        folder="INBOX",
        flags=("$Important",),
    )
    second = await mailbox.add(
        "report from alice about carol, not from bob",
        subject="lunch",
        sender="dave@example.com",
        to="alice@example.com",
        list_id="<announce.lists.example.com>",
        message_id="<one@example.com>",
        at=NOW - timedelta(days=300),
        size=6 << 20,
        flagged=True,
        folder="Archive/Büro",
    )

    expected = {
        "from:alice": {first},
        "from:alice@example.com": {first},
        "from:example.com": {first, second},
        "to:alice": {second},
        "to:carol": {first},
        "cc:carol": {first},
        "cc:bob": set(),
        "subject:report": {first},
        'subject:"quarterly report"': {first},
        'subject:"report quarterly"': set(),
        "subject:(lunch OR quarterly)": {first, second},
        "body:report": {second},
        "body:quarterly": set(),
        "filename:pdf": {first},
        'filename:"report 2024"': {first},
        "has:attachment": {first},
        "-has:attachment": {second},
        "list:announce": {second},
        "list:announce.lists.example.com": {second},
        "rfc822msgid:One@example.com": {first},
        "rfc822msgid:<one@example.com>": {second},
        "is:unread": {first},
        "is:read": {second},
        "is:starred": {second},
        "is:answered": set(),
        "in:inbox": {first},
        "in:buro": {second},
        "in:archive/büro": {second},
        "in:nowhere": set(),
        "-in:nowhere": {first, second},
        "in:anywhere": {first, second},
        "label:$important": {first},
        "label:inbox": {first},
        "account:me@example.com": {first, second},
        "account:other": set(),
        "larger:5M": {second},
        "smaller:5M": {first},
        "older:7d": {second},
        "newer:7d": {first},
        "after:2026-02-26": {first},
        "before:2026-02-26": {second},
        "on:2026/02/26": {first},
        "is:unread OR larger:5M": {first, second},
        "-(is:unread lunch)": {second},
        "report -is:read": {first},
        "carol (is:starred OR before:2020)": {second},
        "lunch newer:7d OR nothing": {first},
        "": {first, second},
        "???": {first, second},
    }
    for settled in (False, True):
        if settled:
            assert await mailbox.settle() == 2
        assert {query: await mailbox.found(query) for query in expected} == expected


async def test_a_mail_found_by_its_subject_comes_before_one_that_mentions_the_word(mailbox: Mailbox) -> None:
    by_subject = await mailbox.add("see below " * 20, subject="Invoice", at=NOW - timedelta(hours=2))
    mentioned = await mailbox.add("there is some invoice " + "and so on " * 20, at=NOW - timedelta(hours=1))

    assert [hit.message for hit in (await mailbox.search("invoice")).hits] == [by_subject, mentioned]


async def test_of_equal_mails_and_without_words_the_newest_comes_first(mailbox: Mailbox) -> None:
    messages = [await mailbox.add("equal words", at=NOW - timedelta(days=days)) for days in (100, 2, 50)]

    expected = [messages[1], messages[2], messages[0]]
    assert [hit.message for hit in (await mailbox.search("equal")).hits] == expected
    assert [hit.message for hit in (await mailbox.search("is:read")).hits] == expected


async def test_pages_show_every_match_once(mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("postroom.search.store.RANKED", 5)
    messages = {await mailbox.add("report " * (1 + number % 3)) for number in range(17)}

    for limit in (1, 4, 5, 17, 100):
        results = await mailbox.search("report", limit=limit)
        seen = [hit.message for hit in results.hits]
        while results.next:
            assert (results.total, results.total_is_exact) == (17, True)
            results = await mailbox.search("report", limit=limit, cursor=results.next)
            seen += [hit.message for hit in results.hits]
        assert len(seen) == 17
        assert set(seen) == messages


async def test_a_total_beyond_the_bound_says_that_there_are_more(
    mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("postroom.search.store.COUNTED", 3)
    for _ in range(5):
        await mailbox.add("report")

    results = await mailbox.search("report", limit=2)

    assert (results.total, results.total_is_exact) == (3, False)


async def whole(mailbox: Mailbox, query: str, limit: int) -> list[Results]:
    """All pages of a search."""
    pages = [await mailbox.search(query, limit=limit)]
    while cursor := pages[-1].next:
        pages.append(await mailbox.search(query, limit=limit, cursor=cursor))
    return pages


def messages(pages: list[Results]) -> list[MessageId]:
    return [hit.message for page in pages for hit in page.hits]


LOOKED_INTO = ('"annual report"', "body:annual report", "report label:annual")


async def add_looked_into(mailbox: Mailbox, number: int, *, matches: bool) -> MessageId:
    """A mail that the index finds for each of LOOKED_INTO."""
    if not mailbox.folders:
        await mailbox.add_folder("INBOX")
    body, subject = ("annual report", "") if matches else ("report", "annual")
    flags = ("annual",) if matches else ()
    return await mailbox.add(f"{body} {number}", subject=subject, folder="INBOX", flags=flags)


@pytest.mark.parametrize("query", LOOKED_INTO)
@pytest.mark.parametrize("is_settled", [False, True])
async def test_a_search_looks_into_so_many_mails_and_goes_on_from_there(
    mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch, query: str, is_settled: bool
) -> None:
    monkeypatch.setattr("postroom.search.store.LOOKED", 4)
    expected = [
        message
        for number in range(18)
        if (message := await add_looked_into(mailbox, number, matches=number in (1, 2, 13, 16)))
        and number in (1, 2, 13, 16)
    ]
    if is_settled:
        await mailbox.settle()

    pages = await whole(mailbox, query, limit=10)

    assert sorted(messages(pages)) == expected
    assert [len(page.hits) for page in pages] == [1, 1, 0, 1, 1]
    assert [(page.total, page.total_is_exact) for page in pages] == [
        (1, False),
        (2, False),
        (2, False),
        (3, False),
        (4, True),
    ]


async def test_the_first_so_many_are_looked_for_until_there_are_no_more(
    mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("postroom.search.store.LOOKED", 3)
    stored = [await add_looked_into(mailbox, number, matches=number in (0, 1, 9)) for number in range(14)]

    async with mailbox.db.transaction(mailbox.tenant) as conn:
        one, two, all_of_them = [
            await find_first(conn, mailbox.tenant, '"annual report"', limit) for limit in (1, 2, 9)
        ]

    assert messages([one]) == [stored[9]]
    assert messages([two]) == [stored[9], stored[1]]
    assert messages([all_of_them]) == [stored[9], stored[1], stored[0]]
    assert (all_of_them.total, all_of_them.total_is_exact) == (3, True)


@pytest.mark.parametrize("query", LOOKED_INTO)
async def test_a_total_is_exact_when_all_mails_in_question_were_looked_into(
    mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    monkeypatch.setattr("postroom.search.store.LOOKED", 6)
    for number in range(6):
        await add_looked_into(mailbox, number, matches=number % 2 == 0)

    exact = await mailbox.search(query)
    await add_looked_into(mailbox, 6, matches=False)
    bound = await mailbox.search(query)

    assert (exact.total, exact.total_is_exact, exact.next) == (3, True, None)
    assert (bound.total, bound.total_is_exact) == (2, False)
    assert bound.next is not None


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
@pytest.mark.parametrize(("ranked", "looked"), [(2, 7), (7, 2), (3, 3), (250, 5), (5, 250)])
async def test_pages_show_every_match_once_whatever_bound_ends_a_window(
    mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch, ranked: int, looked: int, limit: int
) -> None:
    monkeypatch.setattr("postroom.search.store.RANKED", ranked)
    monkeypatch.setattr("postroom.search.store.LOOKED", looked)
    matching = [number % 3 != 1 for number in range(20)]
    stored = [
        await add_looked_into(mailbox, number, matches=is_one) for number, is_one in enumerate(matching)
    ]

    pages = await whole(mailbox, '"annual report"', limit)

    assert sorted(messages(pages)) == [one for one, is_one in zip(stored, matching, strict=True) if is_one]
    totals = [page.total for page in pages]
    assert totals == sorted(totals)
    assert (totals[-1], pages[-1].total_is_exact) == (13, True)


@pytest.mark.parametrize("query", ["report", '"annual report"'])
async def test_mail_that_comes_while_somebody_pages_neither_hides_nor_doubles_any(
    mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    monkeypatch.setattr("postroom.search.store.RANKED", 6)
    monkeypatch.setattr("postroom.search.store.LOOKED", 8)
    stored = [await add_looked_into(mailbox, number, matches=True) for number in range(20)]

    page = await mailbox.search(query, limit=4)
    seen = messages([page])
    for number in range(20, 30):
        await add_looked_into(mailbox, number, matches=True)
    while page.next:
        page = await mailbox.search(query, limit=4, cursor=page.next)
        seen += messages([page])

    assert sorted(seen) == stored


async def test_old_mail_that_comes_into_a_window_while_somebody_pages_hides_none(
    mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("postroom.search.store.RANKED", 6)
    monkeypatch.setattr("postroom.search.store.LOOKED", 6)
    stored = {await mailbox.add("annual report", at=NOW - timedelta(days=2 * day)) for day in range(12)}

    page = await mailbox.search('"annual report"', limit=2)
    seen = messages([page])
    for day in range(12):
        await mailbox.add("annual report", at=NOW - timedelta(days=2 * day + 1))
    while page.next:
        page = await mailbox.search('"annual report"', limit=2, cursor=page.next)
        seen += messages([page])

    assert stored <= set(seen)


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "x",
        "bnVsbA",
        "W10",
        "WzFd",
        "é",
        "A" * 5000,
        "WyJhIiwxLDEsbnVsbCxudWxsXQ",
        "WyJhIiwxLDEsdHJ1ZSwwLG51bGwsbnVsbCxudWxsXQ",
    ],
)
async def test_a_made_up_cursor_is_refused(mailbox: Mailbox, cursor: str) -> None:
    with pytest.raises(BadCursor):
        await mailbox.search("report", cursor=cursor)


async def test_a_cursor_is_of_no_use_for_another_query(mailbox: Mailbox) -> None:
    for _ in range(2):
        await mailbox.add("report invoice")
    following = (await mailbox.search("report", limit=1)).next

    with pytest.raises(BadCursor, match="another query"):
        await mailbox.search("invoice", limit=1, cursor=following)


async def test_only_the_accounts_asked_for_are_searched(mailbox: Mailbox, second_account: Mailbox) -> None:
    mine = await mailbox.add("report")
    other = await second_account.add("report")

    assert await mailbox.found("report") == {mine, other}
    assert await mailbox.found("report", accounts=[mailbox.account]) == {mine}
    assert await mailbox.found("report account:work@example.org") == {other}
    assert await mailbox.found("report -account:work") == {mine}
    assert await mailbox.found("report", accounts=[]) == set()


async def test_a_bad_value_is_told_with_its_place(mailbox: Mailbox) -> None:
    with pytest.raises(BadQuery, match="YYYY-MM-DD") as caught:
        await mailbox.search("report before:someday")

    assert caught.value.data == {"position": 14, "length": 7}
