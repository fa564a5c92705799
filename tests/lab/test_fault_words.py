"""Faults that show in what the server says: each changes its answers, and only while it is switched on."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from lab.talk import signed_in

from postroom.lab import FAULTS, LabMailbox, LabServer, serve
from postroom.lab.faults import Faults
from postroom.lab.mails import mail

LIST = 'zz LIST "" *'
RETURN = 'zz LIST "" * RETURN (CHILDREN)'
OPEN = "zz SELECT INBOX"
SENT = "zz SELECT Sent"
FETCH = "zz UID FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[])"
CHANGED = "zz UID FETCH 1:* (FLAGS) (CHANGEDSINCE 1 VANISHED)"

SAID = {  # the command, and what its answer holds while the fault is on
    "completion-nul": ("zz NOOP", r"zz OK done\0\0\0"),
    "completion-unreadable": ("zz UID FETCH 1 (UID)", r"zz \0OK\?"),
    "stray-tags": ("zz NOOP", "LOST7 OK done"),
    "codes-without-ok": (OPEN, r"\* \[UIDVALIDITY"),
    "capability-malformed": ("zz CAPABILITY", r"LITERAL \+"),
    "throttled": ("zz NOOP", r"zz OK Success \[THROTTLED\]"),
    "names-invalid": (LIST, "Gr&A&PYA3w-e"),
    "names-exact": ('zz SELECT "Größe & mehr"', r"zz NO \[NONEXISTENT\]"),
    "names-utf8": (LIST, '"Größe & mehr"'),
    "delimiter-nil": (LIST, r'\) NIL "Sent"'),
    "prefix-appears": (LIST, r'"\." "INBOX\.Sent"'),
    "list-literals": (LIST, r"\{4\}\nSent"),
    "list-tabs": (LIST, "&-\tmehr$"),
    "folder-nonexistent": (LIST, r"\\NonExistent"),
    "folder-locked": (LIST, '"Locked"'),
    "names-wild": (LIST, r'"Sent%\*"'),
    "list-return-bad": (RETURN, "zz BAD"),
    "list-duplicates": (LIST, r'"Sent"\n.*"Sent"'),
    "folder-recreated": (SENT, r"\* 0 EXISTS"),
    "names-traversal": (LIST, r'"\.\./\.\./Sent"'),
    "inbox-mixed-case": (LIST, '"Inbox"'),
    "validity-zero": (OPEN, r"UIDVALIDITY 0\]"),
    "validity-garbage": (OPEN, r"UIDVALIDITY soon\]"),
    "folder-looks-empty": (OPEN, r"\* 0 EXISTS"),
    "status-unreadable": ("zz STATUS INBOX (MESSAGES)", r"\* STATUS \(MESSAGES$"),
    "modseq-zero": (OPEN, r"HIGHESTMODSEQ 0\]"),
    "modseq-negative": (OPEN, r"HIGHESTMODSEQ -\d"),
    "modseq-missing": (OPEN, r"\[NOMODSEQ\]"),
    "vanished-malformed": (CHANGED, r"VANISHED \(EARLIER$"),
    "vanished-lies": (CHANGED, r"VANISHED \(EARLIER\) 1:3"),
    "expunge-unknown": (FETCH, r"\* 99999 EXPUNGE"),
    "fetch-before-exists": (FETCH, r"\* 3 FETCH \(FLAGS"),
    "fetch-zero": (FETCH, r"\* 0 FETCH"),
    "sequence-shifted": (FETCH, r"\* 2 FETCH \(UID 1 "),
    "uid-zero": ("zz UID SEARCH ALL", r"SEARCH 0 1 3"),
    "uids-descending": ("zz UID SEARCH ALL", r"SEARCH 3 1"),
    "uids-skip": (OPEN, r"UIDNEXT 1\d{3}\]"),
    "uidnext-decreases": (OPEN, r"UIDNEXT 1\]"),
    "appenduid-swapped": ('zz APPEND Sent "hi"', r"APPENDUID \d \d{10}"),
    "uidplus-missing": ("zz UID EXPUNGE 1", "zz BAD"),
    "move-broken": ("zz UID MOVE 1 Sent", "zz NO"),
    "search-all-refused": ("zz UID SEARCH ALL", "zz BAD"),
    "flags-flip": (FETCH, r"UID 1 FLAGS \(\\Flagged \\Seen\)"),
    "bodystructure-invalid": (FETCH, "BODYSTRUCTURE"),
    "envelope-broken": (FETCH, r'ENVELOPE \("gestern" NIL'),
    "envelope-nil-host": (FETCH, '"a@b a@b" NIL'),
    "size-float": (FETCH, r"RFC822\.SIZE 9\.3736e\+06"),
    "size-negative": (FETCH, r"RFC822\.SIZE -\d"),
    "partial-ignored": ("zz UID FETCH 1 (BODY.PEEK[]<0.5>)", r"BODY\[\]<0> \{\d\d+\}"),
    "nested-deep": (FETCH, r"BODYSTRUCTURE \({1000}"),
    "literal8": (FETCH, r"BODY\[\] ~\{"),
    "text-8bit": (OPEN, "Gr\ufffd"),
    "flags-odd": (FETCH, r"FLAGS \(5 "),
    "ids-nil": ("zz UID FETCH 1 (THREADID X-GM-LABELS)", "THREADID NIL X-GM-LABELS NIL"),
    "labels-odd": ("zz UID FETCH 1 (X-GM-LABELS)", r'"\*\(\)"'),
    "date-garbage": (FETCH, 'INTERNALDATE "some day"'),
    "unsolicited-list": (FETCH, '"Elsewhere"'),
    "unsolicited-flags": (FETCH, r"FETCH \(UID 1 FLAGS \([^)]*\)\)$"),
}
UNSAID = {  # the command, and what its answer holds unless the fault is on
    "enabled-silent": ("zz ENABLE CONDSTORE", r"\* ENABLED"),
    "list-forgets": (LIST, "INBOX"),
    "list-return-empty": (RETURN, r"\* LIST"),
    "inbox-missing": (LIST, "INBOX"),
    "star-silent": ("zz UID FETCH * (UID)", "FETCH"),
    "modseq-early": (CHANGED, r"\(UID 3 "),
    "vanished-once": (CHANGED, r"VANISHED \(EARLIER\) 2"),
    "uid-missing": (FETCH, r"\(UID 1 "),
    "gone-in-fetch": (FETCH, r"\(UID 3 "),
    "left-out": ("zz UID FETCH 1:* (FLAGS)", r"\(UID 3 "),
    "appenduid-missing": ("zz UID COPY 1 Sent", "COPYUID"),
    "keywords-dropped": ("zz UID STORE 1 +FLAGS (odd)", "odd"),
    "date-missing": (FETCH, "INTERNALDATE"),
}
ARRIVED = {  # what a mail holds that arrived while the fault was on
    "mail-without-id": rb"\A(?!(?s:.*)^Message-ID)",
    "mail-shared-id": rb"^Message-ID: <1@localhost>\r$",
    "mail-two-ids": rb"\AMessage-ID: <first-of-two@",
    "mail-two-senders": rb'\AFrom: "Your Bank"',
    "mail-date-future": rb"^Date: .* 2038 ",
    "mail-date-past": rb"^Date: .* 1970 ",
    "mail-date-unreadable": rb"^Date: gestern",
    "mail-date-zoneless": rb"^Date: Mon, 3 Feb 2020 10:00:00\r$",
    "mail-date-missing": rb"\A(?!(?s:.*)^Date:)",
    "mail-nul": rb"\0",
    "mail-8bit-header": rb"^Subject: Pr\xfcfung",
    "mail-charset-unknown": rb"x-unknown-8bit",
    "mail-charset-wrong": rb"charset=us-ascii",
    "mail-wordy": rb"word000001 word000002",
    "mail-huge": rb"(?s).{6000000}",
    "mail-crowded": rb"p19999@crowd\.example",
    "mail-nested": rb"boundary=b1000",
    "mail-one-boundary": rb"(?:--b\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n){50}",
    "mail-without-end": rb"\A(?!(?s:.*)--\r\n\Z)",
    "mail-without-gap": rb"\A(?!(?s:.*)\r\n\r\n--)",
    "mail-proto-headers": rb"\A__proto__: ",
    "mail-report": rb"(?s)Final-Recipient.*Final-Recipient",
    "mail-winmail": rb"application/ms-tnef",
    "mail-signed": rb"^Every blank counts\.  \r$",
}


@asynccontextmanager
async def server_with(fault: str, *, on: bool) -> AsyncIterator[LabServer]:
    """INBOX with the messages 1 and 3, of which 3 changed last; Sent with three; and one with a long name."""
    faults = [fault] if on else []
    async with serve(messages=6, folder_count=2, faults=faults, offers=["objectid", "gmail"]) as server:
        server.mailbox.create("Größe & mehr")
        server.mailbox.rename("[Gmail]/Sent Mail", "Sent")
        server.mailbox.expunge("INBOX", 2)
        server.mailbox.flag("INBOX", 3, ["\\Seen"])
        yield server


async def answer(fault: str, command: str, *, on: bool) -> str:
    folder = None if command.split()[1] in {"SELECT", "ENABLE", "LIST"} else "INBOX"
    async with server_with(fault, on=on) as server, signed_in(server, folder) as client:
        return "\n".join(await client.ask(command))


@pytest.mark.parametrize("fault", SAID)
async def test_a_fault_adds_to_what_is_said(fault: str) -> None:
    command, pattern = SAID[fault]

    assert re.search(pattern, await answer(fault, command, on=True), re.MULTILINE)
    assert not re.search(pattern, await answer(fault, command, on=False), re.MULTILINE)


@pytest.mark.parametrize("fault", UNSAID)
async def test_a_fault_takes_from_what_is_said(fault: str) -> None:
    command, pattern = UNSAID[fault]

    assert not re.search(pattern, await answer(fault, command, on=True), re.MULTILINE)
    assert re.search(pattern, await answer(fault, command, on=False), re.MULTILINE)


@pytest.mark.parametrize("fault", ARRIVED)
def test_mail_arrives_with_a_fault(fault: str) -> None:
    numbers = [0] if fault in {"mail-huge", "mail-crowded", "mail-nested", "mail-wordy"} else range(0, 60, 3)
    faulty = LabMailbox.filled(60, folder_count=1, faults=Faults([fault])).folder("INBOX").messages

    arrived = {number: faulty[number + 1].raw() for number in numbers}
    assert any(re.search(ARRIVED[fault], raw, re.MULTILINE) for raw in arrived.values())
    assert all(raw != mail(1, number) for number, raw in arrived.items() if number == 0)
    assert faulty[2].raw() == mail(1, 1)


def test_every_fault_is_tested_here_or_next_door() -> None:
    sources = [path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_fault*.py")]

    assert [name for name in FAULTS if not any(f'"{name}"' in source for source in sources)] == []
