"""All folders of one account, which a script can change while clients watch."""

from collections.abc import Iterable
from functools import partial
from itertools import count
from typing import Protocol

from postroom.lab.broken import BY_FAULT
from postroom.lab.faults import Faults
from postroom.lab.folder import Generated, Labels, LabFolder, LabMessage
from postroom.lab.mails import folders, received_at
from postroom.lab.monstrous import MONSTERS
from postroom.lab.threads import dice

__all__ = ["FolderExists", "Generated", "LabFolder", "LabMailbox", "LabMessage", "NoSuchFolder"]

SPECIAL_USES = {
    "Sent": "\\Sent",
    "Drafts": "\\Drafts",
    "Archive": "\\Archive",
    "Junk": "\\Junk",
    "Trash": "\\Trash",
}
ALL_MAIL = "[Gmail]/All Mail"
AT_GMAIL = {
    "Sent": "[Gmail]/Sent Mail",
    "Drafts": "[Gmail]/Drafts",
    "Junk": "[Gmail]/Spam",
    "Trash": "[Gmail]/Trash",
}
FAULTY = 3  # every third mail arrives with the faults of arriving mail
RARE = 30
LABELLED_TWICE = 5  # with labels, every fifth generated message of INBOX has another one


class Hears(Protocol):
    """Somebody who watches all folders. `named`: the folder is new, gone, or was called `old`."""

    def __call__(self, folder: LabFolder, old: str | None, *, named: bool) -> None: ...


class NoSuchFolder(Exception):
    """The folder is not there, or not any more."""


class FolderExists(Exception):
    """Something of that name is there already."""


