"""The commands that open and close a folder, and IDLE, which watches it."""

import asyncio

from postroom.lab.faults import Faults
from postroom.lab.mailbox import LabFolder, NoSuchFolder
from postroom.lab.names import decode_name
from postroom.lab.session import Hangup, No, Session
from postroom.lab.wire import Argument, Command, compressed, numbers, text, texts

FLAGS = b"\\Answered \\Flagged \\Deleted \\Seen \\Draft $Forwarded $Junk"


async def select(session: Session, command: Command) -> str:
    """Carries out SELECT and EXAMINE, with CONDSTORE and QRESYNC (RFC 7162)."""
    name = decode_name(text(command.arguments[0]))
    session.leave()
    folder = _admitted(session, command.name, name)
    _renumber(session.faults, folder)
    read_only = command.name == "EXAMINE"
    session.open(folder, read_only=read_only)
    options = command.arguments[1] if len(command.arguments) > 1 else []
    words = [word.upper() for word in options if isinstance(word, str)] if isinstance(options, list) else []
    for word in words:
        if word in {"CONDSTORE", "QRESYNC"}:
            session.require(word, word)
            session.enabled.add("CONDSTORE")
    for line in _described(session, folder):
        session.line(line)
    if "QRESYNC" in words and "QRESYNC" in session.enabled and isinstance(options, list):
        _catch_up(session, folder, options[-1])
    return f"OK [{'READ-ONLY' if read_only else 'READ-WRITE'}] it is open"


def _admitted(session: Session, command: str, name: str) -> LabFolder:
    """The folder, unless a fault stands in the way."""
    if session.faults.active("unsafe-login") and not session.identified:
        raise No(f"{command} Unsafe Login. Please contact kefu@mail.example for help")
    folder = session.account.folder(name)
    if not folder.selectable:
        raise No("[NONEXISTENT] that is only a level")
    if folder.name != "INBOX" and session.faults.active("select-fails"):
        raise No("[SERVERBUG] Internal error occurred")
    if folder.name != "INBOX" and session.faults.first("vanishing-folder"):
        session.account.delete(folder.name)
        raise NoSuchFolder(folder.name)
    return folder


def _renumber(faults: Faults, folder: LabFolder) -> None:
    if faults.turn("validity-changes", folder.name) == 2 or faults.turn("validity-loops", folder.name) > 1:
        folder.change_validity()


def _described(session: Session, folder: LabFolder) -> list[bytes]:
    unseen = (uid for uid, message in folder.messages.items() if "\\Seen" not in message.flags)
    first_unseen = next(unseen, None)
    highest = max(1, folder.modseq - 10 * session.faults.turn("modseq-decreases", folder.name))
    lines = [
        b"* FLAGS (%s)" % FLAGS,
        b"* OK [PERMANENTFLAGS (%s)] kept" % (b"" if session.read_only else FLAGS + b" \\*"),
        b"* %d EXISTS" % len(session.known),
        b"* 0 RECENT",
    ]
    if session.offers("CONDSTORE"):
        lines.append(b"* OK [HIGHESTMODSEQ %d] modification sequence" % highest)
    if session.offers("OBJECTID"):
        lines.append(b"* OK [MAILBOXID (F%d)] its id" % folder.id)
    if first_unseen is not None:
        lines.append(b"* OK [UNSEEN %d] first unread" % session.sequence(first_unseen))
    if not session.faults.active("validity-missing"):
        lines.append(b"* OK [UIDVALIDITY %d] UIDs are valid" % folder.validity)
    if not session.faults.active("uidnext-missing"):
        lines.append(b"* OK [UIDNEXT %d] next" % folder.next_uid)
    return lines


def _catch_up(session: Session, folder: LabFolder, asked: Argument) -> None:
    """What has happened since the client's modseq, if it still knows the right folder (RFC 7162, 3.2.5)."""
    validity, since, *known = texts(asked) if not isinstance(asked, list) else [text_or_set(a) for a in asked]
    if int(validity) != folder.validity:
        return
    gone = sorted({uid for modseq, uid in folder.gone if modseq > int(since)})
    if known and known[0]:
        gone = numbers(known[0], gone)
    if gone:
        session.line(b"* VANISHED (EARLIER) %s" % compressed(gone).encode())
    for message in folder.messages.values():
        if message.modseq > int(since):
            session.line(session.flags_of(message))


def text_or_set(argument: Argument) -> str:
    """QRESYNC's last, optional argument is a pair of sets that we have no use for."""
    return "" if isinstance(argument, list) else text(argument)


async def close(session: Session, _: Command) -> str:
    """CLOSE expunges in silence what is marked as deleted."""
    folder = session.selected
    if not session.read_only:
        folder.expunge(*[uid for uid, message in folder.messages.items() if "\\Deleted" in message.flags])
    session.leave()
    return "OK"


async def unselect(session: Session, _: Command) -> str:
    session.leave()
    return "OK"


async def idle(session: Session, _: Command) -> str:
    """Tell changes as they happen, until the client says DONE."""
    session.line(b"+ idling")
    if session.faults.active("bye-in-idle"):
        session.line(b"* BYE the server is going down")
        raise Hangup
    line = b""
    try:
        async with asyncio.TaskGroup() as group:
            teller = group.create_task(_tell_changes(session))
            line = await session.reader.readline()
            teller.cancel()
    except* Hangup:
        line = b""
    if line.strip().upper() != b"DONE":
        raise Hangup
    session.update(expunge=True)
    return "OK"


async def _tell_changes(session: Session) -> None:
    while True:
        session.changed.clear()
        if not session.faults.active("idle-dies"):
            session.update(expunge=True)
        await session.writer.drain()
        await session.changed.wait()
