"""Memory shared with the process that reads mail: content goes there and comes back without a pipe.

A pipe moves 64 KB at a time, and at each both sides wait for one another and for threads of their own. Here a
batch has a slot: its raw messages lie in it one after the other. The other side puts what it packed in the
place of each, and what it has to say about them behind the last.
"""

import mmap
import os
import pickle
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from multiprocessing.reduction import DupFd
from typing import Any, TypeAlias

from .prepare import Batch, Prepared

SLOTS = 8
ROOM = 16 << 20
"""Bytes of a slot, of which what was ever used takes memory. Larger batches are read in a thread."""

Answer: TypeAlias = bytes | int
Spans: TypeAlias = tuple[int, ...]
"""Lengths of a message's packed chunks, which lie in its place; none when they did not fit there."""


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

    def borrow(self, batch: Batch) -> "Slot | None":
        """A slot with these messages in it. None when one is in a file, there is no room, or none is free."""
        contents = [message.content for message, _ in batch if isinstance(message.content, bytes)]
        sizes = tuple(map(len, contents))
        if not self._free or len(contents) < len(batch) or sum(sizes) > ROOM:
            return None
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
        spans = [_lay(place, mail) for place, mail in zip(self.places(slot), prepared, strict=True)]
        rest = [_without_content(mail) if of else mail for mail, of in zip(prepared, spans, strict=True)]
        said = pickle.dumps((rest, spans), pickle.HIGHEST_PROTOCOL)
        room = self._of(slot)[sum(slot.sizes) :]
        if len(said) > len(room):
            return said
        room[: len(said)] = said
        return len(said)

    def understand(self, slot: "Slot", answer: Answer) -> list[Prepared]:
        """What `answer` laid there. Packed content stays in the slot: use it before that is given back."""
        if isinstance(answer, int):
            end = sum(slot.sizes)
            prepared, spans = pickle.loads(self._of(slot)[end : end + answer])
        else:
            prepared, spans = pickle.loads(answer)
        return [
            _with_content(mail, place, of) if of else mail
            for mail, place, of in zip(prepared, self.places(slot), spans, strict=True)
        ]

    def _of(self, slot: "Slot") -> memoryview:
        return self._memory[slot.number * ROOM : (slot.number + 1) * ROOM]


@dataclass(frozen=True, slots=True)
class Slot:
    number: int
    sizes: tuple[int, ...]


def _attached(fd: Any) -> Arena:
    return Arena(fd.detach())


def _lay(place: memoryview, mail: Prepared) -> Spans:
    chunks = (mail.packed.head, *mail.packed.rest)
    spans = tuple(map(len, chunks))
    if sum(spans) > len(place):
        return ()
    for chunk, (start, end) in zip(chunks, pairwise(accumulate(spans, initial=0)), strict=True):
        place[start:end] = chunk
    return spans


def _without_content(mail: Prepared) -> Prepared:
    return replace(mail, packed=replace(mail.packed, head=b"", rest=()))


def _with_content(mail: Prepared, place: memoryview, spans: Spans) -> Prepared:
    head, *rest = (place[start:end] for start, end in pairwise(accumulate(spans, initial=0)))
    return replace(mail, packed=replace(mail.packed, head=head, rest=tuple(rest)))
