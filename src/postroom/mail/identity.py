"""Decide which mail that came is a message that we have already. Pure.

Equal content in another folder of the account is a placement of the same message; equal content twice in one
folder is two messages. Message-ID plays no part: strangers choose it.

the stored message                                    is the one that came
  lies in this folder, its number not known any more    it stayed
  lies in this folder under a number that is gone       it stayed
  lies nowhere, and lay here last                       it stayed
  lies nowhere, and lay elsewhere                       it moved
  lies elsewhere under a number that is gone            it moved
  lies elsewhere                                        it was copied
  lies in this folder                                   no: that is another one
"""

from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass
from operator import attrgetter
from uuid import UUID

from postroom.ids import FolderId

from .model import Came, Known, Place

Leaving = Callable[[FolderId, int], bool]  # whether the server has no such number in that folder any more


def nothing_leaves(_folder: FolderId, _uid: int) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Found:
    """A stored message, and how it would have come."""

    known: Known
    came: Came
    before: Place | None = None
    leaves: tuple[FolderId, int] | None = None  # the placement that it loses

    @property
    def order(self) -> tuple[int, int]:
        return self.came, self.known.id


@dataclass(frozen=True, slots=True)
class Arrived:
    """What is known of a mail that came."""

    key: bytes | str
    flags: frozenset[str]


def match(
    folder: FolderId, named: UUID, arrived: Sequence[Arrived], known: Iterable[Known], leaving: Leaving
) -> list[Found | None]:
    """For each mail that came into `folder`, publicly `named`, the stored message that it is.

    None where it is new.
    """
    candidates: dict[bytes | str, list[Found]] = {}
    for message in known:
        if (found := _found(message, folder, named, leaving)) is not None:
            candidates.setdefault(message.key, []).append(found)
    for same in candidates.values():
        same.sort(key=attrgetter("order"))
    return [_taken(candidates.get(mail.key, []), mail.flags) for mail in arrived]


def undecided(folder: FolderId, known: Iterable[Known], doubtful: Set[FolderId]) -> set[bytes | str]:
    """Keys of mail that comes into `folder` and may have left one of which nobody knows yet what lies there.

    Those are the `doubtful` ones: they are numbered anew, and not all of their mail has been found again.
    """
    others = doubtful - {folder}
    waiting, here = set(), set()
    for message in known:
        if (place := message.places.get(folder)) is not None:
            here |= {message.key} if place.uid < 0 else set()
        elif any(where in others and place.uid < 0 for where, place in message.places.items()):
            waiting.add(message.key)
    return waiting - here


def _found(message: Known, folder: FolderId, named: UUID, leaving: Leaving) -> Found | None:
    here = message.places.get(folder)
    if here is not None:
        if here.uid < 0 or leaving(folder, here.uid):
            return Found(message, Came.STAYED, here, (folder, here.uid))
        return None
    if message.last is not None:
        return Found(message, Came.STAYED if message.last.folder == named else Came.MOVED, message.last)
    for where, place in message.places.items():
        if leaving(where, place.uid):
            return Found(message, Came.MOVED, place, (where, place.uid))
    return Found(message, Came.COPIED)


def _taken(candidates: list[Found], flags: frozenset[str]) -> Found | None:
    """The likeliest; of twins that stayed the one with these flags, so that the fewest changes are told."""
    if not candidates:
        return None
    position = 0
    if candidates[0].came is Came.STAYED:
        stayed = (i for i, one in enumerate(candidates) if one.before and one.before.flags == flags)
        position = next((i for i in stayed if candidates[i].came is Came.STAYED), 0)
    return candidates.pop(position)
