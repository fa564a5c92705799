"""Hold what is stored against the model.

The copy has to be the mailbox: places, flags and bytes. A mail keeps its id, and its twin has another. The
log gives the stored state when it is replayed, and tells each change once. Some things may never be true of
the tables.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from crash.language import raw
from crash.model import Folders, Key, Place, news, plain, unclear
from crash.stored import Stored, counted

from postroom.events.replay import replay


class Wrong(AssertionError):
    """What a trial found. `what` is the column of the tally that it belongs to."""

    def __init__(self, what: str, said: object) -> None:
        super().__init__(f"{what}: {said}")
        self.what = what


@dataclass(frozen=True, slots=True)
class Quiet:
    """A moment at which no sync runs: the mailbox, as far as it can be copied, and the copy."""

    state: Folders
    parked: frozenset[Place]
    stored: Stored

    def ids(self) -> dict[str, set[str]]:
        """Those under which each word is stored."""
        found: dict[str, set[str]] = {}
        for name, folder in self.state.items():
            for uid, mail in folder.mails.items():
                found.setdefault(mail.word, set()).add(self.stored.placed[name, uid].message)
        return found


def compare(now: Quiet, before: Quiet, most: Counter[str], unsure: Iterable[str] = ()) -> None:
    """Raises `Wrong`. `most`: how many ids a word may have; `unsure`: words that may have got another one.

    They lay nowhere for a while, or two in one folder, which makes them two messages: either may have gone.
    """
    _equal(now)
    if repeated := Counter({word: len(ids) for word, ids in now.ids().items()}) - most:
        raise Wrong("repeated", repeated)
    _same_ids(now, before, frozenset(unsure))
    if now.stored.wrong or now.stored.messages != now.stored.state.keys():
        raise Wrong("inconsistent", now.stored.wrong)
    told = replay(now.stored.entries)
    if (told.messages, told.folders) != (now.stored.state, set(now.stored.folders)):
        raise Wrong("replay", "the log does not tell of what is stored")


def doubles(state: Folders) -> Counter[str]:
    """How many messages each word has to be: as many as any folder holds of it."""
    most = Counter[str]()
    for folder in state.values():
        most |= Counter(mail.word for mail in folder.mails.values())
    return most


def _equal(now: Quiet) -> None:
    placed = now.stored.placed
    theirs = {(name, uid): mail for name, folder in now.state.items() for uid, mail in folder.mails.items()}
    same = {
        place for place, mail in theirs.items() if place in placed and placed[place].raw == raw(mail.word)
    }
    if lost := theirs.keys() - same:
        raise Wrong("lost", lost)
    if invented := placed.keys() - theirs.keys():
        raise Wrong("invented", invented)
    if (names := set(now.stored.folders.values())) != set(now.state):
        raise Wrong("invented" if names > set(now.state) else "lost", names ^ set(now.state))
    if differ := [place for place, mail in theirs.items() if placed[place].flags != mail.flags]:
        differ_ = [(place, sorted(placed[place].flags), theirs[place]) for place in differ]
        raise Wrong("flags", differ_)
    if now.stored.parked != now.parked:
        raise Wrong("parked", now.stored.parked ^ now.parked)


def _same_ids(now: Quiet, before: Quiet, unsure: frozenset[str]) -> None:
    """A mail keeps its id wherever it goes, as long as it lies anywhere."""
    new = now.ids()
    for word, ids in before.ids().items():
        left = new.get(word, set())
        if word not in unsure and len(ids & left) < min(len(ids), len(left)):
            raise Wrong("repeated", f"{word} has another id")
    for place, copy in before.stored.placed.items():
        if _is_same(place, before.state, now.state) and now.stored.placed[place].message != copy.message:
            raise Wrong("repeated", f"{place} has another id")


def _is_same(place: Place, before: Folders, after: Folders) -> bool:
    """Whether this place was not given to another mail."""
    name, uid = place
    old, new = before.get(name), after.get(name)
    if old is None or new is None or (old.made, old.validity) != (new.made, new.validity):
        return False
    return uid in old.mails and uid in new.mails


def check_told(now: Quiet, before: Quiet, *, loosely: bool = False) -> None:
    """Each change has its event, and nothing else has one. Raises `Wrong`.

    `loosely`: the connection broke. The folder that was being opened comes last the next time: what left it
    and came back there may have been found elsewhere by then.
    """
    names = before.stored.folders | now.stored.folders | dict(_words(before)) | dict(_words(now))
    told = Counter[Key]()
    for (about, kind), count in counted(now.stored.entries[len(before.stored.entries) :]).items():
        if kind != "sync.released":
            told[names.get(about, about), kind] += count
    about_parked = Counter((name, "sync.parked") for name in _newly_parked(now, before))
    ways, words = news(before.state, now.state, loosely=loosely), unclear(before.state, now.state)
    wrong = [way.differs(plain(told - about_parked, words), words) for way in ways]
    if all(wrong) or about_parked - told:
        wrong_ = Wrong("told", wrong[0])
        wrong_.add_note(
            "\n".join(f"{one.kind} {one.body}" for one in now.stored.entries[len(before.stored.entries) :])
        )
        raise wrong_


def _words(quiet: Quiet) -> Iterator[tuple[str, str]]:
    for name, folder in quiet.state.items():
        for uid, mail in folder.mails.items():
            yield quiet.stored.placed[name, uid].message, mail.word


def _newly_parked(now: Quiet, before: Quiet) -> list[str]:
    """The folder of each mail that is parked now under a number under which it was not."""
    known = {(before.state[name].made, before.state[name].validity, uid) for name, uid in before.parked}
    places = [(name, (now.state[name].made, now.state[name].validity, uid)) for name, uid in now.parked]
    return [name for name, place in places if place not in known]
