"""Lists of messages against a loop over all mail: whatever is asked, both give the same."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest
from servers.api import Client
from servers.copies import START, Copy
from servers.tenants import ANNS, BOBS, ONE, TWO

from postroom.db.pool import Database
from postroom.ids import AccountId, TenantId
from postroom.mail.store import places, read

Copies = Callable[[TenantId, AccountId], Copy]
Asked = dict[str, str]

SENDERS = ["a@x.org", "B@x.org", "b@X.org", "b@x.org", "Zoë@x.org", ""]
FLAGS = ["\\Seen", "\\Flagged", "$Work", "work", "Ünlü", "a%b_c", "Lists/a"]
PATHS = ["INBOX", "Lists/a", "Lists/b", "a", "Work", "a%b_c", "x/Work"]
HOURS = [(START + timedelta(hours=number)).isoformat() for number in range(8)]
FILTERS: dict[str, Sequence[str]] = {
    "folder": [*PATHS, "inbox"],
    "label": ["work", "$WORK", "a", "Lists/a", "b", "ünlü", "a%b_c", "\\seen", "none"],
    "from": [*filter(None, SENDERS), "b@X.ORG", "A@x.org"],
    "read": ["true", "false"],
    "starred": ["true", "false"],
    "after": HOURS,
    "before": HOURS,
    "sort_by": ["date", "sender"],
    "order": ["asc", "desc"],
}


@dataclass(frozen=True)
class Mail:
    id: str
    number: int
    at: datetime
    sender: str
    flags: frozenset[str]
    paths: frozenset[str]


@pytest.fixture
async def mails(copy: Copies, tenants: None) -> list[Mail]:  # noqa: ARG001  # they must be there first
    """Mail of one account, much of it received at the same moment; another tenant has some as well."""
    chance, ann, made = random.Random(7), copy(ONE, ANNS), []
    for number in range(80):
        sender, at = chance.choice(SENDERS), START + timedelta(hours=chance.randrange(8))
        flags = tuple(chance.sample(FLAGS, chance.randrange(4)))
        paths = chance.sample(PATHS, chance.choice([1, 1, 2, 3]))
        raw = f"From: {sender}\r\nSubject: {number}\r\n\r\n{number}".encode()
        for path in paths:
            [placed] = await ann.deliver(raw, path=path, flags=flags, at=at)
        local, at_sign, domain = sender.rpartition("@")
        kept = local + at_sign + domain.lower()
        made.append(Mail(str(placed.public_id), placed.id, at, kept, frozenset(flags), frozenset(paths)))
    await copy(TWO, BOBS).deliver(b"From: a@x.org\r\n\r\nsomebody else's")
    return made


def is_asked_for(mail: Mail, asked: Asked) -> bool:
    local, at_sign, domain = asked.get("from", "").rpartition("@")
    wanted = {asked.get("from"), asked.get("from", "").lower(), local + at_sign + domain.lower()}
    label = asked.get("label", "")
    folder = {"inbox": "INBOX"}.get(asked.get("folder", ""), asked.get("folder", ""))
    return all(
        [
            not folder or folder in mail.paths,
            not label
            or label.lower() in {flag.lower() for flag in mail.flags}
            or any(f"/{path}".endswith(f"/{label}") for path in mail.paths),
            "from" not in asked or mail.sender in wanted,
            "read" not in asked or (asked["read"] == "true") == ("\\Seen" in mail.flags),
            "starred" not in asked or (asked["starred"] == "true") == ("\\Flagged" in mail.flags),
            "after" not in asked or mail.at >= datetime.fromisoformat(asked["after"]),
            "before" not in asked or mail.at < datetime.fromisoformat(asked["before"]),
        ]
    )


def listed(mails: list[Mail], asked: Asked) -> list[str]:
    by_sender = asked.get("sort_by") == "sender"
    found = [mail for mail in mails if is_asked_for(mail, asked)]
    found.sort(key=lambda mail: (mail.sender.encode() if by_sender else b"", mail.at, mail.number))
    is_descending = asked.get("order", "asc" if by_sender else "desc") == "desc"
    return [mail.id for mail in (reversed(found) if is_descending else found)]


async def page(api: Client, asked: Asked, **more: object) -> dict[str, Any]:
    answer = await api.get("/v1/mail/messages", params=asked | {name: str(of) for name, of in more.items()})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def by_cursor(api: Client, asked: Asked, size: int) -> list[str]:
    found: list[str] = []
    more: Asked = {}
    while True:
        answer = await page(api, asked, page_size=size, **more)
        found += [item["id"] for item in answer["items"]]
        if answer["next"] is None:
            return found
        more = {"cursor": answer["next"]}


@pytest.mark.parametrize("seed", range(5))
async def test_every_question_is_answered_as_a_loop_over_all_mail_would(
    mails: list[Mail], api: Client, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    chance = random.Random(seed)
    for _ in range(40):
        monkeypatch.setattr("postroom.mail.store.read.NEARBY", chance.choice([1, 10, 2000]))
        monkeypatch.setattr("postroom.mail.store.read.FEW", chance.choice([1, 100_000]))
        monkeypatch.setattr("postroom.mail.routes.COUNTED", counted := chance.choice([3, 1000]))
        asked = {name: chance.choice(values) for name, values in FILTERS.items() if chance.random() < 0.3}
        wanted, size = listed(mails, asked), chance.choice([1, 7, 50])
        number = chance.randrange(1, len(wanted) // size + 3)
        found = await page(api, asked, page=number, page_size=size)

        assert [item["id"] for item in found["items"]] == wanted[(number - 1) * size : number * size], asked
        assert (found["total"], found["total_is_exact"]) == (
            min(len(wanted), counted),
            len(wanted) <= counted,
        )
        assert (found["has_prev"], found["has_next"]) == (number > 1, len(wanted) > number * size), asked
        assert await by_cursor(api, asked, max(size, 7)) == wanted, asked


async def test_a_list_tells_the_first_of_many_recipients_and_the_message_all(
    api: Client, copy: Copies
) -> None:
    people = [f"n{number}@example.org" for number in range(read.PEOPLE + 1)]
    head = f"Message-ID: <one@example.org>\r\nTo: {', '.join(people)}\r\nCc: cid@example.org\r\n\r\n"
    [mail] = await copy(ONE, ANNS).deliver(head.encode())
    [listed] = (await page(api, {}))["items"]
    alone = (await api.get(f"/v1/mail/messages/{mail.public_id}")).json()

    assert [who["address"] for who in listed["to"]] == people[: read.PEOPLE]
    assert [who["address"] for who in alone["to"]] == people
    assert [who["address"] for who in alone["cc"]] == ["cid@example.org"]
    assert alone["conversation"] == [listed]


async def test_what_lies_nowhere_is_in_no_list_and_in_no_thread(
    api: Client, copy: Copies, db: Database
) -> None:
    ann = copy(ONE, ANNS)
    begun, answered, alone = b"<one@example.org>", b"<two@example.org>", b"<three@example.org>"
    await ann.deliver(b"Message-ID: " + begun + b"\r\nFrom: a@x.org\r\n\r\nfirst")
    await ann.deliver(b"In-Reply-To: " + begun + b"\r\nMessage-ID: " + answered + b"\r\n\r\nsecond")
    await ann.deliver(b"Message-ID: " + alone + b"\r\n\r\nthird")
    threads = {item["thread"] for item in (await page(api, {}))["items"]}
    async with db.transaction(ONE) as conn:
        await places.displace(conn, ONE, ann.folders["INBOX"], [2, 3])
    [left] = (await page(api, {}))["items"]
    [thread] = (await api.get("/v1/mail/threads")).json()["items"]
    [other] = threads - {left["thread"]}
    empty = (await api.get(f"/v1/mail/threads/{other}")).json()

    assert (thread["id"], thread["messages"], thread["unread"]) == (left["thread"], 1, 1)
    assert (thread["preview"], [who["address"] for who in thread["senders"]]) == ("first", ["a@x.org"])
    assert (await api.get(f"/v1/mail/threads/{thread['id']}")).json()["messages"] == [left]
    assert (await api.get(f"/v1/mail/messages/{left['id']}")).json()["conversation"] == [left]
    assert (empty["thread"]["messages"], empty["messages"]) == (0, [])
