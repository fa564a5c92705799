"""The answer to a FETCH: what a message is, item by item, and the faults that get in between."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from email.parser import BytesHeaderParser
from email.utils import getaddresses

from postroom.lab.mailbox import LabFolder, LabMessage
from postroom.lab.names import encode_name
from postroom.lab.session import Hangup, Session
from postroom.lab.structure import bodystructure
from postroom.lab.structure import section as part_of
from postroom.lab.twists import DEEP_STRUCTURE, EXTRAS
from postroom.lab.wire import Misread, quoted

GMAIL_IDS = 1_400_000_000_000_000_000
SYSTEM_LABELS = {
    "INBOX": "\\Inbox",
    "\\Sent": "\\Sent",
    "\\Drafts": "\\Draft",
    "\\Junk": "\\Spam",
    "\\Trash": "\\Trash",
}
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
LINE = 17 << 20  # bytes of the line without end
BOMB = 64 << 20  # bytes of the one that goes off when it is inflated


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a message that is asked for; `shown` is how the answer names it."""

    shown: bytes
    name: str
    fields: frozenset[str]
    start: int | None
    length: int
    peek: bool


async def answer(session: Session, message: LabMessage, items: list[str], sections: list[Section]) -> int:
    """Send one FETCH answer; returns its bytes."""
    faults = session.faults
    for fault in faults.among(PRELUDES):
        session.line(PRELUDES[fault](session, message))
    raw = message.raw() if sections or {"ENVELOPE", "BODY", "BODYSTRUCTURE"} & set(items) else b""
    if any(not section.peek for section in sections) and not session.read_only:
        _mark_seen(session, session.selected, message)
        items = [*items, "FLAGS"] if "FLAGS" not in items else items
    pieces = [piece for item in items if (piece := _item(session, message, item, raw)) is not None]
    pieces += [EXTRAS[fault] for fault in faults.among(EXTRAS)]
    if message.uid == 3 and faults.active("nested-deep"):
        pieces.append(DEEP_STRUCTURE)
    place = session.sequence(message.uid) + faults.active("sequence-shifted")
    head = session.twisted(b"* %d FETCH (%s" % (place, b" ".join(pieces)))
    bodies = [] if faults.active("body-missing") else [_body(session, s, message, raw) for s in sections]
    line = head + b"".join(b" " * (not head.endswith(b"(")) + body for body in bodies) + b")\r\n"
    if sections:
        await _interrupt(session, line)
    session.writer.write(line)
    return len(line)


