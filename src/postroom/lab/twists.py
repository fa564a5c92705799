"""Faults of the spoken word: what the server meant to say, and what it says instead. Pure.

A line is twisted by every fault of these tables that is switched on, in the order of the table.
"""

import re
from collections.abc import Callable

Twist = Callable[[bytes], bytes]


def _replacing(pattern: bytes, replacement: bytes) -> Twist:
    expression = re.compile(pattern, re.DOTALL)
    return lambda line: expression.sub(replacement, line)


def _as_literal(line: bytes) -> bytes:
    """The quoted name at the end of a LIST line as a literal."""
    match = re.fullmatch(rb'(\* LIST \([^)]*\) (?:NIL|"[^"]*") )"((?:[^"\\]|\\.)*)"', line, re.DOTALL)
    if match is None:
        return line
    name = re.sub(rb"\\(.)", rb"\1", match[2])
    return b"%s{%d}\r\n%s" % (match[1], len(name), name)


def _bare(line: bytes) -> bytes:
    """The name without quotes, whatever is in it but a quote."""
    return re.sub(rb'(\A\* LIST \([^)]*\) (?:NIL|"[^"]*") )"([^"\\]+)"\Z', rb"\1\2", line)


UNTAGGED: dict[str, Twist] = {
    "validity-zero": _replacing(rb"UIDVALIDITY \d+", b"UIDVALIDITY 0"),
    "validity-garbage": _replacing(rb"UIDVALIDITY \d+", b"UIDVALIDITY soon"),
    "uidnext-decreases": _replacing(rb"UIDNEXT \d+", b"UIDNEXT 1"),
    "modseq-missing": _replacing(rb"HIGHESTMODSEQ \d+\]", b"NOMODSEQ]"),
    "modseq-zero": _replacing(rb"HIGHESTMODSEQ \d+", b"HIGHESTMODSEQ 0"),
    "modseq-negative": _replacing(rb"MODSEQ (\(?)(\d+)", rb"MODSEQ \1-\2"),
    "status-unreadable": _replacing(rb"\A\* STATUS .*", b"* STATUS (MESSAGES"),
    "delimiter-nil": _replacing(rb'\A(\* LIST \([^)]*\)) "."', rb"\1 NIL"),
    "list-literals": _as_literal,
    "list-tabs": _bare,
    "vanished-malformed": _replacing(rb"\A(\* VANISHED) .*", rb"\1 (EARLIER"),
    "codes-without-ok": _replacing(rb"\A\* OK \[(?!CAPABILITY)", b"* ["),
    "text-8bit": _replacing(rb"\A(\* OK .*)\Z", b"\\1 Gr\xfc\xdfe \xff"),
    "size-float": _replacing(rb"RFC822\.SIZE \d+", b"RFC822.SIZE 9.3736e+06"),
    "size-negative": _replacing(rb"RFC822\.SIZE (\d+)", rb"RFC822.SIZE -\1"),
    "date-missing": _replacing(rb' ?INTERNALDATE "[^"]*"', b""),
    "date-garbage": _replacing(rb'INTERNALDATE "[^"]*"', b'INTERNALDATE "some day"'),
    "flags-odd": _replacing(rb"(?<= )FLAGS \(", b"FLAGS (5 "),
    "ids-nil": _replacing(rb"(THREADID|X-GM-LABELS) \([^)]*\)", rb"\1 NIL"),
    "labels-odd": _replacing(rb"X-GM-LABELS \(", rb'X-GM-LABELS ("*()" "50%" '),
}
NAMES = {
    "capability-malformed": _replacing(rb"IMAP4rev1", b'IMAP4rev1  LITERAL + "" (X ='),
}
ENDS: dict[str, Twist] = {
    "throttled": _replacing(rb"OK .*", b"OK Success [THROTTLED]"),
    "completion-nul": lambda line: line + b"\0\0\0",
    "stray-tags": lambda line: b"LOST7 OK done\r\n" + line,
    "reply-early": lambda line: line + b"\r\n" + _next(line),
}


def _next(line: bytes) -> bytes:
    """An answer to the tag after this one."""
    tag = line.partition(b" ")[0]
    number = re.search(rb"\d*\Z", tag)
    assert number is not None
    return b"%s%d OK done" % (tag[: number.start()], int(number[0] or 0) + 1)


BROKEN_STRUCTURE = b'BODYSTRUCTURE (("text" "plain" ("boundary" NIL "charset") NIL "7bit" 5 -1)("x" """" NIL)'
DEEP_STRUCTURE = b"BODYSTRUCTURE " + b"(" * 100_000 + b")" * 100_000
SHORT_ENVELOPE = b'ENVELOPE ("gestern" NIL ((NIL NIL "ann")) (("ann@b.example" "Ann")))'
HOSTLESS_ENVELOPE = b'ENVELOPE (NIL "hi" ((NIL NIL "a@b a@b" NIL)) NIL NIL NIL NIL NIL NIL "<1@localhost>")'
EXTRAS = {
    "bodystructure-invalid": BROKEN_STRUCTURE,
    "envelope-broken": SHORT_ENVELOPE,
    "envelope-nil-host": HOSTLESS_ENVELOPE,
}
