"""Queries of every form against a loop over all mail: both find the same, on however many pages."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest
from search.conftest import NOW, Mailbox

from postroom.ids import MessageId
from postroom.search import facets, store
from postroom.search.facets import Facet
from postroom.search.model import Results

WORDS = ["alpha", "beta", "gamma", "delta"]
PATHS = ["A", "B", "x/B"]
REMOVE = "DELETE FROM mail_message WHERE tenant_id = $1 AND id = $2"


@dataclass(frozen=True)
class Mail:
    subject: str
    body: str
    path: str
    seen: bool
    size: int
    at: datetime


Asked = tuple[str, Callable[[Mail], bool]]
"""A query, and what it says of a mail."""


async def add(mailbox: Mailbox, mails: dict[MessageId, Mail], chance: random.Random) -> MessageId:
    body, subject = (" ".join(chance.choices(WORDS, k=chance.randrange(most))) for most in (4, 3))
    at = NOW - timedelta(days=chance.randrange(60), hours=chance.randrange(3))
    path, seen, size = chance.choice(PATHS), chance.random() < 0.5, chance.choice([500, 1500, 2500])
    number = await mailbox.add(body, subject=subject, folder=path, seen=seen, size=size, at=at)
    mails[number] = Mail(subject, body, path, seen, size, at)
    return number


def leaf(chance: random.Random) -> Asked:
    word, other, path = chance.choice(WORDS), chance.choice(WORDS), chance.choice(PATHS)
    size = chance.choice([1000, 2000])
    asked: list[Asked] = [
        (word, lambda mail: word in f"{mail.subject} {mail.body}"),
        (f"subject:{word}", lambda mail: word in mail.subject),
        (f"body:{word}", lambda mail: word in mail.body),
        (
            f'"{word} {other}"',
            lambda mail: any(f"{word} {other}" in text for text in (mail.subject, mail.body)),
        ),
        ("is:read", lambda mail: mail.seen),
        (f"in:{path}", lambda mail: f"/{mail.path}".endswith(f"/{path}")),
        (f"larger:{size}", lambda mail: mail.size >= size),
    ]
    return chance.choice(asked)


def tree(chance: random.Random, depth: int = 0) -> Asked:
    kind = "leaf" if depth > 2 else chance.choice(["leaf", "not", "and", "or"])
    if kind == "leaf":
        return leaf(chance)
    (query, first), (more, second) = tree(chance, depth + 1), tree(chance, depth + 1)
    if kind == "not":
        return f"-({query})", lambda mail: not first(mail)
    if kind == "and":
        return f"({query} {more})", lambda mail: first(mail) and second(mail)
    return f"({query} OR {more})", lambda mail: first(mail) or second(mail)


async def counted(mailbox: Mailbox, query: str) -> tuple[int, dict[str, int], dict[str, int]]:
    async with mailbox.db.transaction(mailbox.tenant) as conn:
        found = await facets.count(conn, mailbox.tenant, query, list(Facet), now=NOW)
    folders, months = found.folders or (), found.months or ()
    return found.counted, {of.path: of.count for of in folders}, {of.month: of.count for of in months}


async def check_counts(mailbox: Mailbox, query: str, wanted: list[Mail], last: Results) -> None:
    paths, months = (sorted(of) for of in zip(*((m.path, f"{m.at:%Y-%m}") for m in wanted), strict=True))
    assert (last.total, last.total_is_exact) == (len(wanted), True), query
    assert await counted(mailbox, query) == (
        len(wanted),
        {path: paths.count(path) for path in paths},
        {month: months.count(month) for month in months},
    ), query


@pytest.mark.parametrize("seed", range(4))
async def test_every_query_finds_what_a_loop_over_all_mail_would_and_nothing_twice(
    mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    chance, mails = random.Random(seed), dict[MessageId, Mail]()
    for path in PATHS:
        await mailbox.add_folder(path)
    for _ in range(60):
        await add(mailbox, mails, chance)
    for _ in range(20):
        query, says = tree(chance)
        wanted = {number for number, mail in mails.items() if says(mail)}
        is_still, found, came, gone = chance.random() < 0.5, list[MessageId](), set[MessageId](), set()
        monkeypatch.setattr(store, "LOOKED", chance.choice([3, 20, 500]))
        monkeypatch.setattr(store, "RANKED", chance.choice([4, 30, 250]))
        page = await mailbox.search(query, limit=3)
        while page.next:
            found += [hit.message for hit in page.hits]
            if not is_still:
                came.add(await add(mailbox, mails, chance))
                gone.add(number := chance.choice(list(mails)))
                del mails[number]
                async with mailbox.db.transaction(mailbox.tenant) as conn:
                    await conn.execute(REMOVE, mailbox.tenant, number)
            page = await mailbox.search(query, limit=3, cursor=page.next)
        found += [hit.message for hit in page.hits]

        assert len(found) == len(set(found)), query
        assert wanted - gone <= set(found) <= wanted | came, query
        if is_still and wanted:
            monkeypatch.setattr(store, "LOOKED", 500)
            await check_counts(mailbox, query, [mails[number] for number in wanted], page)
