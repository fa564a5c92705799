"""The commands that change messages: STORE, COPY, MOVE, APPEND, EXPUNGE and their UID forms."""

from dataclasses import replace
from datetime import datetime

from postroom.lab.broken import other_id
from postroom.lab.mailbox import LabFolder, LabMessage, NoSuchFolder
from postroom.lab.session import Hangup, No, Session
from postroom.lab.wire import Argument, Command, Misread, compressed, numbers, text, texts


async def store(session: Session, command: Command) -> str:
    """Flags of messages; UNCHANGEDSINCE leaves alone what has changed since (RFC 7162)."""
    folder = _writable(session)
    by_uid = command.name == "UID STORE"
    chosen = _chosen(session, text(command.arguments[0]), by_uid=by_uid)
    arguments = command.arguments[1:]
    limit = None
    if isinstance(arguments[0], list):
        limit = int(texts(arguments.pop(0))[1])
    action, flags = text(arguments[0]).upper(), frozenset(flag for a in arguments[1:] for flag in texts(a))
    if session.faults.active("keywords-dropped"):
        flags = frozenset(flag for flag in flags if flag.startswith("\\"))
    session.update(expunge=False)
    refused: list[int] = []
    for message in (folder.messages[uid] for uid in chosen if uid in folder.messages):
        if limit is not None and message.modseq > limit:
            refused.append(message.uid)
            continue
        wanted = _combined(message.flags, action, flags)
        if wanted != message.flags:
            folder.flag(message.uid, wanted)
        if not action.endswith(".SILENT"):
            session.line(session.flags_of(message))
        elif "CONDSTORE" in session.enabled:
            session.line(_modseq_only(session, message))
    session.noticed()
    if refused:
        shown = refused if by_uid else [session.sequence(uid) for uid in refused]
        return f"OK [MODIFIED {compressed(shown)}] some had changed"
    return "OK"


def _combined(old: frozenset[str], action: str, flags: frozenset[str]) -> frozenset[str]:
    match action.removesuffix(".SILENT"):
        case "FLAGS":
            return flags
        case "+FLAGS":
            return old | flags
        case "-FLAGS":
            return old - flags
    raise Misread(f"{action} is no way to store")


def _modseq_only(session: Session, message: LabMessage) -> bytes:
    place = session.sequence(message.uid)
    return b"* %d FETCH (UID %d MODSEQ (%d))" % (place, message.uid, message.modseq)


async def copy(session: Session, command: Command) -> str:
    source, target = session.selected, _target(session, command.arguments[1])
    chosen = _chosen(session, text(command.arguments[0]), by_uid=command.name == "UID COPY")
    old = [uid for uid in chosen if uid in source.messages]
    new = [target.add(rewritten(session, source.messages[uid])) for uid in old]
    session.update(expunge=False)
    _lose_reply(session)
    if not old:
        return "OK nothing"
    return f"OK {_copied(session, target, old, new)}copied"


async def move(session: Session, command: Command) -> str:
    source, target = _writable(session), _target(session, command.arguments[1])
    chosen = _chosen(session, text(command.arguments[0]), by_uid=command.name == "UID MOVE")
    old = [uid for uid in chosen if uid in source.messages]
    if session.faults.active("move-broken"):
        raise No("[SERVERBUG] MOVE failed")
    if not old:
        return "OK nothing"
    for uid in old:
        source.messages[uid] = rewritten(session, source.messages[uid])
    new = [source.move(uid, target) for uid in old]
    session.line(f"* OK {_copied(session, target, old, new)}moved".encode())
    session.update(expunge=True)
    _lose_reply(session)
    return "OK"


async def append(session: Session, command: Command) -> str:
    """Flags and a date may stand between the folder and the message."""
    folder = _target(session, command.arguments[0])
    *options, raw = command.arguments[1:]
    if not isinstance(raw, bytes):
        raise Misread("the message is missing")
    flags: list[str] = []
    received = None
    for option in options:
        if isinstance(option, list):
            flags = texts(option)
        else:
            received = _date_time(text(option))
    uid = folder.deliver(raw, flags=flags, received=received)
    session.update(expunge=True)
    _lose_reply(session)
    return f"OK {_appended(session, folder, uid)}kept"


def _appended(session: Session, folder: LabFolder, uid: int) -> str:
    faults = session.faults
    if faults.active("copyuid-misplaced") and session.kept_code:
        code, session.kept_code = session.kept_code, ""
        return code
    if faults.active("appenduid-missing"):
        return ""
    told = (uid, folder.validity) if faults.active("appenduid-swapped") else (folder.validity, uid)
    return "[APPENDUID {} {}] ".format(*told)


def _copied(session: Session, target: LabFolder, old: list[int], new: list[int]) -> str:
    if session.faults.active("appenduid-missing"):
        return ""
    code = f"[COPYUID {target.validity} {compressed(old)} {compressed(new)}] "
    if session.faults.active("copyuid-misplaced"):
        session.kept_code = code
        return ""
    return code


def _lose_reply(session: Session) -> None:
    if session.faults.active("reply-lost"):
        raise Hangup


def rewritten(session: Session, message: LabMessage) -> LabMessage:
    """The message as it is copied; a fault gives it another Message-ID."""
    if not session.faults.active("mail-id-rewritten"):
        return message
    return replace(message, source=other_id(message.raw()), _size=None)


async def expunge(session: Session, command: Command) -> str:
    """EXPUNGE, and UID EXPUNGE, which spares what is not named (RFC 4315)."""
    folder = _writable(session)
    marked = [uid for uid, message in folder.messages.items() if "\\Deleted" in message.flags]
    if command.name == "UID EXPUNGE":
        session.require("UIDPLUS", "UID EXPUNGE")
        marked = numbers(text(command.arguments[0]), marked)
    folder.expunge(*marked)
    session.update(expunge=True)
    return "OK"


def _writable(session: Session) -> LabFolder:
    folder = session.selected
    if session.read_only:
        raise No("[READ-ONLY] the folder is open for reading only")
    return folder


def _target(session: Session, argument: Argument) -> LabFolder:
    try:
        return session.account.folder(session.called(argument))
    except NoSuchFolder as error:
        raise No("[TRYCREATE] there is no such folder") from error


def _chosen(session: Session, asked: str, *, by_uid: bool) -> list[int]:
    if by_uid:
        return numbers(asked, session.known)
    return [session.known[n - 1] for n in numbers(asked, list(range(1, len(session.known) + 1)))]


def _date_time(written: str) -> datetime:
    try:
        return datetime.strptime(written.strip(), "%d-%b-%Y %H:%M:%S %z")
    except ValueError as error:
        raise Misread(f"{written} is no date and time") from error
