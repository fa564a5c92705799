"""A mailbox as plain lists, and what must be true of a copy's ids from one quiet point to the next. No I/O.

    folder   the messages that lie there, in the order of their UIDs
    message  its bytes and flags; `serial` names this one message in this one folder, as long as it lies there

Ids are judged by what happened to a mail (its bytes) since the last quiet point:

    nothing in this folder            the same ids in this folder, whatever it is called or numbered by now
    nothing but moves, and it had     the same id
    one id
    it was somewhere all the time,    the same id, however it got about (clients move by COPY and EXPUNGE)
    came to each folder at most once,
    had one id
    any                               an id belongs to one mail, and never to another

A folder keeps its id, whatever it is called, as long as some mail lies in it that did so the last time, under
a number that still holds: by that it can be known again.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import count
from typing import TypeAlias

Places: TypeAlias = Mapping[str, Sequence[str]]
"""What a copy says: folder -> the ids of its messages, in the order of their UIDs."""


@dataclass(slots=True)
class Mail:
    """One message in one folder."""

    serial: int
    raw: bytes
    flags: frozenset[str]


@dataclass(slots=True, eq=False)
class Folder:
    """`key` stays when its name changes."""

    key: int
    mails: list[Mail] = field(default_factory=list)


class Did(Enum):
    """What happened to a mail somewhere since the last quiet point."""

    DELIVERED = "delivered"
    COPIED = "copied"
    MOVED = "moved"
    REMOVED = "removed"


@dataclass(slots=True)
class Since:
    """What happened to one mail (these bytes, wherever they lie) since the last quiet point."""

    did: set[Did] = field(default_factory=set)
    folders: set[int] = field(default_factory=set)  # that it came to or left
    came: dict[int, int] = field(default_factory=lambda: defaultdict(int))  # to this folder, how often
    was_absent: bool = False
    was_twice: bool = False  # lay twice in one folder: two messages, which need two ids


class World:
    """The mailbox as it should be. Whoever changes the server changes this in the same breath."""

    def __init__(self, folders: Sequence[str]) -> None:
        self._keys, self._serials = count(1), count(1)
        self.folders = {name: Folder(next(self._keys)) for name in folders}
        self.since: dict[bytes, Since] = defaultdict(Since)
        self.renumbered: set[int] = set()
        self.is_vague = False  # the server did not say enough to tell a move from a copy, or what was renamed
        self._ids: dict[bytes, set[str]] = {}  # at the last quiet point
        self._in_folder: dict[tuple[int, bytes], list[tuple[int, str]]] = {}  # serials and ids, then
        self._owner: dict[str, bytes] = {}  # of every id that there ever was
        self._folder_ids: dict[int, str] = {}  # at the last quiet point

    def placed(self) -> Iterator[tuple[str, Mail]]:
        for name, folder in self.folders.items():
            for mail in folder.mails:
                yield name, mail

    # What others do

    def deliver(self, name: str, raw: bytes, flags: frozenset[str]) -> None:
        self._arrive(self.folders[name], raw, flags, Did.DELIVERED)

    def copy(self, source: str, index: int, target: str) -> None:
        mail = self.folders[source].mails[index]
        self._arrive(self.folders[target], mail.raw, mail.flags, Did.COPIED)

    def move(self, source: str, index: int, target: str) -> None:
        folder = self.folders[source]
        mail = folder.mails.pop(index)
        self._touch(mail.raw, Did.MOVED, folder)
        self._arrive(self.folders[target], mail.raw, mail.flags, Did.MOVED)

    def flag(self, name: str, index: int, flags: frozenset[str]) -> None:
        self.folders[name].mails[index].flags = flags

    def expunge(self, name: str, index: int) -> None:
        folder = self.folders[name]
        mail = folder.mails.pop(index)
        self._touch(mail.raw, Did.REMOVED, folder)
        self._note_absence(mail.raw)

    def create(self, name: str) -> None:
        self.folders[name] = Folder(next(self._keys))

    def delete(self, name: str) -> None:
        folder = self.folders.pop(name)
        for mail in folder.mails:
            self._touch(mail.raw, Did.REMOVED, folder)
        for mail in folder.mails:
            self._note_absence(mail.raw)

    def rename(self, name: str, new: str) -> None:
        for old in [one for one in self.folders if one == name or one.startswith(f"{name}/")]:
            self.folders[new + old[len(name) :]] = self.folders.pop(old)

    def renumber(self, name: str) -> None:
        self.renumbered.add(self.folders[name].key)

    def _arrive(self, folder: Folder, raw: bytes, flags: frozenset[str], did: Did) -> None:
        self.since[raw].was_twice |= any(mail.raw == raw for mail in folder.mails)
        folder.mails.append(Mail(next(self._serials), raw, flags))
        self._touch(raw, did, folder)
        self.since[raw].came[folder.key] += 1

    def _touch(self, raw: bytes, did: Did, folder: Folder) -> None:
        self.since[raw].did.add(did)
        self.since[raw].folders.add(folder.key)

    def _note_absence(self, raw: bytes) -> None:
        if not any(mail.raw == raw for _, mail in self.placed()):
            self.since[raw].was_absent = True

    # What a copy must have made of it

    def judge(self, places: Places, folder_ids: Mapping[str, str]) -> list[str]:
        """What is wrong with the ids of a copy that holds the right messages, one sentence each.

        This is the quiet point from which the next one is judged.
        """
        ids: dict[bytes, set[str]] = defaultdict(set)
        in_folder: dict[tuple[int, bytes], list[tuple[int, str]]] = defaultdict(list)
        wrong = self._judge_folders(folder_ids)
        for name, folder in self.folders.items():
            for mail, public_id in zip(folder.mails, places.get(name, ()), strict=True):
                ids[mail.raw].add(public_id)
                in_folder[folder.key, mail.raw].append((mail.serial, public_id))
                if self._owner.setdefault(public_id, mail.raw) != mail.raw:
                    wrong.append(f"{public_id} names {mail.raw[:40]!r} now, and was another mail's id")
        for (key, raw), now in in_folder.items():
            if len({public_id for _, public_id in now}) < len(now):
                wrong.append(f"{raw[:40]!r} lies twice in a folder under one id")
            wrong += self._judge_folder(key, raw, now)
        for raw, before in self._ids.items():
            wrong += self._judge_mail(raw, before, ids[raw])
        self._ids, self._in_folder = dict(ids), dict(in_folder)
        self._folder_ids = {folder.key: folder_ids[name] for name, folder in self.folders.items()}
        self.since.clear()
        self.renumbered.clear()
        self.is_vague = False
        return wrong

    def _judge_folders(self, folder_ids: Mapping[str, str]) -> list[str]:
        before = {(key, serial) for (key, _), mails in self._in_folder.items() for serial, _ in mails}
        wrong = []
        for name, folder in self.folders.items():
            was, now = self._folder_ids.get(folder.key), folder_ids[name]
            stayed = any((folder.key, mail.serial) in before for mail in folder.mails)
            is_known = stayed and folder.key not in self.renumbered and not self.is_vague
            if was is not None and was != now and is_known:
                wrong.append(f"the folder {name} was {was} and became {now}")
        return wrong

    def _judge_folder(self, key: int, raw: bytes, now: list[tuple[int, str]]) -> list[str]:
        before = self._in_folder.get((key, raw))
        if before is None or key in self.since[raw].folders:
            return []
        if key in self.renumbered and self.is_vague:  # nobody could see that its numbers mean other mails
            return []
        if key in self.renumbered or self.is_vague:  # equal mails of one folder cannot be told apart then
            same = sorted(one for _, one in before) == sorted(one for _, one in now)
        else:
            same = before == now
        return [] if same else [f"{raw[:40]!r} was left alone and its ids {before} became {now}"]

    def _judge_mail(self, raw: bytes, before: set[str], now: set[str]) -> list[str]:
        since = self.since[raw]
        if len(before) > 1 or since.was_absent or self.is_vague or not now:
            return []
        if since.did <= {Did.MOVED} and before != now and not since.was_twice:
            return [f"{raw[:40]!r} only moved, and its id {before} became {now}"]
        once = all(times <= 1 and (key, raw) not in self._in_folder for key, times in since.came.items())
        if once and not before <= now:
            return [f"{raw[:40]!r} was never gone, and its id {before} became {now}"]
        return []
