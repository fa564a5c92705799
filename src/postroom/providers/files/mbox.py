"""mbox: many messages in a file, each after a line `From sender date` (RFC 4155).

We write mboxrd: a line of a message that begins with `From `, `>From `, `>>From ` ... gets one more `>`,
which reading takes away, and a message is followed by one empty line. So any bytes come back as they
were; for a message that does not end in a newline the From_ line says so, as its blank line could not.

We read mboxrd, mboxo (which quotes only `From `; the difference cannot be seen) and files that quote nothing,
as only a line with a date is taken for a From_ line.
"""

import os
import re
from array import array
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO

from postroom.providers.files import names
from postroom.providers.model import Incomplete

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
FROM_LINE = re.compile(
    rb"From (?P<sender>[^\r\n]{0,500}?) ?(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun),? {1,9}"
    rb"(?P<month>[A-Z][a-z]{2}) {1,9}(?P<day>\d{1,2}) {1,9}"
    rb"(?P<hour>\d\d):(?P<minute>\d\d)(?::(?P<second>\d\d))?"
    rb"(?: {1,9}[+-]?[A-Za-z0-9]{1,6})? {1,9}(?P<year>\d{4})(?: {1,9}[+-]\d{4})?[ \t]*\r?\n"
)
LONGEST_FROM_LINE = 4096
PIECE = 1 << 16  # bytes of a line that are looked at together
MOST_OPEN = 64  # files
QUOTED = re.compile(rb"^>(?=>*From )", re.MULTILINE)
NO_NEWLINE = "no-final-newline@postroom.invalid"
LARGE = 1 << 20  # bytes; larger messages are handed out as files
STATUS = {"R": "\\Seen", "A": "\\Answered", "F": "\\Flagged", "T": "\\Draft", "D": "\\Deleted"}
STATUS_LINE = re.compile(rb"^(?:X-)?Status:[ \t]*([A-Z]{1,10})", re.MULTILINE | re.IGNORECASE)
HEADER_END = re.compile(rb"\r?\n\r?\n")


@dataclass(frozen=True, slots=True)
class MboxFolder:
    """A file on disk and what people call its folder."""

    place: Path
    path: str


