"""Play a transcript against a connection: `S:` comes from the server, `C:` must be what we send."""

from collections.abc import Iterable

from postroom.imap.commands import Command
from postroom.imap.connection import Connection, Event

READY = "S: * OK [CAPABILITY IMAP4rev1 LITERAL-] ready\n"
INBOX = """
    S: * PREAUTH ready
    C: P1 SELECT "INBOX"
    S: * 5 EXISTS
    S: * OK [UIDVALIDITY 7] fine
    S: * OK [UIDNEXT 9] fine
    S: * OK [HIGHESTMODSEQ 99] fine
    S: P1 OK [READ-WRITE] done
"""


def talk(script: str, connection: Connection, *todo: Command) -> list[Event]:
    """`C:` lines take commands from `todo`; `\\0` is a NUL."""
    waiting, seen, unread = list(todo), list[Event](), b""
    for line in filter(str.strip, script.splitlines()):
        who, text = line.strip().split(": ", 1)
        raw = text.replace("\\0", "\0").encode() + b"\r\n"
        if who == "S":
            seen += connection.receive(raw)
            continue
        unread += connection.outgoing()
        if not unread:
            connection.send(waiting.pop(0))
            unread += connection.outgoing()
        assert unread.startswith(raw), unread
        unread = unread[len(raw) :]
    assert unread + connection.outgoing() == b""
    return seen


def kinds(events: Iterable[Event]) -> list[str]:
    return [type(event).__name__ for event in events]
