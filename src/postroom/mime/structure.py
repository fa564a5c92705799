"""Find the parts of a mail: one pass over the bytes, however the multiparts are nested or broken.

Open multiparts lie on a stack. Every line that starts with `--` is compared with all open boundaries at once
(a dictionary), so that a parent's delimiter also ends children who forgot theirs, and depth costs nothing.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from operator import itemgetter

from postroom.mime import headers, parameters
from postroom.mime.headers import NEAR, Headers
from postroom.mime.limits import BOUNDARY_BYTES, DEPTH, HEADER_BYTES, PARTS
from postroom.mime.parameters import Parameters
from postroom.mime.source import Source

FIRST_DELIMITER = re.compile(rb"(?:^|\n)--([^\s-][^\r\n]{0,200}?)[ \t]*\r?\n")
SMALL = 200  # bytes; header blocks of texts, which many mails have in common
GUESS_WITHIN = 16 << 10
VALUE = itemgetter(1)


def _common_start(boundaries: Iterable[bytes]) -> bytes:
    first, last = min(boundaries), max(boundaries)
    for length, (one, other) in enumerate(zip(first, last, strict=False)):
        if one != other:
            return first[:length]
    return first


@dataclass(frozen=True, slots=True)
class Declared:
    """What a header says about how its part is to be read."""

    disposition: str  # '' where it is not said
    name: str | None  # of the file
    charset: str | None
    flowed: bool  # format=flowed, and below DelSp=yes (RFC 3676)
    delete_space: bool
    defects: frozenset[str]


@dataclass(slots=True)
class Head:
    """A header block that was read; shared between parts, so nothing in it changes but `declared`, once."""

    headers: Headers
    names: list[str]  # of the headers, in lower case
    fields: dict[str, str]  # the first of each name
    content_type: str | None  # None where it is not said
    parameters: Parameters
    body: int | None  # where the body begins after all, if that is inside the block
    defects: set[str]
    declared: Declared | None = None  # once it was asked for: see `attachments.declared`


def _head(block: bytes) -> Head:
    defects: set[str] = set()
    found, body = headers.read(block, 0, len(block), defects)
    names = [name.lower() for name, _value in found]
    fields = dict(zip(reversed(names), map(VALUE, reversed(found)), strict=True))
    declared = fields.get("content-type")
    kind, values = (None, parameters.NONE) if declared is None else parameters.content_type(declared)
    return Head(found, names, fields, kind, values, body, defects)


_small_head = lru_cache(maxsize=512)(_head)


@dataclass(slots=True)
class Part:
    """One entity: raw[start:end] is its encoded body; `fields` the first header of each name, lower case."""

    head: Head
    fields: dict[str, str]
    content_type: str
    parameters: Parameters
    start: int
    end: int
    alternative: int  # the outermost multipart/alternative around it, 0 for none
    related: bool  # inside multipart/related, and not its first part


@dataclass(slots=True)
class _Open:
    boundary: bytes
    kind: str
    part: Part
    alternative: int
    children: int = 0


@dataclass(slots=True)
class Walk:
    """The root's headers and all leaves, in order."""

    source: Source
    size: int
    defects: set[str]
    root: Part = field(init=False)
    leaves: list[Part] = field(init=False, default_factory=list)
    _stack: list[_Open] = field(init=False, default_factory=list)
    _levels: tuple[dict[bytes, int], bytes] | None = field(init=False, default=None)
    _leaf: Part | None = field(init=False, default=None)
    _parts: int = field(init=False, default=0)

    def run(self) -> "Walk":
        blank = headers.BLANK_LINES.match(self.source[0 : min(self.size, 64)])
        at = self._begin(blank.end() if blank else 0)
        while self._stack:
            found = self._next_delimiter(at, self.size)
            if found is None:
                break
            at = self._delimiter(*found)
            if self._parts > PARTS:
                self.defects.add("parts.too_many")
                break
        self._finish()
        return self

    def _begin(self, start: int) -> int:
        """Read a part's headers; the offset from which to look for the next delimiter."""
        self._parts += 1
        part = self._read(start)
        if self._parts == 1:
            self.root = part
        kind = part.content_type
        if not kind.startswith("multipart/"):
            self._leaf = part
            return max(part.start - 1, 0)
        boundary = self._boundary(part)
        if boundary is None:
            part.content_type = "text/plain"
            self._leaf = part
        elif len(self._stack) >= DEPTH:
            self.defects.add("parts.too_deep")
            self._leaf = part
        else:
            alternative = part.alternative
            if kind == "multipart/alternative" and not alternative:
                alternative = self._parts
            self._stack.append(_Open(boundary, kind, part, alternative))
            self._levels = None
        return max(part.start - 1, 0)

    def _read(self, start: int) -> Part:
        stop, body = self._header_block(start)
        block = self.source[start : min(stop, start + HEADER_BYTES + 1)]
        head = _small_head(block) if len(block) <= SMALL else _head(block)
        if head.defects:
            self.defects |= head.defects
        if head.body is not None:
            body = start + head.body
        kind = head.content_type or "text/plain"
        alternative, related = 0, False
        if self._stack:
            parent = self._stack[-1]
            if parent.kind == "multipart/digest" and head.content_type is None:
                kind = "message/rfc822"
            alternative = parent.alternative
            related = parent.kind == "multipart/related" and parent.children > 1
        return Part(head, head.fields, kind, head.parameters, body, self.size, alternative, related)

    def _header_block(self, start: int) -> tuple[int, int]:
        """Where a part's headers end and where its body starts; no later than at the next delimiter."""
        source, size = self.source, self.size
        block = headers.extent(source, start, min(start + NEAR, size))
        if not self._stack:
            return block or headers.extent(source, start, size) or (size, size)
        before = start - 1 if start else 0
        if block is not None and source.find(b"\n--", before, block[1]) < 0:
            return block
        limit = min(start + HEADER_BYTES, size)
        delimiter = self._next_delimiter(before, block[1] if block else limit)
        if delimiter is not None:
            limit = max(delimiter[0], start)
            block = None
        return block or headers.extent(source, start, limit) or (limit, limit)

    def _boundary(self, part: Part) -> bytes | None:
        declared = parameters.text(part.parameters, "boundary", self.defects) or ""
        boundary = declared.encode("utf-8", "replace").rstrip()[:BOUNDARY_BYTES]
        if boundary:
            return boundary
        guess = FIRST_DELIMITER.search(self.source[part.start : min(part.start + GUESS_WITHIN, self.size)])
        self.defects.add("boundary.guessed" if guess else "boundary.missing")
        return guess[1] if guess else None

    def _next_delimiter(self, at: int, end: int) -> tuple[int, int, int, bool] | None:
        """The next delimiter of an open multipart: (offset of its newline, end of line, level, is last)."""
        levels, needle = self._levels or self._look_for()
        source, size = self.source, self.size
        find = source.find
        if self._leaf is not None and self._leaf.fields.get("content-transfer-encoding") == "base64":
            at = max(at, find(b"-", at, end) - 2)  # no digit of base64; a single byte is found fastest
        while (at := find(needle, at, end)) >= 0:
            start = at + 3
            stop = min(start + BOUNDARY_BYTES + 200, size)
            newline = find(b"\n", start, stop)
            if newline >= 0:
                stop = newline
            line = source[start:stop].rstrip()
            level = levels.get(line)
            if level is not None:
                return at, stop, level, False
            if b"--" in line:
                level = levels.get(line[: line.rfind(b"--")].rstrip())
                if level is not None:
                    return at, stop, level, True
            at = stop
        return None

    def _look_for(self) -> tuple[dict[bytes, int], bytes]:
        """Open boundaries with their levels, and what all delimiters begin with: long is found fast."""
        levels = {multipart.boundary: level for level, multipart in enumerate(self._stack)}
        common = _common_start(levels) if len(levels) > 1 else self._stack[0].boundary
        self._levels = levels, b"\n--" + common
        return self._levels

    def _delimiter(self, at: int, line_end: int, level: int, last: bool) -> int:
        self._end_leaf(at)
        if len(self._stack) > level + 1:
            self.defects.add("boundary.unclosed")
        while len(self._stack) > level + 1:
            self._close(at)
        if last:
            self._close(at)
            return line_end
        self._stack[level].children += 1
        return self._begin(min(line_end + 1, self.size))

    def _end_leaf(self, at: int) -> None:
        leaf = self._leaf
        if leaf is None:
            return
        if at < self.size and at > leaf.start and self.source[at - 1 : at] == b"\r":
            at -= 1
        leaf.end = max(at, leaf.start)
        self.leaves.append(leaf)
        self._leaf = None

    def _close(self, at: int) -> None:
        """Leave the innermost multipart. One without any part is read as text."""
        multipart = self._stack.pop()
        self._levels = None
        if not multipart.children:
            self.defects.add("boundary.missing")
            multipart.part.content_type = "text/plain"
            multipart.part.end = max(at, multipart.part.start)
            self.leaves.append(multipart.part)

    def _finish(self) -> None:
        self._end_leaf(self.size)
        if any(multipart.children for multipart in self._stack):
            self.defects.add("boundary.unclosed")
        while self._stack:
            self._close(self.size)
