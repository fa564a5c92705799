"""Which events a reader wants to be told of. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, Self
from uuid import UUID

from .kinds import KINDS
from .model import NoSuchType, Stream

MOST = 100
"""Types that one filter may name."""


class Placed(Protocol):
    """Something that may name folders."""

    @property
    def folders(self) -> frozenset[str]: ...


@dataclass(frozen=True, slots=True)
class Types:
    """Kinds of events by name, or by their room: `mail.added`, `mail.*`, `*`."""

    names: frozenset[str]
    rooms: tuple[str, ...]  # with the dot

    @classmethod
    def read(cls, words: Iterable[str], others: Iterable[str] = ()) -> Self:
        """`others` are types beside the kinds of events. Raises `NoSuchType`."""
        names, rooms, known = set(), set(), KINDS.keys() | set(others)
        for word in list(words)[: MOST + 1]:
            if word in known:
                names.add(word)
            elif word == "*" or (word.endswith(".*") and any(kind.startswith(word[:-1]) for kind in known)):
                rooms.add(word[:-1])
            else:
                raise NoSuchType(f"No event is of the type {word[:50]!r}; the reference lists them.")
        if len(names) + len(rooms) > MOST:
            raise NoSuchType(f"Name at most {MOST} types.")
        return cls(frozenset(names), tuple(sorted(rooms)))

    def __contains__(self, kind: str) -> bool:
        return kind in self.names or kind.startswith(self.rooms)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What of a tenant's log. `folder` leaves out events that name other folders only."""

    types: Types | None = None
    stream: Stream | None = None
    folder: UUID | None = None

    def fits(self, stream: Stream, kind: str, placed: Placed) -> bool:
        if self.stream is not None and stream != self.stream:
            return False
        if self.types is not None and kind not in self.types:
            return False
        return self.folder is None or not placed.folders or str(self.folder) in placed.folders
