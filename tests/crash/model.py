"""A mailbox as plain dictionaries, and what must be told of the way from one state to another. No I/O."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from crash.language import raw

Key: TypeAlias = tuple[str, str]  # what it is about, a mail's word or a folder's name; and the kind of event


@dataclass(frozen=True, slots=True)
class Lying:
    """One mail where it lies."""

    word: str
    flags: frozenset[str]


@dataclass(slots=True)
class Folder:
    """What lies in one folder, by UID."""

    made: int  # which folder of all that there ever were: it keeps this when it is renamed
    validity: int
    mails: dict[int, Lying] = field(default_factory=dict)
    next_uid: int = 1


Folders: TypeAlias = Mapping[str, Folder]


class Model:
    """A `World` of dictionaries."""

    def __init__(self) -> None:
        self.folders: dict[str, Folder] = {}
        self._made = 0
        self.create("INBOX")

    def state(self) -> Folders:
        """As of now; what happens later does not change it."""
        return deepcopy(self.folders)

    def create(self, folder: str) -> None:
        assert folder not in self.folders
        self._made += 1
        self.folders[folder] = Folder(self._made, validity=1000 * self._made)

    def delete(self, folder: str) -> None:
        del self.folders[folder]

    hollow = delete  # a name that holds no mail is none of ours

    def rename(self, folder: str, name: str) -> None:
        for old in [one for one in self.folders if one == folder or one.startswith(f"{folder}/")]:
            self.folders[name + old[len(folder) :]] = self.folders.pop(old)

    def deliver(self, folder: str, word: str, flags: frozenset[str]) -> None:
        self._put(folder, Lying(word, flags))

    def flag(self, folder: str, word: str, given: frozenset[str], taken: frozenset[str]) -> None:
        uid = self._uid(folder, word)
        mail = self.folders[folder].mails[uid]
        self.folders[folder].mails[uid] = replace(mail, flags=mail.flags - taken | given)

    def expunge(self, folder: str, words: Sequence[str]) -> None:
        for word in words:
            self._take(folder, word)

    def copy(self, folder: str, words: Sequence[str], target: str) -> None:
        for word in words:
            self._put(target, self.folders[folder].mails[self._uid(folder, word)])

    def move(self, folder: str, words: Sequence[str], target: str) -> None:
        for word in words:
            self._put(target, self._take(folder, word))

    def empty(self, folder: str) -> None:
        self.folders[folder].mails.clear()

    def renumber(self, folder: str, *, reverse: bool) -> None:
        found = self.folders[folder]
        mails = list(found.mails.values())
        found.mails = dict(enumerate(reversed(mails) if reverse else mails, 1))
        found.next_uid = len(mails) + 1
        found.validity += 1

    def backwards(self, folder: str) -> None:
        assert folder in self.folders  # it changes nothing that counts

    def _put(self, folder: str, mail: Lying) -> None:
        found = self.folders[folder]
        found.mails[found.next_uid] = mail
        found.next_uid += 1

    def _take(self, folder: str, word: str) -> Lying:
        return self.folders[folder].mails.pop(self._uid(folder, word))

    def _uid(self, folder: str, word: str) -> int:
        return next(uid for uid, mail in self.folders[folder].mails.items() if mail.word == word)


PLAIN = {
    "mail.copied": ["mail.added"],
    "mail.left": ["mail.removed"],
    "mail.moved": ["mail.removed", "mail.added"],
}
Place: TypeAlias = tuple[str, int]  # a folder's name and a UID


def seen(state: Folders) -> dict[Place, tuple[bytes, frozenset[str]]]:
    """What lies where, as clients see it."""
    return {
        (name, uid): (raw(mail.word), mail.flags)
        for name, folder in state.items()
        for uid, mail in folder.mails.items()
    }


def parts(state: Folders, *, largest: int | None, fault: str | None) -> tuple[Folders, frozenset[Place]]:
    """What of a mailbox can be copied, and the places of what is parked."""
    parked = frozenset(
        (name, uid)
        for name, folder in state.items()
        for uid, mail in folder.mails.items()
        if (largest is not None and len(raw(mail.word)) > largest)
        or (fault == "unavailable-uid" and uid == 3)
    )
    kept = {
        name: replace(
            folder, mails={uid: mail for uid, mail in folder.mails.items() if (name, uid) not in parked}
        )
        for name, folder in state.items()
    }
    return kept, parked


@dataclass(frozen=True, slots=True)
class News:
    """The events that one way of looking at a change takes: these, and perhaps those."""

    must: Counter[Key]
    may: Counter[Key]

    def differs(self, told: Counter[Key], words: Set[str]) -> str:
        """What is wrong with what was told, plainly of these words; empty when nothing is."""
        must = plain(self.must, words)
        missing, surplus = must - told, told - must - self.may
        return " ".join(
            [
                *(f"not told: {key}" for key in missing.elements()),
                *(f"told: {key}" for key in surplus.elements()),
            ]
        )


def news(before: Folders, after: Folders, *, loosely: bool = False) -> list[News]:
    """What a sync has to tell of the way from `before` to `after`; any one of several, where more are true.

    Folders may be paired by their names or by what they are. It matters only when names were given to others.
    `loosely`: mail that lies under another number in the same folder may have left it and come back.
    """
    found_again = [True, False] if loosely else [True]
    return [
        _news(before, after, pairs, is_same) for pairs in _pairings(before, after) for is_same in found_again
    ]


def unclear(before: Folders, after: Folders) -> frozenset[str]:
    """Words of which nobody can tell which of their places became which.

    Some folder holds more than one of them.
    """
    found = set[str]()
    for folder in (*before.values(), *after.values()):
        counts = Counter(mail.word for mail in folder.mails.values())
        found |= {word for word, count in counts.items() if count > 1}
    return frozenset(found)


def plain(told: Counter[Key], words: Set[str]) -> Counter[Key]:
    """The events, those of some words by nothing but how many places were lost and how many were won."""
    made = Counter[Key]()
    for (word, kind), count in told.items():
        for same in PLAIN.get(kind, [kind]) if word in words else [kind]:
            made[word, same] += count
    return made


def _pairings(before: Folders, after: Folders) -> Iterator[dict[str, str]]:
    same = {name: name for name in before if name in after}
    now = {folder.made: name for name, folder in after.items()}
    renamed = {name: now[folder.made] for name, folder in before.items() if folder.made in now}
    by_name = same | {
        name: new
        for name, new in renamed.items()
        if name not in same and new not in same and new not in before
    }
    yield by_name
    taken = set(renamed.values())
    yield renamed | {name: name for name in same if name not in renamed and name not in taken}
    # That a folder is another one's new name is proved by the mail that lies in both.
    yield {
        name: new
        for name, new in by_name.items()
        if name == new or before[name].mails.keys() & after[new].mails.keys()
    }


def _news(before: Folders, after: Folders, pairs: Mapping[str, str], found_again: bool) -> News:
    must, may = Counter[Key](), Counter[Key]()
    lost, new = Counter[str](), Counter[str]()
    for name in before.keys() - pairs.keys():
        must[name, "mail.folder_removed"] += 1
        lost.update(mail.word for mail in before[name].mails.values())
    for name in after.keys() - set(pairs.values()):
        must[name, "mail.folder_added"] += 1
        new.update(mail.word for mail in after[name].mails.values())
    for old, now in pairs.items():
        if old != now:
            must[now, "mail.folder_renamed"] += 1
        if before[old].validity != after[now].validity:
            (must if before[old].mails else may)[now, "mail.folder_renumbered"] += 1
        must += _changed(before[old], after[now], lost, new, found_again)
    for word in lost.keys() | new.keys():
        must += _gone_and_come(word, lost[word], new[word], before, after)
    return News(must, may)


def _changed(
    before: Folder, after: Folder, lost: Counter[str], new: Counter[str], found_again: bool
) -> Counter[Key]:
    """Flags that changed in one folder. What else is gone or new there is put with `lost` and `new`."""
    old, now = dict(before.mails), dict(after.mails)
    pairs = []
    if before.validity == after.validity:
        pairs = [(old.pop(uid), now.pop(uid)) for uid in before.mails.keys() & after.mails.keys()]
    if found_again or before.validity != after.validity:  # under another number
        pairs += _same(old, now, lambda mail, other: mail == other)
        pairs += _same(old, now, lambda mail, other: mail.word == other.word)
    lost.update(mail.word for mail in old.values())
    new.update(mail.word for mail in now.values())
    return Counter((mail.word, "mail.flags_changed") for mail, other in pairs if mail.flags != other.flags)


def _same(
    old: dict[int, Lying], now: dict[int, Lying], is_same: Callable[[Lying, Lying], bool]
) -> Iterator[tuple[Lying, Lying]]:
    """Take out what is in both."""
    for uid, mail in list(old.items()):
        if again := next((other for other in now if is_same(mail, now[other])), None):
            yield old.pop(uid), now.pop(again)


def _gone_and_come(word: str, lost: int, new: int, before: Folders, after: Folders) -> Counter[Key]:
    """A place lost and a place won are a move; what is over is told by whether the mail lies elsewhere."""
    moved = min(lost, new)
    removed = int(lost > moved and not _lies(word, after))
    added = int(new > moved and not _lies(word, before))
    return Counter(
        {
            (word, "mail.moved"): moved,
            (word, "mail.removed"): removed,
            (word, "mail.left"): lost - moved - removed,
            (word, "mail.added"): added,
            (word, "mail.copied"): new - moved - added,
        }
    )


def _lies(word: str, folders: Folders) -> bool:
    return any(mail.word == word for folder in folders.values() for mail in folder.mails.values())
