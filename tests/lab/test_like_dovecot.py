"""Asked the same, the lab server and a real Dovecot answer the same."""

import asyncio
import imaplib
from collections.abc import Callable

import pytest
from servers.dovecot import Dovecot

from postroom.lab import LabServer, serve
from postroom.lab.mails import is_broken, mail, received_at

SEED = 11
NUMBERS = [n for n in range(60) if not is_broken(SEED, n) and len(mail(SEED, n)) < 200_000][:40]
FETCHES = [
    "(UID FLAGS RFC822.SIZE)",
    "(BODY.PEEK[])",
    "(BODY.PEEK[HEADER])",
    "(BODY.PEEK[TEXT]<10.40>)",
    "(BODY.PEEK[]<999999.5>)",
    "(BODY.PEEK[1])",
    "(BODY.PEEK[2])",
    "(BODY.PEEK[2.MIME])",
]
SEARCHES = [
    "ALL",
    "UNSEEN",
    "NOT SEEN",
    "2:5 SEEN",
    "UID 3:7,30:*",
    "UID 500:*",
    "LARGER 20000",
    "SMALLER 9000",
    "SINCE 8-Jan-2016",
    "BEFORE 6-Jan-2016",
    "ON 7-Jan-2016",
    'HEADER List-Id ""',
    'FROM "robin"',
    "OR SEEN (LARGER 9000 SMALLER 30000)",
    "RETURN (MIN MAX COUNT) UNSEEN",
    "RETURN () 3:9",
    "RETURN (COUNT) UID 900",
]
Ask = Callable[[imaplib.IMAP4], object]


def asked(server: LabServer | Dovecot, user: str, ask: Ask) -> object:
    with imaplib.IMAP4(server.host, server.port) as client:
        client.login(user, server.password)
        client.select("INBOX")
        return ask(client)


async def both(dovecot: Dovecot, user: str, ask: Ask) -> tuple[object, object]:
    async with serve(messages=0, folder_count=1, seed=SEED) as server:
        for number in NUMBERS:
            server.mailbox.arrive(number, flags=flags(number))
        ours = await asyncio.to_thread(asked, server, server.address, ask)
    return ours, await asyncio.to_thread(asked, dovecot, user, ask)


def flags(number: int) -> list[str]:
    return ["\\Seen"] if number % 3 else []


@pytest.fixture(scope="module")
def user(dovecot: Dovecot) -> str:
    """Their mailbox, seen once, so that nothing in it is recent."""
    name = dovecot.user("twin")
    dovecot.append(
        name,
        "INBOX",
        (mail(SEED, n) for n in NUMBERS),
        received=(received_at(SEED, n) for n in NUMBERS),
        flags=(flags(n) for n in NUMBERS),
    )
    asked(dovecot, name, lambda client: client.close())
    return name


@pytest.mark.parametrize("items", FETCHES)
async def test_fetches_are_answered_alike(dovecot: Dovecot, user: str, items: str) -> None:
    ours, theirs = await both(dovecot, user, lambda client: client.uid("FETCH", "1:*", items))

    assert ours == theirs


@pytest.mark.parametrize("keys", SEARCHES)
async def test_searches_are_answered_alike(dovecot: Dovecot, user: str, keys: str) -> None:
    def ask(client: imaplib.IMAP4) -> object:
        client.uid("SEARCH", keys)
        return [
            answer.partition(b")")[2] if name == "ESEARCH" else answer
            for name in ("SEARCH", "ESEARCH")
            for answer in client.response(name)[1]
            if isinstance(answer, bytes)
        ]

    ours, theirs = await both(dovecot, user, ask)

    assert ours == theirs
