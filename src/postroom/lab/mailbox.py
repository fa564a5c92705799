"""A mailbox in memory that a script can change while clients watch: deliver, flag, expunge, rename.

Messages that are generated keep only their number; their bytes are made when somebody asks. Every change
raises the folder's modification sequence and wakes the sessions that have the folder selected.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from postroom.lab.mails import folders, mail, received_at
from postroom.lab.threads import dice

SPECIAL_USES = {
    "Sent": "\\Sent",
    "Drafts": "\\Drafts",
    "Archive": "\\Archive",
    "Junk": "\\Junk",
    "Trash": "\\Trash",
}


class NoSuchFolder(Exception):
    """The folder is not there, or not any more."""


class FolderExists(Exception):
    """Something of that name is there already."""


@dataclass(frozen=True, slots=True)
class Generated:
    """Bytes that need not be kept."""

    seed: int
    number: int


@dataclass(slots=True)
class LabMessage:
    """One message in one folder."""

    uid: int
    modseq: int
    flags: frozenset[str]
    received: datetime
    source: bytes | Generated
    _size: int | None = None

    def raw(self) -> bytes:
        """The whole message."""
        if isinstance(self.source, bytes):
            return self.source
        made = mail(self.source.seed, self.source.number)
        self._size = len(made)
        return made

    @property
    def size(self) -> int:
        """Bytes of the message; costs its making once."""
        if self._size is None:
            self._size = len(self.raw())
        return self._size


@dataclass(slots=True, eq=False)
class LabFolder:
    """Messages by UID, ascending. `gone` remembers what VANISHED (EARLIER) has to tell: modseq and UID."""

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

    def deliver(
        self, source: bytes | Generated, *, flags: Iterable[str] = (), received: datetime | None = None
    ) -> int:
        """Add a message and return its UID. Without `received` it arrives now."""
        uid = self.next_uid
        self.next_uid += 1
        when = received or datetime.now(UTC).replace(microsecond=0)
        self.messages[uid] = LabMessage(uid, self.step(), frozenset(flags), when, source)
        self.announce()
        return uid

    def flag(self, uid: int, flags: Iterable[str]) -> None:
        """Set a message's flags to exactly these."""
        message = self.messages[uid]
        message.flags, message.modseq = frozenset(flags), self.step()
        self.announce()

    def expunge(self, *uids: int) -> None:
        """Remove messages for good."""
        for uid in uids:
            if self.messages.pop(uid, None):
                self.gone.append((self.step(), uid))
        self.announce()

    def change_validity(self, validity: int | None = None) -> None:
        """All UIDs become worthless: the same messages are numbered from 1 under another UIDVALIDITY."""
        kept = list(self.messages.values())
        self.validity = validity if validity is not None else self.validity + 1
        self.messages.clear()
        self.gone.clear()
        self.next_uid = 1
        for message in kept:
            message.uid, message.modseq = self.next_uid, self.step()
            self.messages[message.uid] = message
            self.next_uid += 1
        self.announce()

    def step(self) -> int:
        """The next modification sequence."""
        self.modseq += 1
        return self.modseq

    def announce(self) -> None:
        """Wake the sessions that look at this folder."""
        for wake in list(self.watchers):
            wake()


class LabMailbox:
    """All folders of one account. The same seed and the same calls give the same UIDs and validities."""

    def __init__(self, seed: int = 1) -> None:
        self.seed = seed
        self._made = 0
        self.folders: dict[str, LabFolder] = {}
        self.create("INBOX")

    @classmethod
    def filled(cls, messages: int, *, folder_count: int = 8, seed: int = 1) -> "LabMailbox":
        """Generated mail: half of it in INBOX, the rest dealt out to the other folders, most of it read."""
        mailbox = cls(seed)
        names = folders(seed, folder_count)
        for name in names[1:]:
            mailbox.create(name, special_use=SPECIAL_USES.get(name))
        for number in range(messages):
            inbox = number % 2 == 0 or len(names) == 1
            name = "INBOX" if inbox else names[1 + number // 2 % (len(names) - 1)]
            seen = number < messages * 9 // 10 or dice(seed, number, 50) % 3 == 0
            mailbox.arrive(number, name, flags=("\\Seen",) if seen else ())
        return mailbox

    def arrive(self, number: int, folder: str = "INBOX", *, flags: Iterable[str] = ()) -> int:
        """Deliver generated message `number` and return its UID."""
        when = received_at(self.seed, number)
        return self.folder(folder).deliver(Generated(self.seed, number), flags=flags, received=when)

    def folder(self, name: str) -> LabFolder:
        """The folder; INBOX in any case of letters. Raises NoSuchFolder."""
        found = self.folders.get(_normal(name))
        if found is None:
            raise NoSuchFolder(name)
        return found

    def create(self, name: str, *, special_use: str | None = None, validity: int | None = None) -> LabFolder:
        """A new, empty folder. A folder of the same name that was deleted had another validity."""
        name = _normal(name)
        if name in self.folders:
            raise FolderExists(name)
        self._made += 1
        own = 1_400_000_000 + dice(self.seed, 0, 60) % 100_000_000 + self._made
        self.folders[name] = LabFolder(name, own if validity is None else validity, special_use)
        return self.folders[name]

    def delete(self, name: str) -> None:
        """The folder is gone; who has it selected meets a server that says so."""
        folder = self.folder(name)
        del self.folders[folder.name]
        folder.deleted = True
        folder.announce()

    def rename(self, old: str, new: str) -> None:
        """The folder and everything below it get new names and keep UIDs and validity."""
        folder, new = self.folder(old), _normal(new)
        if new in self.folders:
            raise FolderExists(new)
        for name in [
            name for name in self.folders if name == folder.name or name.startswith(f"{folder.name}/")
        ]:
            moved = self.folders.pop(name)
            moved.name = new + name[len(old) :]
            self.folders[moved.name] = moved
        if _normal(old) == "INBOX":  # RFC 3501, 6.3.5: INBOX itself stays, empty
            self.create("INBOX")

    def deliver(self, raw: bytes, folder: str = "INBOX", *, flags: Iterable[str] = ()) -> int:
        """Deliver a mail that the script brings along and return its UID."""
        return self.folder(folder).deliver(raw, flags=flags)


def _normal(name: str) -> str:
    return "INBOX" if name.upper() == "INBOX" else name
