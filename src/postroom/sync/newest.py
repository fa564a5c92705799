"""Which messages to copy first: the newest of all folders, though only few are described to find that out.

Of each folder the highest uids are described, a few at first. Where all of them are among the newest, so may
be those below: twice as many of these are described, and so on.

    INBOX    9 9 8 8 | 8 7 7 7 6 6 5 5 | ...      all of the first four are new: eight more
    Archive  8 4 3 3 | ...                        enough
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime

from .look import FolderCopy

PIECE = 25  # messages of each folder that are described at first
LONG_AGO = datetime.min.replace(tzinfo=UTC)

Describe = Callable[[FolderCopy, Sequence[int]], Awaitable[Sequence[datetime | None]]]


async def newest(copies: Sequence[FolderCopy], most: int, describe: Describe) -> list[tuple[FolderCopy, int]]:
    """How many of what is to be fetched in each folder, from the highest uid down, are the newest of all.

    About `most` in all: a date that is out of order brings what is above it along. `describe` tells when the
    server took in each of some messages, and nothing where it refuses.
    """
    dates: list[list[datetime]] = [[] for _ in copies]
    asking, piece = list(range(len(copies))), PIECE
    while asking:
        for n in asking:
            end = len(copies[n].todo) - len(dates[n])
            some = min(piece, most - len(dates[n]))
            told = await describe(copies[n], copies[n].todo[max(0, end - some) : end])
            dates[n] += [when or LONG_AGO for when in reversed(told)]
        bar = _bar(dates, most)
        asking = [n for n in asking if _goes_on(copies[n], dates[n], bar, piece, most)]
        piece *= 2
    bar = _bar(dates, most)
    deep = [max((at + 1 for at, when in enumerate(found) if when >= bar), default=0) for found in dates]
    return [(copy, count) for copy, count in zip(copies, deep, strict=True) if count and copy.todo]


def _bar(dates: Sequence[Sequence[datetime]], most: int) -> datetime:
    """When the oldest of the newest `most` came, as far as is known."""
    newest_first = sorted((when for found in dates for when in found), reverse=True)
    return newest_first[most - 1] if len(newest_first) >= most else LONG_AGO


def _goes_on(copy: FolderCopy, dates: Sequence[datetime], bar: datetime, piece: int, most: int) -> bool:
    """Whether what lies below what was described last may be among the newest."""
    return len(dates) < min(len(copy.todo), most) and min(dates[-piece:], default=bar) >= bar
