"""Memory shared with the process that reads mail: content goes there and comes back without a pipe.

A pipe moves 64 KB at a time, and at each both sides wait for one another and for threads of their own. Here a
batch has a slot: its raw messages lie in it one after the other. The other side puts what it packed in the
place of each, and what it has to say about them behind the last.
"""

import copyreg
import mmap
import os
import pickle
from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import accumulate, pairwise
from multiprocessing.reduction import DupFd
from operator import attrgetter
from typing import Any, TypeAlias

from postroom.blobs.pack import Packed
from postroom.mail.model import Incoming, Kept
from postroom.providers.model import RemoteItem, RemoteMessage
from postroom.search.model import Row

from .prepare import Batch, Prepared

SLOTS = 8
ROOM = 16 << 20
"""Bytes of a slot, of which what was ever used takes memory. Larger batches are read in a thread."""

Answer: TypeAlias = bytes | int
Packing: TypeAlias = list[int] | tuple[bytes, ...]
"""Lengths of a message's packed chunks, which lie in its place; themselves when they did not fit there."""
Told: TypeAlias = tuple[Incoming, Row, Packing]


class Arena:
    """All slots. Pickled while a process starts, it becomes the same memory there."""

    def __init__(self, fd: int | None = None) -> None:
        self._fd = os.memfd_create("postroom-mail") if fd is None else fd
        os.ftruncate(self._fd, SLOTS * ROOM)
        self._memory = memoryview(mmap.mmap(self._fd, SLOTS * ROOM))
        self._free = list(range(SLOTS))

    def __reduce__(self) -> tuple[Any, ...]:
        return _attached, (DupFd(self._fd),)

    def close(self) -> None:
        """No process can be started with it any more. The memory goes when nobody looks at it."""
        os.close(self._fd)

    def takes(self, batch: Batch) -> bool:
        """Whether these messages have room in a slot, and none of them is in a file."""
        return sum(len(m.content) if isinstance(m.content, bytes) else ROOM + 1 for m, _ in batch) <= ROOM

    def borrow(self, batch: Batch) -> "Slot | None":
        """A slot with these messages in it, which it `takes`. None when none is free."""
        if not self._free:
            return None
        contents = [message.content for message, _ in batch if isinstance(message.content, bytes)]
        sizes = tuple(map(len, contents))
        slot = Slot(self._free.pop(), sizes)
        for place, content in zip(self.places(slot), contents, strict=True):
            place[:] = content
        return slot

    def give_back(self, slot: "Slot") -> None:
        self._free.append(slot.number)

    def places(self, slot: "Slot") -> list[memoryview]:
        """Where each message lies."""
        memory = self._of(slot)
        return [memory[start:end] for start, end in pairwise(accumulate(slot.sizes, initial=0))]

    def answer(self, slot: "Slot", prepared: Sequence[Prepared]) -> Answer:
        """What was made of the messages, laid into their slot: its length, or itself for want of room."""
        told = [_told(place, mail) for place, mail in zip(self.places(slot), prepared, strict=True)]
        said = pickle.dumps(told, pickle.HIGHEST_PROTOCOL)
        room = self._of(slot)[sum(slot.sizes) :]
        if len(said) > len(room):
            return said
        room[: len(said)] = said
        return len(said)

    def understand(self, slot: "Slot", answer: Answer) -> list[Prepared]:
        """What `answer` laid there. Packed content stays in the slot: use it before that is given back."""
        end = sum(slot.sizes)
        said = self._of(slot)[end : end + answer] if isinstance(answer, int) else answer
        return [
            Prepared(incoming, Packed(incoming.digest, incoming.size, *_chunks(place, packed)), words, None)
            for place, (incoming, words, packed) in zip(self.places(slot), pickle.loads(said), strict=True)
        ]

    def _of(self, slot: "Slot") -> memoryview:
        return self._memory[slot.number * ROOM : (slot.number + 1) * ROOM]


@dataclass(frozen=True, slots=True)
class Slot:
    number: int
    sizes: tuple[int, ...]


def _attached(fd: Any) -> Arena:
    return Arena(fd.detach())


def _told(place: memoryview, mail: Prepared) -> Told:
    chunks = (mail.packed.head, *mail.packed.rest)
    spans = list(map(len, chunks))
    if sum(spans) > len(place):
        return mail.incoming, mail.words, tuple(map(bytes, chunks))
    for chunk, (start, end) in zip(chunks, pairwise(accumulate(spans, initial=0)), strict=True):
        place[start:end] = chunk
    return mail.incoming, mail.words, spans


def _chunks(place: memoryview, packed: Packing) -> tuple[bytes | memoryview, tuple[bytes | memoryview, ...]]:
    if isinstance(packed, tuple):
        return packed[0], packed[1:]
    head, *rest = (place[start:end] for start, end in pairwise(accumulate(packed, initial=0)))
    return head, tuple(rest)


def _pickled_by_columns(kind: type[Any]) -> None:
    """Pickle a dataclass as a call with its values: what frozen ones do by themselves costs several times as
    much."""
    values = attrgetter(*(field.name for field in fields(kind)))
    copyreg.pickle(kind, lambda value: (kind, values(value)))


for kind in (Incoming, Kept, RemoteItem, RemoteMessage, Row):
    _pickled_by_columns(kind)
