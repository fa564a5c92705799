"""The commands that open and close a folder."""

from postroom.lab.faults import Faults
from postroom.lab.mailbox import LabFolder, NoSuchFolder
from postroom.lab.session import Hangup, No, Session
from postroom.lab.wire import Argument, Command, text, texts

FLAGS = b"\\Answered \\Flagged \\Deleted \\Seen \\Draft $Forwarded $Junk"


async def select(session: Session, command: Command) -> str:
    """Carries out SELECT and EXAMINE, with CONDSTORE and QRESYNC (RFC 7162)."""
    session.leave()
    folder = _admitted(session, command.name, session.called(command.arguments[0]))
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
    if session.faults.active("drops-after-select"):
        session.over = True
    return f"OK [{'READ-ONLY' if read_only else 'READ-WRITE'}] it is open"


def _admitted(session: Session, command: str, name: str) -> LabFolder:
    """The folder, unless a fault stands in the way."""
    if session.faults.active("unsafe-login") and not session.identified:
        raise No(f"{command} Unsafe Login. Please contact kefu@mail.example for help")
    if name == "Locked" and session.faults.active("folder-locked"):
        raise No("[NOPERM] you may not see this")
    folder = session.account.folder(name)
    if not folder.selectable:
        raise No("[NONEXISTENT] that is only a level")
    if session.faults.active("inbox-refused" if folder.name == "INBOX" else "select-fails"):
        raise No("[SERVERBUG] Internal error occurred")
    if folder.name != "INBOX" and session.faults.active("select-drops"):
        raise Hangup
    if folder.name != "INBOX" and session.faults.first("vanishing-folder"):
        session.account.delete(folder.name)
        raise NoSuchFolder(folder.name)
    if folder.name != "INBOX" and session.faults.first("folder-recreated"):
        session.account.delete(folder.name)
        return session.account.create(folder.name, special_use=folder.special_use)
    return folder


def _renumber(faults: Faults, folder: LabFolder) -> None:
    once = [faults.turn(f"validity-changes{how}", folder.name) == 2 for how in ("", "-empty")]
    loops = faults.turn("validity-loops", folder.name) > 1
    elsewhere = folder.name != "INBOX" and faults.turn("validity-loops-elsewhere", folder.name) > 1
    if any(once) or loops or elsewhere:
        folder.change_validity()
    if faults.active("uids-skip"):
        folder.next_uid += 1000


def _described(session: Session, folder: LabFolder) -> list[bytes]:
    unseen = (uid for uid in session.known if "\\Seen" not in folder.messages[uid].flags)
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
    session.tell_vanished(int(since), known[0] if known else "")
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
