"""Find what was changed in the copy behind the log's back, and tell it. Pure.

A repair goes from what is stored to what the server has, and so do its events. They make sense only to those
who know what is stored, so the log has to hear of that before.

told    stored
here    here         flags_changed, if they differ
here    elsewhere    copied there, then left here
here    nowhere      nothing: it waits, as if it had just left, to be found again
here    no message   removed
-       here         added
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from postroom.events.model import Event
from postroom.events.replay import Replayed

Flags = frozenset[str]


@dataclass(frozen=True, slots=True)
class Lies:
    """Where a stored message lies."""

    places: dict[str, Flags]  # folder -> flags, all by public ids
    is_unplaced: bool  # it is known to lie nowhere


@dataclass(frozen=True, slots=True)
class Retold:
    """What to tell, and which messages lie nowhere unawares, with where they were told to lie."""

    events: list[Event]
    lost: list[tuple[str, str, Flags]]


def retell(told: Replayed, stored: Mapping[str, Lies], folders: set[str]) -> Retold:
    """What brings the log in line with what is stored."""
    events = [Event("mail.folder_added", {"folder": each}) for each in sorted(folders - told.folders)]
    lost = []
    for message in sorted(told.messages.keys() | stored.keys()):
        before, now = told.messages.get(message, {}), stored.get(message)
        if now is None:
            events.append(Event("mail.removed", {"message": message}))
        elif now.places:
            events += _message(message, before, now.places)
        elif before and not now.is_unplaced:
            (folder, flags), *others = sorted(before.items())
            events += [_left(message, other) for other, _ in others]
            lost.append((message, folder, flags))
    events += [Event("mail.folder_removed", {"folder": each}) for each in sorted(told.folders - folders)]
    return Retold(events, lost)


def _message(message: str, before: Mapping[str, Flags], now: Mapping[str, Flags]) -> Iterator[Event]:
    is_known = bool(before)
    for folder, flags in sorted(now.items()):
        if before.get(folder) == flags:
            continue
        kind = "mail.flags_changed" if folder in before else "mail.copied" if is_known else "mail.added"
        yield Event(kind, {"message": message, "folder": folder, "flags": sorted(flags)})
        is_known = True
    yield from (_left(message, folder) for folder in sorted(before.keys() - now.keys()))


def _left(message: str, folder: str) -> Event:
    return Event("mail.left", {"message": message, "folder": folder})
