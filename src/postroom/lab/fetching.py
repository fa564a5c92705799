"""FETCH and UID FETCH: flags, sizes, dates, envelopes, whole messages and sections of them."""

import asyncio
import re
from dataclasses import dataclass
from email.parser import BytesHeaderParser
from email.utils import getaddresses

from postroom.lab.mailbox import LabFolder, LabMessage
from postroom.lab.names import encode_name
from postroom.lab.session import Hangup, No, Session
from postroom.lab.structure import bodystructure
from postroom.lab.structure import section as part_of
from postroom.lab.wire import Argument, Command, Misread, compressed, numbers, quoted, text, texts

MACROS = {
    "ALL": ["FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE"],
    "FAST": ["FLAGS", "INTERNALDATE", "RFC822.SIZE"],
    "FULL": ["FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODY"],
}
OLD_NAMES = {
    "RFC822": "BODY[]",
    "RFC822.HEADER": "BODY.PEEK[HEADER]",
    "RFC822.TEXT": "BODY[TEXT]",
}
BODY = re.compile(r"BODY(\.PEEK)?\[(.*)\](?:<(\d+)\.(\d+)>)?\Z", re.IGNORECASE | re.DOTALL)
DRAIN_EVERY = 1 << 16
LET_OTHERS_EVERY = 32  # messages; each takes a fraction of a millisecond to make
GMAIL_IDS = 1_400_000_000_000_000_000
SYSTEM_LABELS = {
    "INBOX": "\\Inbox",
    "\\Sent": "\\Sent",
    "\\Drafts": "\\Draft",
    "\\Junk": "\\Spam",
    "\\Trash": "\\Trash",
}
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a message that is asked for; `shown` is how the answer names it."""

    shown: bytes
    name: str
    fields: frozenset[str]
    start: int | None
    length: int
    peek: bool


async def fetch(session: Session, command: Command) -> str:
    """Messages that are gone by now are passed over in silence."""
    by_uid = command.name == "UID FETCH"
    folder = session.selected
    chosen = _chosen(session, text(command.arguments[0]), by_uid=by_uid)
    items, sections = _items(command.arguments[1])
    if by_uid and "UID" not in items:
        items.insert(0, "UID")
    since, vanished = _modifiers(session, command.arguments[2:])
    if since is not None and "MODSEQ" not in items:
        items.append("MODSEQ")
    if vanished and by_uid:
        _tell_vanished(session, text(command.arguments[0]), since or 0)
    _refuse(session, bodies=bool(sections))
    sent = made = 0
    present = [folder.messages[uid] for uid in chosen if uid in folder.messages]
    for message in present:
        if since is not None and message.modseq <= since:
            continue
        if sections and message.uid == 3 and session.faults.active("unavailable-uid"):
            raise No("[UNAVAILABLE] UID FETCH failed to read message")
        if sections and message.uid == 3 and session.faults.active("breaks-on-message"):
            raise Hangup
        sent += await _answer(session, message, items, sections)
        if session.faults.active("bye-in-fetch"):
            session.line(b"* BYE going down")
            raise Hangup
        made += 1
        if sent > DRAIN_EVERY or made % LET_OTHERS_EVERY == 0:
            await session.writer.drain()
            await asyncio.sleep(0)
            sent = 0
    session.update(expunge=by_uid)
    return "OK"


def _tell_vanished(session: Session, asked: str, since: int) -> None:
    gone = sorted({uid for modseq, uid in session.selected.gone if modseq > since})
    if named := numbers(asked, gone):
        session.line(b"* VANISHED (EARLIER) %s" % compressed(named).encode())


def _refuse(session: Session, *, bodies: bool) -> None:
    if session.faults.active("backoff"):
        raise No("Request is throttled. Suggested Backoff Time: 299961 milliseconds")
    if bodies and session.faults.turn("overquota") % 2 == 1:
        raise No("[OVERQUOTA] Account exceeded command or bandwidth limits.")


def _chosen(session: Session, asked: str, *, by_uid: bool) -> list[int]:
    """UIDs, in order."""
    if by_uid:
        return numbers(asked, session.known)
    return [session.known[n - 1] for n in numbers(asked, list(range(1, len(session.known) + 1)))]


def _modifiers(session: Session, arguments: list[Argument]) -> tuple[int | None, bool]:
    """CHANGEDSINCE and VANISHED."""
    words = [word.upper() for argument in arguments for word in texts(argument)]
    for word, needed in (("CHANGEDSINCE", "CONDSTORE"), ("VANISHED", "QRESYNC")):
        if word in words:
            session.require(needed, word)
    if "CHANGEDSINCE" not in words:
        return None, "VANISHED" in words
    return int(words[words.index("CHANGEDSINCE") + 1]), "VANISHED" in words


def _items(argument: Argument) -> tuple[list[str], list[Section]]:
    names = texts(argument)
    if len(names) == 1 and names[0].upper() in MACROS:
        names = MACROS[names[0].upper()]
    items, sections = [], []
    for name in names:
        old = OLD_NAMES.get(name.upper())
        match = BODY.match(old or name)
        if match is None:
            items.append(name.upper())
            continue
        sections.append(_section(match, shown=name.upper() if old else None))
    return items, sections


def _section(match: re.Match[str], shown: str | None) -> Section:
    name, _, fields = match[2].partition(" ")
    start = int(match[3]) if match[3] else None
    partial = "" if start is None else f"<{start}>"
    return Section(
        (shown or f"BODY[{match[2]}]{partial}").encode(),
        name.upper(),
        frozenset(field.strip('"').lower() for field in fields.strip("()").split()),
        start,
        int(match[4] or 0),
        bool(match[1]),
    )


async def _answer(session: Session, message: LabMessage, items: list[str], sections: list[Section]) -> int:
    """Send one FETCH answer; returns its bytes."""
    faults = session.faults
    if faults.active("unsolicited-status"):
        session.line(b'* STATUS "Elsewhere" (MESSAGES 3 UIDNEXT 4 UIDVALIDITY 5)')
    raw = message.raw() if sections or {"ENVELOPE", "BODY", "BODYSTRUCTURE"} & set(items) else b""
    if any(not section.peek for section in sections) and not session.read_only:
        _mark_seen(session, session.selected, message)
        items = [*items, "FLAGS"] if "FLAGS" not in items else items
    pieces = [piece for item in items if (piece := _item(session, message, item, raw)) is not None]
    if not faults.active("body-missing"):
        pieces += [_body(section, b"" if faults.active("empty-body") else raw) for section in sections]
    line = b"* %d FETCH (%s)\r\n" % (session.sequence(message.uid), b" ".join(pieces))
    if sections and faults.first("cut-in-literal"):
        session.writer.write(line[: len(line) // 2])
        await session.writer.drain()
        raise Hangup
    session.writer.write(line)
    return len(line)


def _mark_seen(session: Session, folder: LabFolder, message: LabMessage) -> None:
    if "\\Seen" not in message.flags:
        session.update(expunge=False)
        folder.flag(message.uid, message.flags | {"\\Seen"})
        session.noticed()


def _item(session: Session, message: LabMessage, item: str, raw: bytes) -> bytes | None:
    faults = session.faults
    match item:
        case "UID":
            return b"UID %d" % message.uid
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


def _body(section: Section, raw: bytes) -> bytes:
    found = _part(section, raw)
    if section.start is not None:
        found = found[section.start : section.start + section.length]
    return b"%s {%d}\r\n%s" % (section.shown, len(found), found)


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
