"""What a search finds, in a real PostgreSQL."""

from datetime import timedelta

import pytest
from search.conftest import NOW, Mailbox

from postroom.search.model import BadCursor, BadQuery


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


@pytest.mark.parametrize(
    "cursor", ["", "x", "bnVsbA", "W10", "WzFd", "é", "A" * 5000, "WyJhIiwxLDEsbnVsbCxudWxsXQ"]
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
