"""The commands about folders: LIST, LSUB, STATUS, NAMESPACE, CREATE, DELETE, RENAME, SUBSCRIBE."""

from collections.abc import Callable, Iterator

from postroom.lab import naming
from postroom.lab.mailbox import LabFolder
from postroom.lab.names import decode_name, matcher
from postroom.lab.session import WINDOW, Hangup, No, Session
from postroom.lab.wire import Argument, Command, Misread, quoted, text, texts

Pattern = Callable[[str], bool]


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
        session.line(b'* LIST (\\Noselect) %s ""' % quoted(level(session)))
        return "OK"
    if only or arguments[2:]:
        session.require("LIST-EXTENDED", "an extended LIST")
        if session.faults.active("list-return-bad"):
            raise Misread("RETURN is not known here")
        if session.faults.active("list-return-empty"):
            return "OK"
    _swap(session)
    patterns = [matcher(pattern, session.account.delimiter) for pattern in asked]
    _tell(session, patterns, only, _returned(arguments[2:]))
    _tell_ghosts(session)
    return "OK"


def _tell(session: Session, patterns: list[Pattern], only: set[str], returned: list[str]) -> None:
    """One LIST response for each folder that matches, and its STATUS."""
    parents = _parents(session)
    times = 2 if session.faults.active("list-duplicates") else 1
    for name, folder in _with_parents(session, parents):
        if not any(pattern(name) for pattern in patterns):
            continue
        if folder and (("SPECIAL-USE" in only and not folder.special_use) or _hidden(folder, only)):
            continue
        for _ in range(times):
            session.line(_listed(session, b"LIST", name, folder, below=name in parents))
        if folder and folder.selectable and returned:
            session.line(status_line(session, folder, returned))


def _tell_ghosts(session: Session) -> None:
    """What faults list besides."""
    shown_level = quoted(level(session))
    if session.faults.active("list-duplicates"):
        session.line(b'* LIST (\\HasNoChildren) %s ""' % shown_level)
    if session.faults.active("folder-nonexistent"):
        session.line(b'* LIST (\\NonExistent \\HasChildren) %s "Ghost"' % shown_level)
    if session.faults.active("folder-locked"):
        session.line(b'* LIST (\\HasNoChildren) %s "Locked"' % shown_level)


def _swap(session: Session) -> None:
    """Two folders take each other's names, as somebody may do who tidies up."""
    folders = session.account.folders
    others = sorted(name for name in folders if name != "INBOX" and folders[name].special_use != "\\All")
    if len(others) > 1 and session.faults.turn("folders-swap") == 2:
        session.account.rename(others[0], "swapping")
        session.account.rename(others[1], others[0])
        session.account.rename("swapping", others[1])


async def lsub(session: Session, command: Command) -> str:
    asked = decode_name(text(command.arguments[0])) + decode_name(text(command.arguments[1]))
    pattern = matcher(asked, session.account.delimiter)
    parents = _parents(session)
    for name, folder in _with_parents(session, parents):
        if folder and folder.subscribed and pattern(name):
            session.line(_listed(session, b"LSUB", name, folder, below=name in parents))
    return "OK"


async def status(session: Session, command: Command) -> str:
    folder = session.account.folder(session.called(command.arguments[0]))
    session.line(status_line(session, folder, [word.upper() for word in texts(command.arguments[1])]))
    return "OK"


async def namespace(session: Session, _: Command) -> str:
    if session.faults.active("namespace-drops"):
        raise Hangup
    prefix = "INBOX." if session.faults.active(naming.DOTS) else session.account.prefix
    session.line(b"* NAMESPACE ((%s %s)) NIL NIL" % (quoted(prefix), quoted(level(session))))
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
    name = session.called(command.arguments[0])
    if name == "INBOX":
        raise No("[CANNOT] INBOX stays")
    if session.account.folder(name).special_use == "\\All":
        raise No("[CANNOT] it holds every message")
    session.account.delete(name)
    return "OK"


async def rename(session: Session, command: Command) -> str:
    session.account.rename(session.called(command.arguments[0]), decode_name(text(command.arguments[1])))
    return "OK"


async def subscribe(session: Session, command: Command) -> str:
    folder = session.account.folder(session.called(command.arguments[0]))
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


def _with_parents(session: Session, parents: set[str]) -> Iterator[tuple[str, LabFolder | None]]:
    """All folders, and the levels above them that are no folders themselves, sorted."""
    names: dict[str, LabFolder | None] = dict.fromkeys(parents)
    shown = sorted((names | session.account.folders).items())
    forgetful = session.faults.first("list-forgets")
    for place, (name, folder) in enumerate(shown):
        missing = name == "INBOX" and session.faults.active("inbox-missing")
        if not missing and not (forgetful and place % 2 == 1):
            yield name, folder


def _hidden(folder: LabFolder, only: set[str]) -> bool:
    return "SUBSCRIBED" in only and not folder.subscribed


def level(session: Session) -> str:
    """What parts the levels of names, as the client sees it."""
    return naming.delimiter(session.faults, session.account.delimiter)


def _listed(session: Session, kind: bytes, name: str, folder: LabFolder | None, *, below: bool) -> bytes:
    flags = ["\\HasChildren" if below else "\\HasNoChildren"]
    if folder is None or not folder.selectable:
        flags.append("\\Noselect")
    elif folder.special_use:
        flags.append(folder.special_use)
    return b"* %s (%s) %s %s" % (
        kind,
        " ".join(flags).encode(),
        quoted(level(session)),
        session.shown(name),
    )


def status_line(session: Session, folder: LabFolder, items: list[str]) -> bytes:
    """A STATUS response. Raises Misread for what this server does not know."""
    for item, word in (("HIGHESTMODSEQ", "CONDSTORE"), ("MAILBOXID", "OBJECTID")):
        if item in items:
            session.require(word, item)
    messages = folder.messages.values()
    values: dict[str, Callable[[], int | str]] = {
        "MESSAGES": lambda: _count(session, folder),
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
    return b"* STATUS %s (%s)" % (session.shown(folder.name), told.encode())


def _count(session: Session, folder: LabFolder) -> int:
    if session.faults.active("folder-looks-empty"):
        return 0
    shown = WINDOW if session.faults.active("newest-only") else len(folder.messages)
    return min(shown, len(folder.messages))
