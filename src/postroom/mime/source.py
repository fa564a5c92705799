"""Where the bytes of a mail come from: memory, or a file that is too large for it."""

from typing import BinaryIO, Protocol

CHUNK = 1 << 20


class Source(Protocol):
    """Raw mail: `bytes`, or anything that answers the same two questions."""

    def find(self, needle: bytes, start: int, end: int, /) -> int: ...

    def __getitem__(self, key: slice, /) -> bytes: ...


class FileSource:
    """A mail in a file, of which one chunk is in memory at a time."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._size = file, size
        self._start, self._chunk = 0, b""

    def __getitem__(self, key: slice, /) -> bytes:
        start, end, _step = key.indices(self._size)
        if end - start > CHUNK:
            self._file.seek(start)
            return self._file.read(end - start)
        if not self._start <= start <= end <= self._start + len(self._chunk):
            self._load(start)
        return self._chunk[start - self._start : max(end - self._start, 0)]

    def find(self, needle: bytes, start: int, end: int, /) -> int:
        """As `bytes.find`: the first offset of `needle` that lies between `start` and `end`, or -1."""
        end = min(end, self._size)
        while start + len(needle) <= end:
            if not self._start <= start <= start + len(needle) <= self._start + len(self._chunk):
                self._load(start)
            found = self._chunk.find(needle, start - self._start, end - self._start)
            if found >= 0:
                return self._start + found
            following = self._start + len(self._chunk) - len(needle) + 1
            if following <= start:  # the file is shorter than it was said to be
                return -1
            start = following
        return -1

    def _load(self, start: int) -> None:
        self._file.seek(start)
        self._start, self._chunk = start, self._file.read(CHUNK)
