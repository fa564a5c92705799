"""Cut the byte stream into whole responses, before anything is parsed.

A response ends at CRLF, unless the line announces a literal such as `{310}`: then that many bytes
belong to it, and another line follows (RFC 9051, 4.3). Framing knows nothing else, so a response
that the parser cannot read costs us that one response, never our place in the stream.

A `Frame` keeps its literals apart from its text: `text` holds the announcements, `literals` the bytes,
in order. So a literal is copied once, a large one never held (it goes to a spool as it arrives), and
what the parser looks at is short. No byte is searched twice, however the stream is cut.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from typing import IO

from .errors import LimitExceeded

LITERAL = re.compile(rb"\{(\d+)\+?\}\r\n\Z")
# The text for people at the end of a status may end in `{5}`; that announces nothing.
STATUS_LINE = re.compile(rb"\+|\S+ (?:OK|NO|BAD|BYE|PREAUTH)\b", re.IGNORECASE)
UNASKED = 1 << 18  # bytes of a response that nobody has asked for
WINDOW = 1 << 16  # bytes searched at once for literals
MAX_DIGITS = 19  # more would not be a size on any machine


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one response may cost us, in bytes."""

    line: int = 1 << 20
    response: int = 32 << 20  # held in memory: lines and the literals that are not spooled
    literal: int = 1 << 30  # any one literal, and all spooled ones of a response together
    spool_over: int = 1 << 20  # larger literals go to a spool


# While nothing is asked for: what little a server then has to say is kept in memory by thousands of sessions.
SMALL = Limits(line=UNASKED, response=UNASKED, literal=UNASKED, spool_over=UNASKED)


@dataclass(slots=True)
class Spool:
    """A large literal in a file, positioned at its start. Close it when done; forgetting it closes it too."""

    file: IO[bytes]
    size: int

    def read(self) -> bytes:
        """Everything, in memory; mind the size."""
        self.file.seek(0)
        return self.file.read()

    def close(self) -> None:
        self.file.close()

    def __del__(self) -> None:
        self.file.close()


OpenSpool = Callable[[int], IO[bytes]]  # takes the size of the literal


@dataclass(frozen=True, slots=True)
class Frame:
    """One whole response: its text without the last CRLF, and the literals that the text announces."""

    text: bytes
    literals: tuple[bytes | Spool, ...] = ()


def _in_memory(size: int) -> IO[bytes]:
    del size
    return BytesIO()


class Framer:
    """Collects bytes and hands out whole responses. After it has raised, it is of no more use."""

    def __init__(self, limits: Limits | None = None, open_spool: OpenSpool = _in_memory) -> None:
        self._limits = self._usual = limits or Limits()
        self._open_spool = open_spool
        self._line: list[bytes] = []  # pieces of a line whose end has not come
        self._line_size = 0
        self._text: list[bytes] = []  # lines of a response that ended in announcements
        self._literals: list[bytes | Spool] = []
        self._pieces: list[bytes] = []  # of the literal that is arriving
        self._spool: Spool | None = None  # where it goes instead, if it is large
        self._missing = 0  # bytes of it that have not come
        self._held = self._spooled = 0  # bytes of this response in memory and in spools

    def restrict(self, limits: Limits | None) -> None:
        """From here on these limits hold; None: those of the beginning."""
        self._limits = limits or self._usual

    @property
    def empty(self) -> bool:
        """Whether the stream stands between two responses."""
        return not (self._line or self._text)

    @property
    def within_literal(self) -> bool:
        """Whether the stream stands within a literal: more of it must be on its way."""
        return self._missing > 0

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Add `data` and give every response that it completes. Take them all before the next call.

        :raises LimitExceeded: before the excess is stored.
        :raises OSError: a spool could not be written.
        """
        frames: list[Frame] = []
        at, end = 0, len(data)
        while at < end:
            if self._missing:
                at = self._fill(data, at)
            elif self._line or self._text:
                at = self._one_line(data, at, frames)
            else:
                at = self._whole_lines(data, at, frames)
            if frames:
                yield from frames
                frames.clear()

    def close(self) -> None:
        """Let go of a response that will never be whole; of no more use then."""
        for literal in (self._spool, *self._literals):
            if isinstance(literal, Spool):
                with suppress(OSError):  # the disk is full, and the last of it cannot be written either
                    literal.close()
        self._spool = None
        for pieces in (self._line, self._text, self._pieces, self._literals):
            pieces.clear()

    def _whole_lines(self, data: bytes, at: int, frames: list[Frame]) -> int:
        """Take at once all the lines before the next one that may announce a literal."""
        window = at + min(WINDOW, self._limits.line)
        brace = data.find(b"}\r\n", at, window)
        end = data.rfind(b"\r\n", at, brace if brace >= 0 else window)
        if end < 0:
            return self._one_line(data, at, frames)
        frames += map(Frame, data[at:end].split(b"\r\n"))
        return end + 2

    def _one_line(self, data: bytes, at: int, frames: list[Frame]) -> int:
        newline = data.find(b"\n", at)
        while newline >= 0 and not self._follows_cr(data, at, newline):
            newline = data.find(b"\n", newline + 1)
        end = newline + 1 or len(data)
        self._line.append(data[at:end])
        self._line_size += end - at
        if self._line_size > self._limits.line:
            raise LimitExceeded("line", self._limits.line)
        if newline >= 0:
            line = b"".join(self._line)
            self._line.clear()
            self._line_size = 0
            self._end_line(line, frames)
        return end

    def _follows_cr(self, data: bytes, at: int, newline: int) -> bool:
        if newline > at:
            return data[newline - 1] == 0x0D
        return bool(self._line) and self._line[-1][-1] == 0x0D

    def _end_line(self, line: bytes, frames: list[Frame]) -> None:
        self._hold(len(line))
        announced = line.endswith(b"}\r\n") and LITERAL.match(line, line.rfind(b"{"))
        if announced and (self._text or not STATUS_LINE.match(line)):
            self._text.append(line)
            self._begin_literal(announced[1])
            return
        self._text.append(line[:-2])
        frames.append(Frame(b"".join(self._text), tuple(self._literals)))
        self._text.clear()
        self._literals.clear()
        self._held = self._spooled = 0

    def _begin_literal(self, digits: bytes) -> None:
        size = int(digits) if len(digits) <= MAX_DIGITS else self._limits.literal + 1
        if size + self._spooled > self._limits.literal:
            raise LimitExceeded("literal", self._limits.literal)
        if size > self._limits.spool_over:
            self._spooled += size
            self._spool = Spool(self._open_spool(size), size)
        else:
            self._hold(size)
        self._missing = size
        if not size:
            self._literals.append(b"")

    def _fill(self, data: bytes, at: int) -> int:
        end = min(at + self._missing, len(data))
        self._missing -= end - at
        if self._spool is not None:
            self._spool.file.write(memoryview(data)[at:end])
        else:
            self._pieces.append(data[at:end])
        if not self._missing:
            self._end_literal()
        return end

    def _end_literal(self) -> None:
        if self._spool is not None:
            self._spool.file.seek(0)
            self._literals.append(self._spool)
            self._spool = None
        else:
            self._literals.append(self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces))
            self._pieces.clear()

    def _hold(self, size: int) -> None:
        self._held += size
        if self._held > self._limits.response:
            raise LimitExceeded("response", self._limits.response)
