"""What a session tells unasked: by IDLE (RFC 2177) of the open folder, by NOTIFY (RFC 5465) of what it names.

Nothing waits for changes: whoever changes a folder wakes those who watch it, and each tells what it has to as
soon as no command is being carried out.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from postroom.lab import listing
from postroom.lab.folder import LabFolder
from postroom.lab.session import Hangup, No, Session
from postroom.lab.wire import Argument, Command, Misread, quoted, text

NEW = {"MESSAGENEW", "MESSAGEEXPUNGE"}
EVENTS = NEW | {"FLAGCHANGE", "MAILBOXNAME", "SUBSCRIPTIONCHANGE"}
SELECTED = {"SELECTED", "SELECTED-DELAYED"}
Covers = Callable[[LabFolder], bool]


@dataclass(frozen=True, slots=True)
class Wanted:
    """One group of NOTIFY: these events of these folders. Without folders: of the one that is open."""

    events: frozenset[str]
    covers: Covers | None


class Watch:
    """A session's `Watcher`: there is one from its first IDLE or NOTIFY on."""

    __slots__ = ("_due", "_known", "_names", "_session", "_told", "_wanted", "free", "idles")

    def __init__(self, session: Session) -> None:
        self._session = session
        self.free = self.idles = self._due = self._told = False
        self._wanted: tuple[Wanted, ...] | None = None  # None: NOTIFY was not used
        self._known: dict[LabFolder, tuple[int, int, int]] = {}
        self._names: list[bytes] = []  # LIST responses to tell

    def wake(self) -> None:
        """Something has changed."""
        if not self._due and self.free:
            self._due = True
            asyncio.get_running_loop().call_soon(self._tell)

    def rest(self, *, free: bool) -> None:
        """Whether no command is being carried out from here on."""
        self.free = free
        if self._wanted is not None:
            self.wake()

    def want(self, wanted: tuple[Wanted, ...] | None) -> None:
        """What to tell of from here on; None: as if NOTIFY had never been."""
        self._wanted = wanted
        self._names.clear()
        self._known = {folder: _numbers(folder) for folder in self._session.account.folders.values()}
        if wanted is None:
            self._session.account.watchers.discard(self._named)
        else:
            self._session.account.watchers.add(self._named)

    def end(self) -> None:
        """The session is over."""
        self.free = False
        if self._session.mailbox is not None:
            self._session.mailbox.watchers.discard(self._named)

    def of(self, folder: LabFolder) -> frozenset[str]:
        """The events of a folder that are told; the first group that covers it counts (RFC 5465, 3.1)."""
        is_open = folder is self._session.folder
        for group in self._wanted or ():
            if is_open if group.covers is None else not is_open and group.covers(folder):
                return group.events
        return frozenset()

    def _named(self, folder: LabFolder, old: str | None, *, named: bool) -> None:
        """A folder has changed; `named`: it is new, gone, or was called `old`."""
        wants_names = any("MAILBOXNAME" in group.events for group in self._wanted or ())
        if named and wants_names:
            shown = self._session.shown
            state = b"\\NonExistent" if folder.deleted else b""
            before = b' ("OLDNAME" (%s))' % shown(old) if old is not None else b""
            level = quoted(listing.level(self._session))
            self._names.append(b"* LIST (%s) %s %s%s" % (state, level, shown(folder.name), before))
        self.wake()

    def _tell(self) -> None:
        self._due = False
        if not self.free:
            return
        try:
            self._tell_open()
            if self._wanted is not None:
                self._tell_others()
        except Hangup:
            self._session.hang_up()

    def _tell_open(self) -> None:
        session = self._session
        folder = session.folder
        if folder is None or not (self.of(folder) if self._wanted is not None else self.idles):
            return
        if session.faults.active("idle-dies") or (session.faults.active("idle-tells-once") and self._told):
            return
        self._told |= session.update(expunge=True)

    def _tell_others(self) -> None:
        session = self._session
        names, self._names = self._names, []
        for line in names:
            session.line(line)
        told = bool(names)
        for folder in list(session.account.folders.values()):
            if folder is not session.folder and (line := self._changed(folder)):
                session.line(line)
                told = True
        if told and session.faults.active("notify-overflow"):
            self.want(())
            session.line(b"* OK [NOTIFICATIONOVERFLOW] that is too much")

    def _changed(self, folder: LabFolder) -> bytes:
        now = _numbers(folder)
        before = self._known.get(folder, (0, 1, now[2]))  # an empty one that is new is told by its name
        self._known[folder] = now
        events, items = self.of(folder), list[str]()
        if now[:2] != before[:2] and events >= NEW:
            items = ["MESSAGES", "UIDNEXT", "UIDVALIDITY"]
        if now != before and (items or "FLAGCHANGE" in events) and self._session.offers("CONDSTORE"):
            items.append("HIGHESTMODSEQ")
        return listing.status_line(self._session, folder, items) if items else b""


