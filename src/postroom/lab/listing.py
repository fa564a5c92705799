"""The commands about folders: LIST, LSUB, STATUS, NAMESPACE, CREATE, DELETE, RENAME, SUBSCRIBE."""

from collections.abc import Callable

from postroom.lab.mailbox import LabFolder
from postroom.lab.names import decode_name, encode_name, matcher
from postroom.lab.session import No, Session
from postroom.lab.wire import Argument, Command, Misread, quoted, text, texts


async def list_folders(session: Session, command: Command) -> str:
    """LIST with several patterns, selection options and RETURN (RFC 5258, 5819, 6154)."""
    session.lists += 1
    if session.lists > 1 and session.faults.active("second-list-fails"):
        raise No("[SERVERBUG] Internal error occurred")
    if session.faults.first("list-empty"):
        return "OK"
    arguments = list(command.arguments)
    only = (
        {word.upper() for word in texts(arguments.pop(0))} if isinstance(arguments[0], list) else set[str]()
    )
    if len(arguments) < 2:
        raise Misread("LIST takes a reference and a pattern")
    reference = decode_name(text(arguments[0]))
    asked = [reference + decode_name(pattern) for pattern in texts(arguments[1])]
    if asked == [""]:
        session.line(b'* LIST (\\Noselect) "%s" ""' % session.account.delimiter.encode())
        return "OK"
    if only or arguments[2:]:
        session.require("LIST-EXTENDED", "an extended LIST")
    returned = _returned(arguments[2:])
    patterns = [matcher(pattern, session.account.delimiter) for pattern in asked]
    parents = _parents(session)
    for name, folder in _with_parents(session, parents):
        if not any(pattern(name) for pattern in patterns):
            continue
        if folder and (("SPECIAL-USE" in only and not folder.special_use) or _hidden(folder, only)):
            continue
        session.line(_listed(session, b"LIST", name, folder, below=name in parents))
        if folder and folder.selectable and returned:
            session.line(_status(session, folder, returned))
    return "OK"


async def lsub(session: Session, command: Command) -> str:
    asked = decode_name(text(command.arguments[0])) + decode_name(text(command.arguments[1]))
    pattern = matcher(asked, session.account.delimiter)
    parents = _parents(session)
    for name, folder in _with_parents(session, parents):
        if folder and folder.subscribed and pattern(name):
            session.line(_listed(session, b"LSUB", name, folder, below=name in parents))
    return "OK"


async def status(session: Session, command: Command) -> str:
    folder = session.account.folder(decode_name(text(command.arguments[0])))
    session.line(_status(session, folder, [word.upper() for word in texts(command.arguments[1])]))
    return "OK"


async def namespace(session: Session, _: Command) -> str:
    own = quoted(session.account.prefix) + b" " + quoted(session.account.delimiter)
    session.line(b"* NAMESPACE ((%s)) NIL NIL" % own)
    return "OK"


async def create(session: Session, command: Command) -> str:
    account = session.account
    name = decode_name(text(command.arguments[0])).rstrip(account.delimiter)
    if not name:
        raise No("[CANNOT] a folder needs a name")
    if not name.startswith(account.prefix):
        raise No("[CANNOT] folders lie below " + account.prefix)
    made = account.create(name)
    return f"OK [MAILBOXID (F{made.id})] made" if session.offers("OBJECTID") else "OK"


async def delete(session: Session, command: Command) -> str:
    name = decode_name(text(command.arguments[0]))
    if name.upper() == "INBOX":
        raise No("[CANNOT] INBOX stays")
    if session.account.folder(name).special_use == "\\All":
        raise No("[CANNOT] it holds every message")
    session.account.delete(name)
    return "OK"


async def rename(session: Session, command: Command) -> str:
    old, new = (decode_name(text(argument)) for argument in command.arguments[:2])
    session.account.rename(old, new)
    return "OK"


async def subscribe(session: Session, command: Command) -> str:
    folder = session.account.folder(decode_name(text(command.arguments[0])))
    folder.subscribed = command.name == "SUBSCRIBE"
    return "OK"


def _returned(arguments: list[Argument]) -> list[str]:
    """The items of `RETURN (STATUS (...))`, RFC 5819."""
    if len(arguments) < 2 or not isinstance(arguments[1], list):
        return []
    options = arguments[1]
    for place, option in enumerate(options[:-1]):
        if text(option).upper() == "STATUS":
            return [item.upper() for item in texts(options[place + 1])]
    return []


def _parents(session: Session) -> set[str]:
    """Every level above a folder."""
    found: set[str] = set()
    for name in session.account.folders:
        while session.account.delimiter in name:
            name = name.rpartition(session.account.delimiter)[0]
            found.add(name)
    return found


def _with_parents(session: Session, parents: set[str]) -> list[tuple[str, LabFolder | None]]:
    """All folders, and the levels above them that are no folders themselves, sorted."""
    names: dict[str, LabFolder | None] = dict.fromkeys(parents)
    return sorted((names | session.account.folders).items())


def _hidden(folder: LabFolder, only: set[str]) -> bool:
    return "SUBSCRIBED" in only and not folder.subscribed


def _listed(session: Session, kind: bytes, name: str, folder: LabFolder | None, *, below: bool) -> bytes:
    flags = ["\\HasChildren" if below else "\\HasNoChildren"]
    if folder is None or not folder.selectable:
        flags.append("\\Noselect")
    elif folder.special_use:
        flags.append(folder.special_use)
    level = quoted(session.account.delimiter)
    return b"* %s (%s) %s %s" % (kind, " ".join(flags).encode(), level, quoted(encode_name(name)))


def _status(session: Session, folder: LabFolder, items: list[str]) -> bytes:
    for item, word in (("HIGHESTMODSEQ", "CONDSTORE"), ("MAILBOXID", "OBJECTID")):
        if item in items:
            session.require(word, item)
    messages = folder.messages.values()
    values: dict[str, Callable[[], int | str]] = {
        "MESSAGES": lambda: len(messages),
        "UIDNEXT": lambda: folder.next_uid,
        "UIDVALIDITY": lambda: folder.validity,
        "UNSEEN": lambda: sum("\\Seen" not in message.flags for message in messages),
        "HIGHESTMODSEQ": lambda: folder.modseq,
        "MAILBOXID": lambda: f"(F{folder.id})",
        "RECENT": lambda: 0,
        "SIZE": lambda: sum(message.size for message in messages),
    }
    hidden = {
        item
        for item, fault in (("UIDVALIDITY", "validity-missing"), ("UIDNEXT", "uidnext-missing"))
        if session.faults.active(fault)
    }
    told = " ".join(f"{item} {values[item]()}" for item in items if item in values and item not in hidden)
    return b"* STATUS %s (%s)" % (quoted(encode_name(folder.name)), told.encode())
