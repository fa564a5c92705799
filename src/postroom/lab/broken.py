"""Ways in which real mail is broken (misbehaviours 91 to 103), done to a whole mail."""

import re
from collections.abc import Callable

from postroom.lab.monstrous import MONSTERS

Damage = Callable[[bytes], bytes]


def _replaced(name: bytes, line: bytes) -> Damage:
    """Put `line` (with its CRLF, or nothing) in the place of a header field and its continuation."""
    field = re.compile(rb"(?im)^" + name + rb":.*\r\n(?:[ \t].*\r\n)*")
    return lambda raw: field.sub(lambda _: line, raw, count=1)


def _two_senders(raw: bytes) -> bytes:
    return b'From: "Your Bank" <security@bank.example>\r\n' + raw


def _two_ids(raw: bytes) -> bytes:
    return b"Message-ID: <first-of-two@lab.example>\r\n" + raw


def _no_end(raw: bytes) -> bytes:
    """The final boundary and what little stands before it are lost on the way."""
    return raw[: max(len(raw) - 120, raw.find(b"\r\n\r\n") + 4)]


def _nul(raw: bytes) -> bytes:
    at = raw.find(b"\r\n\r\n") + 4
    return raw[:at] + b"\0" + raw[at : at + 200].replace(b" ", b"\0") + raw[at + 200 :]


def _no_empty_line(raw: bytes) -> bytes:
    """The header runs into the body."""
    return raw.replace(b"\r\n\r\n", b"\r\n", 1)


def _eight_bits(raw: bytes) -> bytes:
    return _replaced(b"Subject", "Subject: Prüfung für Größe Łódź\r\n".encode("iso-8859-2", "replace"))(raw)


def _bare_newlines(raw: bytes) -> bytes:
    return raw.replace(b"\r\n", b"\n")


WAYS: dict[str, Damage] = {
    "no Message-ID": _replaced(b"Message-ID", b""),
    "the Message-ID of many": _replaced(b"Message-ID", b"Message-ID: <1@localhost>\r\n"),
    "two Message-IDs": _two_ids,
    "two senders": _two_senders,
    "a date in the far future": _replaced(b"Date", b"Date: Tue, 19 Jan 2038 03:14:08 +0000\r\n"),
    "a date of long ago": _replaced(b"Date", b"Date: Thu, 01 Jan 1970 00:00:00 +0000\r\n"),
    "a date nobody can read": _replaced(b"Date", b"Date: gestern, 25:61 Uhr\r\n"),
    "a date without zone": _replaced(b"Date", b"Date: Mon, 3 Feb 2020 10:00:00\r\n"),
    "no date": _replaced(b"Date", b""),
    "NUL bytes": _nul,
    "a charset that does not exist": lambda raw: re.sub(
        rb"charset=[\w-]+", b"charset=x-unknown-8bit", raw, count=1
    ),
    "the wrong charset": lambda raw: re.sub(rb"charset=[\w-]+", b"charset=us-ascii", raw, count=1),
    "no final boundary": _no_end,
    "no empty line": _no_empty_line,
    "8-bit header": _eight_bits,
    "bare newlines": _bare_newlines,
    "an address that is none": _replaced(b"From", b"From: undisclosed <@@>, ; <a@b a@b>\r\n"),
}


# What the faults of arriving mail do to it.
BY_FAULT: dict[str, Damage] = {
    "mail-without-id": WAYS["no Message-ID"],
    "mail-shared-id": WAYS["the Message-ID of many"],
    "mail-two-ids": WAYS["two Message-IDs"],
    "mail-two-senders": WAYS["two senders"],
    "mail-date-future": WAYS["a date in the far future"],
    "mail-date-past": WAYS["a date of long ago"],
    "mail-date-unreadable": WAYS["a date nobody can read"],
    "mail-date-zoneless": WAYS["a date without zone"],
    "mail-date-missing": WAYS["no date"],
    "mail-nul": WAYS["NUL bytes"],
    "mail-8bit-header": WAYS["8-bit header"],
    "mail-charset-unknown": WAYS["a charset that does not exist"],
    "mail-charset-wrong": WAYS["the wrong charset"],
    "mail-without-end": WAYS["no final boundary"],
    "mail-without-gap": WAYS["no empty line"],
    **MONSTERS,
}


def other_id(raw: bytes) -> bytes:
    """The mail as a gateway passes it on that gives every mail a Message-ID of its own."""
    return _replaced(b"Message-ID", b"Message-ID: <rewritten-%d@gateway.example>\r\n" % len(raw))(raw)


def damaged(raw: bytes, throw: int) -> bytes:
    """The mail broken in one of the ways above, chosen by `throw`."""
    ways = list(WAYS.values())
    return ways[throw % len(ways)](raw)
