"""Files that old programs wrote into the text itself: `begin 644 name`, lines, `end`."""

import re
from dataclasses import dataclass

MOST = 100  # files in one text
BEGIN = re.compile(rb"begin [0-7]{3,4} ([^\r\n]{1,300})\r?\n")
END = re.compile(rb"\nend[ \t]*+(?:\r?\n|\r?\Z)")
LINE = re.compile(rb"([!-`])([ -`]{2,90})\r?\n")


@dataclass(frozen=True, slots=True)
class Embedded:
    """raw[start:end] is the file, from `begin` to `end`."""

    name: bytes
    start: int
    end: int


def find(raw: bytes) -> list[Embedded]:
    """The files in a text, in order."""
    found: list[Embedded] = []
    at = 0
    while len(found) < MOST and (at := raw.find(b"begin ", at)) >= 0:
        begin = BEGIN.match(raw, at)
        if begin is None or (at and raw[at - 1] != 10) or not _is_data(raw, begin.end()):
            at += 6
            continue
        end = END.search(raw, begin.end() - 1)
        if end is None:
            break
        found.append(Embedded(begin[1], at, end.end()))
        at = end.end()
    return found


def without(raw: bytes, files: list[Embedded]) -> bytes:
    """The text around the files."""
    edges = [0, *(edge for file in files for edge in (file.start, file.end)), len(raw)]
    return b"".join(raw[a:b] for a, b in zip(edges[::2], edges[1::2], strict=True))


def _is_data(raw: bytes, at: int) -> bool:
    """Whether the line at `at` holds as many characters as its first one says."""
    line = LINE.match(raw, at)
    return line is not None and len(line[2]) >= ((line[1][0] - 32 & 63) * 4 + 2) // 3