async def _interrupt(session: Session, line: bytes) -> None:
    """The faults that end a connection in the middle of an answer with a body."""
    faults, half = session.faults, line[: len(line) // 2]
    if faults.first("cut-in-literal"):
        session.writer.write(half)
        await session.writer.drain()
        raise Hangup
    if faults.first("reset-in-literal"):
        session.writer.write(half)
        await session.reset()
    if faults.first("stall-in-literal"):
        session.writer.write(half)
        await session.fall_silent()
    if faults.first("line-endless"):
        session.writer.write(b"* OK " + bytes(LINE))
    if session.compressed and faults.first("compress-bomb"):
        session.writer.write(b"* OK " + bytes(BOMB))
    if faults.first("literal-huge"):
        session.writer.write(re.sub(rb"\{\d+\}\r\n", b"{4294967296}\r\n", half, count=1))
        await session.writer.drain()
        raise Hangup


PRELUDES: dict[str, Callable[[Session, LabMessage], bytes]] = {
    "unsolicited-status": lambda *_: b'* STATUS "Elsewhere" (MESSAGES 3 UIDNEXT 4 UIDVALIDITY 5)',
    "unsolicited-list": lambda *_: b'* LIST (\\HasNoChildren) "/" "Elsewhere"',
    "unsolicited-flags": lambda session, message: session.flags_of(message),
    "expunge-unknown": lambda *_: b"* 99999 EXPUNGE",
    "fetch-before-exists": lambda session, _: b"* %d FETCH (FLAGS ())" % (len(session.known) + 1),
    "fetch-zero": lambda *_: b"* 0 FETCH (FLAGS (\\Seen))",
    "uid-zero": lambda *_: b"* 1 FETCH (UID 0 FLAGS ())",
}


def _mark_seen(session: Session, folder: LabFolder, message: LabMessage) -> None:
    if "\\Seen" not in message.flags:
        session.update(expunge=False)
        folder.flag(message.uid, message.flags | {"\\Seen"})
        session.noticed()


def _item(session: Session, message: LabMessage, item: str, raw: bytes) -> bytes | None:
    faults = session.faults
    match item:
        case "UID":
            return None if faults.active("uid-missing") else b"UID %d" % message.uid
        case "FLAGS":
            flags = " ".join(sorted(message.flags)).encode()
            return None if faults.active("no-flags-in-fetch") else b"FLAGS (%s)" % flags
        case "INTERNALDATE":
            when = message.received.replace(year=2099) if faults.active("date-absurd") else message.received
            return f'INTERNALDATE "{when.day:2}-{MONTHS[when.month - 1]}-{when:%Y %H:%M:%S %z}"'.encode()
        case "RFC822.SIZE":
            return b"RFC822.SIZE %d" % (message.size + 17 * faults.active("size-lies"))
        case "MODSEQ":
            session.require("CONDSTORE", item)
            session.enabled.add("CONDSTORE")
            return b"MODSEQ (%d)" % message.modseq
        case "ENVELOPE":
            return b"ENVELOPE " + _envelope(raw)
        case "BODY" | "BODYSTRUCTURE":
            return item.encode() + b" " + bodystructure(raw, extended=item != "BODY")
    return _of_ids(session, message, item)


def _of_ids(session: Session, message: LabMessage, item: str) -> bytes:
    """What OBJECTID and X-GM-EXT-1 add. A message's own label is not among its labels."""
    session.require("X-GM-EXT-1" if item.startswith("X-GM-") else "OBJECTID", item)
    match item:
        case "EMAILID":
            return b"EMAILID (M%d)" % message.id
        case "THREADID":
            return b"THREADID (T%d)" % message.thread
        case "X-GM-MSGID":
            return b"X-GM-MSGID %d" % (GMAIL_IDS + message.id)
        case "X-GM-THRID":
            return b"X-GM-THRID %d" % message.thread
        case "X-GM-LABELS":
            return b"X-GM-LABELS (%s)" % b" ".join(_labels(session, message))
    raise Misread(f"{item} is not known here")


def _labels(session: Session, message: LabMessage) -> list[bytes]:
    if session.account.labels is None:
        return []
    hidden = {session.selected, session.account.labels.everything}
    lie = [folder for folder in session.account.labels.places(message) if folder not in hidden]
    return sorted(quoted(SYSTEM_LABELS.get(f.special_use or f.name) or encode_name(f.name)) for f in lie)


def _body(session: Session, section: Section, message: LabMessage, raw: bytes) -> bytes:
    faults = session.faults
    found = _part(section, b"" if faults.active("empty-body") else raw)
    if section.start is not None and not faults.active("partial-ignored"):
        found = found[section.start : section.start + section.length]
    size = len(found)
    if message.uid == 3:
        size += 5 * (faults.active("literal-long") - faults.active("literal-short"))
    mark = b"~" if faults.active("literal8") else b""
    return b"%s %s{%d}\r\n%s" % (section.shown, mark, max(size, 0), found)


def _part(section: Section, raw: bytes) -> bytes:
    end = _end_of_header(raw)
    match section.name:
        case "":
            return raw
        case "HEADER":
            return raw[:end]
        case "TEXT":
            return raw[end:]
        case "HEADER.FIELDS" | "HEADER.FIELDS.NOT":
            wanted = section.name == "HEADER.FIELDS"
            lines = re.findall(rb"[^\r\n]+(?:\r?\n[ \t][^\r\n]*)*\r?\n", raw[:end])
            kept = [
                line
                for line in lines
                if (line.partition(b":")[0].strip().decode("latin-1").lower() in section.fields) == wanted
            ]
            return b"".join(kept) + b"\r\n"
    if not re.fullmatch(r"\d+(\.\d+)*(\.(MIME|HEADER|TEXT))?", section.name):
        raise Misread(f"section {section.name} is not known here")
    return part_of(raw, section.name)


def _end_of_header(raw: bytes) -> int:
    match = re.search(rb"\r?\n\r?\n", raw)
    return match.end() if match else len(raw)


def _envelope(raw: bytes) -> bytes:
    """Enough of an ENVELOPE for clients that show a list: encoded words stay encoded."""
    header = BytesHeaderParser().parsebytes(raw[: _end_of_header(raw)])

    def said(name: str) -> str:
        return " ".join(str(header.get(name, "")).split())

    def string(value: str) -> bytes:
        return quoted(value.encode("ascii", "replace").decode()) if value else b"NIL"

    def people(name: str) -> bytes:
        found = [
            b"(%s NIL %s %s)"
            % (string(shown), string(address.partition("@")[0]), string(address.partition("@")[2]))
            for shown, address in getaddresses([said(name)])
            if address
        ]
        return b"(%s)" % b"".join(found) if found else b"NIL"

    sender = people("From")
    parts = [string(said("Date")), string(said("Subject")), sender, sender, sender]
    parts += [people("To"), people("Cc"), b"NIL", string(said("In-Reply-To")), string(said("Message-ID"))]
    return b"(%s)" % b" ".join(parts)
