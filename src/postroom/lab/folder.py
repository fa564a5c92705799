"""A folder in memory that a script can change while clients watch: deliver, flag, copy, move, expunge.

Messages that are generated keep only their number; their bytes are made when somebody asks. Every change
raises the folder's modification sequence and wakes the sessions that have the folder selected.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import count

from postroom.lab.broken import BY_FAULT
from postroom.lab.mails import mail
from postroom.lab.threads import dice, facts_of


@dataclass(frozen=True, slots=True)
class Generated:
    """Bytes that need not be kept."""

    seed: int
    number: int
    fault: str = ""  # what was done to the mail on its way


@dataclass(slots=True)
class LabMessage:
    """One message in one folder. Its copies elsewhere have the same `id` (EMAILID, X-GM-MSGID)."""

    uid: int
    modseq: int
    flags: frozenset[str]
    received: datetime
    source: bytes | Generated
    id: int = 0
    _size: int | None = None

    def raw(self) -> bytes:
        """The whole message."""
        if isinstance(self.source, bytes):
            return self.source
        made = mail(self.source.seed, self.source.number)
        if self.source.fault:
            made = BY_FAULT[self.source.fault](made)
        self._size = len(made)
        return made

    @property
    def size(self) -> int:
        """Bytes of the message; costs its making once."""
        if self._size is None:
            self._size = len(self.raw())
        return self._size

    @property
    def thread(self) -> int:
        """The same for all mails of a generated conversation (THREADID, X-GM-THRID)."""
        if isinstance(self.source, bytes):
            return self.id
        facts = facts_of(self.source.seed, self.source.number)
        root = facts.ancestors[-1] if facts.ancestors else facts.number
        return dice(self.source.seed, root, 61) >> 4


@dataclass(slots=True, eq=False)
class LabFolder:
    """Messages by UID, ascending. `gone` remembers what VANISHED (EARLIER) has to tell: modseq and UID.

    `id` is its MAILBOXID: it stays through a rename, and ends with its UIDVALIDITY (RFC 8474, 4).
    """

    name: str
    validity: int
    special_use: str | None = None
    selectable: bool = True
    subscribed: bool = True
    messages: dict[int, LabMessage] = field(default_factory=dict)
    gone: list[tuple[int, int]] = field(default_factory=list)
    next_uid: int = 1
    modseq: int = 1
    deleted: bool = False
    watchers: set[Callable[[], None]] = field(default_factory=set)
    ids: Iterator[int] = field(default_factory=count)
    labels: "Labels | None" = None
    id: int = -1
    tell: "Callable[[LabFolder], None] | None" = None  # whoever watches all folders

    def __post_init__(self) -> None:
        self.id = next(self.ids)

    def deliver(
        self, source: bytes | Generated, *, flags: Iterable[str] = (), received: datetime | None = None
    ) -> int:
        """Add a new message and return its UID. Without `received` it arrives now."""
        when = received or datetime.now(UTC).replace(microsecond=0)
        return self.add(LabMessage(0, 0, frozenset(flags), when, source, next(self.ids)))

    def add(self, message: LabMessage) -> int:
        """Put a copy of a message here, known by the same id, and return its UID."""
        return self.put(message) if self.labels is None else self.labels.add(self, message)

    def put(self, message: LabMessage) -> int:
        """What `add` does in this one folder."""
        uid = self.next_uid
        self.next_uid += 1
        self.messages[uid] = replace(message, uid=uid, modseq=self.step())
        self.announce()
        return uid

    def flag(self, uid: int, flags: Iterable[str]) -> None:
        """Set a message's flags to exactly these; Gmail knows one set of flags for all its labels."""
        wanted = frozenset(flags)
        places = {self: uid} if self.labels is None else self.labels.places(self.messages[uid])
        for folder, place in places.items():
            message = folder.messages[place]
            message.flags, message.modseq = wanted, folder.step()
            folder.announce()

    def move(self, uid: int, target: "LabFolder") -> int:
        """The message lies in the other folder from now on, known by the same id; returns its UID there."""
        moved = target.add(self.messages[uid])
        if self.labels is None or self not in {target, self.labels.everything}:
            self.expunge(uid)
        return moved

    def expunge(self, *uids: int) -> None:
        """Remove messages for good. With labels: only from here, but from All Mail everywhere."""
        for uid in uids:
            if message := self.messages.get(uid):
                if self.labels is None:
                    self.take(uid)
                else:
                    self.labels.remove(self, message)

    def take(self, uid: int) -> None:
        """What `expunge` does in this one folder."""
        del self.messages[uid]
        self.gone.append((self.step(), uid))
        self.announce()

    def change_validity(self, validity: int | None = None) -> None:
        """All UIDs become worthless: the same messages are numbered from 1 under another UIDVALIDITY."""
        kept = list(self.messages.values())
        self.validity = validity if validity is not None else self.validity + 1
        self.id = next(self.ids)
        self.messages.clear()
        self.gone.clear()
        self.next_uid = 1
        for message in kept:
            message.uid, message.modseq = self.next_uid, self.step()
            self.messages[message.uid] = message
            self.next_uid += 1
        if self.labels is not None:
            self.labels.renumbered(self)
        self.announce()

    def step(self) -> int:
        """The next modification sequence."""
        self.modseq += 1
        return self.modseq

    def announce(self) -> None:
        """Wake the sessions that look at this folder."""
        for wake in list(self.watchers):
            wake()
        if self.tell is not None:
            self.tell(self)


class Labels:
    """Gmail's way: `everything` holds each message once, and the other folders are labels on it.

    A message lies in a folder at most once. Its flags are the same everywhere. What changes its labels raises
    its modification sequence wherever it lies, unless `is_silent` says otherwise.
    """

    def __init__(self, everything: LabFolder) -> None:
        self.everything = everything
        self.is_silent: Callable[[], bool] = lambda: False
        self._places: dict[int, dict[LabFolder, int]] = {}

    def places(self, message: LabMessage) -> dict[LabFolder, int]:
        """Where the message lies: its UID in each folder."""
        return dict(self._places[message.id])

    def add(self, folder: LabFolder, message: LabMessage) -> int:
        """Put a label on a message, which may be new; returns its UID in the label's folder."""
        places = self._places.setdefault(message.id, {})
        if folder not in places:
            others = dict(places)
            for each in (self.everything, folder):
                if each not in places:
                    places[each] = each.put(message)
            self._changed(others)
        return places[folder]

    def remove(self, folder: LabFolder, message: LabMessage) -> None:
        """Take a label off; out of All Mail, the message is gone."""
        places = self._places[message.id]
        for each in list(places) if folder is self.everything else [folder]:
            each.take(places.pop(each))
        if places:
            self._changed(places)
        else:
            del self._places[message.id]

    def forget(self, folder: LabFolder) -> None:
        """The label itself is gone."""
        for message in folder.messages.values():
            del self._places[message.id][folder]
            self._changed(self._places[message.id])

    def renumbered(self, folder: LabFolder) -> None:
        """The folder's messages have other UIDs."""
        for message in folder.messages.values():
            self._places[message.id][folder] = message.uid

    def renamed(self, folder: LabFolder) -> None:
        """The label of these messages is called otherwise."""
        for message in folder.messages.values():
            self._changed(self._places[message.id])

    def _changed(self, places: dict[LabFolder, int]) -> None:
        if self.is_silent():
            return
        for folder, uid in places.items():
            folder.messages[uid].modseq = folder.step()
            folder.announce()