def _numbers(folder: LabFolder) -> tuple[int, int, int]:
    return len(folder.messages), folder.next_uid, folder.modseq


def watch_of(session: Session) -> Watch:
    if not isinstance(session.watcher, Watch):
        session.watcher = Watch(session)
    return session.watcher


async def idle(session: Session, _: Command) -> str:
    """Tell changes as they happen, until the client says DONE."""
    watch = watch_of(session)
    session.line(b"+ idling")
    if session.faults.active("bye-in-idle"):
        session.line(b"* BYE the server is going down")
        raise Hangup
    if session.faults.active("idle-half-open"):
        await session.fall_silent()
    if session.faults.active("exists-of-another"):
        others = [folder for folder in session.account.folders.values() if folder is not session.folder]
        session.line(b"* %d EXISTS" % (sum(len(folder.messages) for folder in others) + 1))
    watch.free = watch.idles = True
    watch.wake()
    try:
        line = await session.reader.readline()
    finally:
        watch.free = watch.idles = False
    if line.strip().upper() != b"DONE":
        raise Hangup
    if session.faults.active("done-unanswered"):
        await session.fall_silent()
    if not session.faults.active("idle-dies"):
        session.update(expunge=True)
    return "OK"


async def notify(session: Session, command: Command) -> str:
    """NOTIFY SET and NOTIFY NONE."""
    session.require("NOTIFY", "NOTIFY")
    words = [word.upper() for word in command.arguments if isinstance(word, str)]
    watch = watch_of(session)
    if words == ["NONE"]:
        watch.want(None)
        return "OK"
    groups = [group for group in command.arguments if isinstance(group, list)]
    if words not in (["SET"], ["SET", "STATUS"]) or not groups:
        raise Misread("NOTIFY is SET, perhaps STATUS, and groups of events; or NONE")
    if session.faults.active("notify-refused"):
        raise No("[BADEVENT ()] there are no notifications here")
    watch.want(tuple(_wanted(session, group) for group in groups))
    if "STATUS" in words:
        items = ["MESSAGES", "UIDNEXT", "UIDVALIDITY"] + ["HIGHESTMODSEQ"] * session.offers("CONDSTORE")
        for folder in session.account.folders.values():
            if folder is not session.folder and watch.of(folder):
                session.line(listing.status_line(session, folder, items))
    return "OK"


def _wanted(session: Session, group: list[Argument]) -> Wanted:
    where, *names, events = group
    words = events if isinstance(events, list) else []
    named = {word.upper() for word in words if isinstance(word, str)}  # a list is what MessageNew fetches
    if unknown := named - EVENTS:
        raise No(f"[BADEVENT ({' '.join(sorted(EVENTS))})] {', '.join(sorted(unknown))}: no such events")
    if named & (NEW | {"FLAGCHANGE"}) and not named >= NEW:
        raise Misread("MessageNew and MessageExpunge come together, and FlagChange with them")
    known = [session.called(name) for name in (names[0] if names and isinstance(names[0], list) else names)]
    return Wanted(frozenset(named), _covering(text(where).upper(), known, session.account.delimiter))


def _covering(where: str, names: list[str], level: str) -> Covers | None:
    covers: dict[str, Covers] = {
        "PERSONAL": lambda _: True,
        "INBOXES": lambda folder: folder.name == "INBOX",
        "SUBSCRIBED": lambda folder: folder.subscribed,
        "MAILBOXES": lambda folder: folder.name in names,
        "SUBTREE": lambda folder: any(folder.name == n or folder.name.startswith(n + level) for n in names),
    }
    if where in SELECTED:
        return None
    if where not in covers:
        raise Misread(f"{where} is not known here")
    return covers[where]