class LabMailbox:
    """The same seed and the same calls give the same UIDs, validities and ids.

    With `labels` it is laid out as at Gmail: see `Labels`. Folders have whole names, as clients see them,
    with `prefix` (a namespace such as `INBOX.`) and levels parted by `delimiter`.
    """

    def __init__(
        self,
        seed: int = 1,
        *,
        labels: bool = False,
        prefix: str = "",
        delimiter: str = "/",
        faults: Faults | None = None,
    ) -> None:
        self.seed, self.prefix, self.delimiter = seed, prefix, delimiter
        self.faults = faults or Faults()
        self._made = 0
        self._ids = count(1)
        self.watchers: set[Hears] = set()
        self.folders: dict[str, LabFolder] = {}
        self.labels: Labels | None = None
        if labels:
            self.labels = Labels(self.create(self.full(ALL_MAIL), special_use="\\All"))
            self.labels.everything.labels = self.labels
            self.labels.is_silent = partial(self.faults.active, "labels-silent")
        self.create("INBOX")

    @classmethod
    def filled(
        cls,
        messages: int,
        *,
        folder_count: int = 8,
        seed: int = 1,
        labels: bool = False,
        prefix: str = "",
        delimiter: str = "/",
        faults: Faults | None = None,
    ) -> "LabMailbox":
        """Generated mail: half of it in INBOX, the rest dealt out to the other folders, most of it read."""
        mailbox = cls(seed, labels=labels, prefix=prefix, delimiter=delimiter, faults=faults)
        names = ["INBOX"]
        for plain in folders(seed, folder_count)[1:]:
            name = mailbox.full(AT_GMAIL.get(plain, plain) if labels else plain)
            names.append(mailbox.create(name, special_use=SPECIAL_USES.get(plain)).name)
        for number in range(messages):
            inbox = number % 2 == 0 or len(names) == 1
            name = "INBOX" if inbox else names[1 + number // 2 % (len(names) - 1)]
            seen = number < messages * 9 // 10 or dice(seed, number, 50) % 3 == 0
            uid = mailbox.arrive(number, name, flags=("\\Seen",) if seen else ())
            if labels and inbox and len(names) > 1 and number // 2 % LABELLED_TWICE == 0:
                mailbox.copy(name, uid, names[1 + number % (len(names) - 1)])
        return mailbox

    def full(self, name: str) -> str:
        """A name that is written with `/` and no prefix, as clients of this mailbox see it."""
        if name.upper() == "INBOX":
            return "INBOX"
        return self.prefix + name.replace("/", self.delimiter)

    def arrive(self, number: int, folder: str = "INBOX", *, flags: Iterable[str] = ()) -> int:
        """Deliver generated message `number` and return its UID."""
        when = received_at(self.seed, number)
        made = Generated(self.seed, number, self._damage(number))
        return self.folder(folder).deliver(made, flags=flags, received=when)

    def _damage(self, number: int) -> str:
        """The fault that mail arrives with: every third, or every thirtieth where it is hard work."""
        if number % FAULTY:
            return ""
        faults = self.faults.among(BY_FAULT)
        fault = faults[number // FAULTY % len(faults)] if faults else ""
        return "" if fault in MONSTERS and number % RARE else fault

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
        made = LabFolder(
            name,
            own if validity is None else validity,
            special_use,
            ids=self._ids,
            labels=self.labels,
            tell=self._changed,
        )
        self.folders[name] = made
        self._changed(made, named=True)
        return made

    def delete(self, name: str) -> None:
        """The folder is gone; who has it selected meets a server that says so."""
        folder = self.folder(name)
        del self.folders[folder.name]
        if self.labels is not None:
            self.labels.forget(folder)
        folder.deleted = True
        folder.announce()
        self._changed(folder, named=True)

    def rename(self, old: str, new: str) -> None:
        """The folder and everything below it get new names and keep UIDs, validities and ids."""
        folder, new = self.folder(old), _normal(new)
        if new in self.folders:
            raise FolderExists(new)
        old, below = folder.name, f"{folder.name}{self.delimiter}"
        for name in [name for name in self.folders if name == old or name.startswith(below)]:
            moved = self.folders.pop(name)
            moved.name = new + name[len(old) :]
            self.folders[moved.name] = moved
            self._changed(moved, name, named=True)
            if self.labels is not None:
                self.labels.renamed(moved)
        if _normal(old) == "INBOX":  # RFC 3501, 6.3.5: INBOX itself stays, empty
            self.create("INBOX")

    def _changed(self, folder: LabFolder, old: str | None = None, *, named: bool = False) -> None:
        for hear in list(self.watchers):
            hear(folder, old, named=named)

    def deliver(self, raw: bytes, folder: str = "INBOX", *, flags: Iterable[str] = ()) -> int:
        """Deliver a mail that the script brings along and return its UID."""
        return self.folder(folder).deliver(raw, flags=flags)

    def flag(self, folder: str, uid: int, flags: Iterable[str]) -> None:
        """Set a message's flags to exactly these."""
        self.folder(folder).flag(uid, flags)

    def expunge(self, folder: str, *uids: int) -> None:
        """Remove messages for good. With labels: only from there, but from All Mail everywhere."""
        self.folder(folder).expunge(*uids)

    def copy(self, source: str, uid: int, target: str) -> int:
        """The message lies in `target` as well, known by the same id; returns its UID there."""
        return self.folder(target).add(self.folder(source).messages[uid])

    def move(self, source: str, uid: int, target: str) -> int:
        """The message lies in `target` instead, known by the same id; returns its UID there."""
        return self.folder(source).move(uid, self.folder(target))

    def label(self, source: str, uid: int, labels: Iterable[str]) -> None:
        """With labels: the message of `source` lies in exactly these folders, and in All Mail."""
        if self.labels is None:
            raise NoSuchFolder(ALL_MAIL)
        message = self.folder(source).messages[uid]
        wanted = {self.folder(name) for name in labels} | {self.labels.everything}
        for folder in wanted:
            folder.add(message)
        for folder, place in self.labels.places(message).items():
            if folder not in wanted:
                folder.expunge(place)


def _normal(name: str) -> str:
    return "INBOX" if name.upper() == "INBOX" else name