class MboxIndex:
    """Where each message of a file begins, in 16 bytes a message. Holds until the file is changed."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._starts = array("Q")
        with place.open("rb") as file:
            self._stamp = _stamp(file)
            self._starts.extend(_from_lines(file))
            self._starts.append(file.seek(0, os.SEEK_END))
            self._check(file)
        self.validity = int.from_bytes(blake2b(self._stamp, digest_size=4).digest(), "big") or 1

    def __len__(self) -> int:
        return len(self._starts) - 1

    def size(self, number: int) -> int:
        """About how many bytes message `number` (from 0) takes."""
        return self._starts[number + 1] - self._starts[number]

    def describe(self, number: int) -> "MboxMessage":
        """The message with no more content than tells its flags. Raises `Incomplete`."""
        with self._place.open("rb") as file:
            first, begin, end = self._bounds(file, number)
            head = file.read(min(end - begin, PIECE))
            self._check(file)
        return MboxMessage(b"", _status(head), _date(first))

    def read(self, number: int) -> "MboxMessage":
        """The message; a large one as a file that the caller closes. Raises `Incomplete`."""
        with self._place.open("rb") as file:
            first, begin, end = self._bounds(file, number)
            head = file.read(min(end - begin, LARGE))
            self._check(file)
            if end - begin <= LARGE:
                return MboxMessage(QUOTED.sub(b"", head), _status(head), _date(first))
            file.seek(begin)
            large = TemporaryFile()  # noqa: SIM115  the caller closes it
            large.writelines(_requoted(_lines(file, end - begin), -1))
            with ExitStack() as stack:
                stack.callback(large.close)
                self._check(file)
                stack.pop_all()
        large.seek(0)
        return MboxMessage(large, _status(head), _date(first))

    def _check(self, file: BinaryIO) -> None:
        """What was read is what was indexed: a mail program that removes a message moves all behind it."""
        if _stamp(file) != self._stamp:
            raise Incomplete(f"{self._place} was changed while it was read.", path=str(self._place))

    def _bounds(self, file: BinaryIO, number: int) -> tuple[bytes, int, int]:
        """The From_ line, and where the message begins and ends; the file stands at its beginning."""
        start, end = self._starts[number], self._starts[number + 1]
        file.seek(start)
        first = file.readline(LONGEST_FROM_LINE)
        begin = start + len(first)
        file.seek(max(begin, end - 4))
        end -= _blank(first, file.read(end - max(begin, end - 4)))
        file.seek(begin)
        return first, begin, end


@dataclass(frozen=True, slots=True)
class MboxMessage:
    content: bytes | BinaryIO
    flags: frozenset[str]
    received_at: datetime | None


def _stamp(file: BinaryIO) -> bytes:
    """What differs once the file has been changed."""
    stat = os.fstat(file.fileno())
    return f"{stat.st_size} {stat.st_mtime_ns}".encode()


def is_mbox(place: Path) -> bool:
    """Whether the file begins with a From_ line; an empty file is an empty mbox if its name says so."""
    with place.open("rb") as file:
        first = file.read(LONGEST_FROM_LINE)
    return bool(FROM_LINE.match(first)) or (not first and place.suffix == ".mbox")


def folders(root: Path) -> list[MboxFolder]:
    """The file itself, or every mbox below a directory, in the ways that we and Thunderbird lay them out."""
    if root.is_file():
        return [MboxFolder(root, names.decode(root.name.removesuffix(".mbox")))]
    found = []
    for here, below, files in os.walk(root):
        below.sort()
        for name in sorted(files):
            place = Path(here, name)
            if not name.startswith(".") and not place.is_symlink() and place.is_file() and is_mbox(place):
                parts = [p.removesuffix(".sbd") for p in place.relative_to(root).parts[:-1]]
                parts.append(name.removesuffix(".mbox"))
                found.append(MboxFolder(place, "/".join(names.decode(part) for part in parts)))
    return found


def _from_lines(file: BinaryIO) -> Iterator[int]:
    """The offsets of all From_ lines."""
    at, fresh = 0, True
    while piece := file.readline(LONGEST_FROM_LINE):
        if fresh and piece.startswith(b"From ") and FROM_LINE.match(piece):
            yield at
        at += len(piece)
        fresh = piece.endswith(b"\n")


def _blank(first: bytes, tail: bytes) -> int:
    """How many bytes at the end of a message only separate it from the next."""
    if NO_NEWLINE.encode() in first:
        return 2
    if tail.endswith(b"\n\n") or tail == b"\n":
        return 1
    return 2 if tail.endswith(b"\n\r\n") or tail == b"\r\n" else 0


def _date(first: bytes) -> datetime | None:
    found = FROM_LINE.match(first)
    month = found["month"].decode() if found else ""
    if found is None or month not in MONTHS:
        return None
    day, hour, minute, second, year = (
        int(found[n] or 0) for n in ("day", "hour", "minute", "second", "year")
    )
    try:
        return datetime(year, MONTHS.index(month) + 1, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None


def _status(head: bytes) -> frozenset[str]:
    end = HEADER_END.search(head)
    header = head[: end.end()] if end else head
    letters = "".join(match[1].decode().upper() for match in STATUS_LINE.finditer(header))
    return frozenset(STATUS[letter] for letter in letters if letter in STATUS)


def _lines(file: BinaryIO, size: int) -> Iterator[bytes]:
    """The next `size` bytes by lines, the very long ones in pieces."""
    while size and (piece := file.readline(min(size, PIECE))):
        size -= len(piece)
        yield piece


def _requoted(lines: Iterable[bytes], change: int) -> Iterator[bytes]:
    """The lines with one mark more (`change` 1) or less (-1) where `From ` follows any number of marks.

    A line may come in pieces; no more than one of them is held, however long the run of marks is.
    """
    in_marks, held, cut = True, 0, b""
    for line in lines:
        if not in_marks:
            yield line
        else:
            rest = (cut + line).lstrip(b">")
            marks, cut = held + len(cut + line) - len(rest), b""
            if len(rest) < 5 and b"From ".startswith(rest):  # too little to tell; `rest` may be empty
                yield b">" * (marks - 1)
                held, cut = min(marks, 1), rest
                continue
            if rest.startswith(b"From "):
                marks = max(marks + change, 0)
            yield b">" * marks + rest
            held = 0
        in_marks = line.endswith(b"\n")
    yield b">" * held + cut


class MboxWriter:
    """Writes messages, byte for byte, into one mboxrd file a folder, in folders below `root` as they nest."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._files: OrderedDict[Path, BinaryIO] = OrderedDict()

    def add_folder(self, path: str, delimiter: str | None) -> Path:
        """The folder's file, made when missing, so that empty folders are kept."""
        *above, last = [names.encode(level) for level in names.levels(path, delimiter)]
        place = self._root.joinpath(*above, f"{last}.mbox")
        if place not in self._files:
            place.parent.mkdir(parents=True, exist_ok=True)
            self._files[place] = place.open("ab")
            if len(self._files) > MOST_OPEN:
                self._files.popitem(last=False)[1].close()
        self._files.move_to_end(place)
        return place

    def write(
        self,
        path: str,
        delimiter: str | None,
        content: bytes | BinaryIO,
        *,
        flags: Collection[str] = (),
        received_at: datetime | None = None,
    ) -> None:
        """Add one message. Its flags are not written: they would have to change its headers."""
        del flags
        file = self._files[self.add_folder(path, delimiter)]
        content = content if not isinstance(content, bytes) else BytesIO(content)
        whole = _ends_in_newline(content)
        file.write(_from_line("MAILER-DAEMON" if whole else NO_NEWLINE, received_at or datetime.now(UTC)))
        for piece in _requoted(iter(lambda: content.readline(PIECE), b""), 1):
            file.write(piece)
        file.write(b"\n" if whole else b"\n\n")

    def close(self) -> None:
        """Write out what is buffered."""
        while self._files:
            self._files.popitem()[1].close()


def _ends_in_newline(content: BinaryIO) -> bool:
    if content.seek(0, os.SEEK_END):
        content.seek(-1, os.SEEK_END)
    last = content.read(1)
    content.seek(0)
    return last == b"\n"


def _from_line(sender: str, moment: datetime) -> bytes:
    utc = moment.astimezone(UTC)
    day = f"{DAYS[utc.weekday()]} {MONTHS[utc.month - 1]} {utc.day:2}"
    return f"From {sender} {day} {utc:%H:%M:%S} {utc.year:04}\n".encode()
