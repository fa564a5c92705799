"""Sets of UIDs as IMAP writes them: `1:5,9` (RFC 9051, `sequence-set`).

A set stays ranges: `1:4294967295` from a server must not become four billion numbers.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

LARGEST = (1 << 32) - 1
SET = re.compile(rb"\d{1,10}(?::\d{1,10})?(?:,\d{1,10}(?::\d{1,10})?)*\Z")


@dataclass(frozen=True, slots=True)
class UidSet:
    """Ranges of UIDs, both ends included, in the order in which they were given."""

    ranges: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(cls, uids: Iterable[int]) -> "UidSet":
        """The smallest way of writing these numbers."""
        ranges: list[tuple[int, int]] = []
        for uid in sorted(set(uids)):
            if not 0 < uid <= LARGEST:
                raise ValueError(f"{uid} is not a UID")
            if ranges and ranges[-1][1] == uid - 1:
                ranges[-1] = (ranges[-1][0], uid)
            else:
                ranges.append((uid, uid))
        return cls(tuple(ranges))

    @classmethod
    def parse(cls, raw: bytes) -> "UidSet | None":
        """Read `1:5,9`; None if it is anything else. What is no UID (0, over 32 bits) is dropped."""
        if not SET.match(raw):
            return None
        pairs = (part.partition(b":") for part in raw.split(b","))
        ends = (sorted((int(low), int(high or low))) for low, _, high in pairs)
        return cls(tuple((max(low, 1), high) for low, high in ends if 0 < high <= LARGEST))

    def __str__(self) -> str:
        return ",".join(f"{low}:{high}" if low != high else f"{low}" for low, high in self.ranges)

    def __iter__(self) -> Iterator[int]:
        for low, high in self.ranges:
            yield from range(low, high + 1)

    @property
    def count(self) -> int:
        """How many numbers these are; a set from a server may name billions."""
        return sum(high - low + 1 for low, high in self.ranges)

    def __bool__(self) -> bool:
        return bool(self.ranges)

    def among(self, uids: Iterable[int]) -> set[int]:
        """Those of `uids` that are in this set; costs their number, not the set's."""
        ranges = sorted(self.ranges)
        starts = [low for low, _ in ranges]
        highest: list[int] = []  # ranges from a server may overlap
        for _, high in ranges:
            highest.append(max(high, highest[-1] if highest else 0))
        return {uid for uid in uids if (at := bisect_right(starts, uid)) and highest[at - 1] >= uid}

    def split(self, length: int = 6000) -> Iterator["UidSet"]:
        """Sets that each take at most about `length` bytes: servers limit a command line to about 8,000."""
        ranges: list[tuple[int, int]] = []
        size = 0
        for low, high in self.ranges:
            ranges.append((low, high))
            size += len(str(low)) + len(str(high)) + 2
            if size >= length:
                yield UidSet(tuple(ranges))
                ranges, size = [], 0
        if ranges:
            yield UidSet(tuple(ranges))
