"""FETCH and UID FETCH: flags, sizes, dates, envelopes, whole messages and sections of them."""

import asyncio
import re

from postroom.lab.answering import Section, answer
from postroom.lab.mailbox import LabMessage
from postroom.lab.session import Hangup, No, Session
from postroom.lab.wire import Argument, Command, numbers, text, texts

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


async def fetch(session: Session, command: Command) -> str:
    """Messages that are gone by now are passed over in silence."""
    by_uid = command.name == "UID FETCH"
    chosen = _chosen(session, text(command.arguments[0]), by_uid=by_uid)
    items, sections = _items(command.arguments[1])
    if by_uid and "UID" not in items:
        items.insert(0, "UID")
    since, vanished = _modifiers(session, command.arguments[2:])
    if since is not None and "MODSEQ" not in items:
        items.append("MODSEQ")
    if vanished and by_uid:
        session.tell_vanished(since or 0, text(command.arguments[0]))
    _refuse(session, bodies=bool(sections))
    sent = 0
    present = _present(session, chosen, since, bodies=bool(sections))
    for made, message in enumerate(present, 1):
        if sections and message.uid == 3 and session.faults.active("unavailable-uid"):
            raise No("[UNAVAILABLE] UID FETCH failed to read message")
        if sections and message.uid == 3 and session.faults.active("breaks-on-message"):
            raise Hangup
        sent += await answer(session, message, items, sections)
        if session.faults.active("bye-in-fetch"):
            session.line(b"* BYE going down")
            raise Hangup
        if sent > DRAIN_EVERY or made % LET_OTHERS_EVERY == 0:
            await session.writer.drain()
            await asyncio.sleep(0)
            sent = 0
    session.update(expunge=by_uid)
    if session.faults.active("completion-unreadable"):
        session.line(f"{command.tag} \0OK?".encode())
        return ""
    return "OK"


def _present(session: Session, chosen: list[int], since: int | None, *, bodies: bool) -> list[LabMessage]:
    """The messages to be told of."""
    folder, faults = session.selected, session.faults
    if bodies and chosen and faults.first("gone-in-fetch"):
        folder.expunge(chosen[-1])
    if bodies and chosen and chosen[0] in folder.messages and faults.first("flags-flip", folder.name):
        folder.flag(chosen[0], folder.messages[chosen[0]].flags ^ {"\\Flagged"})
    present = [folder.messages[uid] for uid in chosen if uid in folder.messages]
    if since is not None:
        early = folder.modseq if faults.first("modseq-early", f"{folder.name}:{folder.modseq}") else 0
        present = [message for message in present if message.modseq > since and message.modseq != early]
    if not bodies and faults.active("left-out"):
        present = [message for message in present if message.uid != 3]
    return present[::-1] if faults.active("uids-descending") else present


def _refuse(session: Session, *, bodies: bool) -> None:
    if session.faults.active("backoff"):
        raise No("Request is throttled. Suggested Backoff Time: 299961 milliseconds")
    if bodies and session.faults.turn("overquota") % 2 == 1:
        raise No("[OVERQUOTA] Account exceeded command or bandwidth limits.")


def _chosen(session: Session, asked: str, *, by_uid: bool) -> list[int]:
    """UIDs, in order."""
    if asked == "*" and session.faults.active("star-silent"):
        return []
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
