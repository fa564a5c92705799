"""Find a header block in the raw bytes and cut it into (name, value) pairs: unfolded, but not yet decoded."""

import re

from postroom.mime.charsets import guess
from postroom.mime.limits import HEADER_BYTES, HEADERS
from postroom.mime.source import Source

# The value without the spaces behind it.
HEADER = re.compile(r"^([!-9;-~]++)[ \t]*+:[ \t]*+([^\n]*[^\n ]|) *+$", re.MULTILINE)
HEADER_LINE = re.compile(rb"[!-9;-~]++[ \t]*+:")
MBOX_LINE = re.compile(rb">?From ")
FOLD = re.compile(rb"\n[ \t]+")
LONE_RETURN = re.compile(rb"\r[^\n]")
EMPTY_LINE = re.compile(rb"\n\r?\n")
BLANK_LINES = re.compile(rb"(?:\r?\n)*")
NEAR = 4 << 10  # most header blocks are shorter
# Everything below space, but for the line feeds that separate headers and the tabs that RFC 5322 allows.
VISIBLE = bytes(byte if byte >= 32 or byte in b"\t\n" else 32 for byte in range(256))

Headers = list[tuple[str, str]]


def extent(source: Source, start: int, limit: int) -> tuple[int, int] | None:
    """Where the header block that begins at `start` ends, and where its body starts.

    None without an empty line before `limit`. Lines end in CRLF or LF, sometimes both in one mail.
    """
    near = source[start : min(start + NEAR, limit)]
    if near[:1] == b"\n":
        return start, start + 1
    if near[:2] == b"\r\n":
        return start, start + 2
    found = EMPTY_LINE.search(near)
    if found is not None:
        return start + found.start(), start + found.end()
    at = start + max(len(near) - 2, 0)
    return _far(source, at, limit) if start + NEAR < limit else None


def _far(source: Source, start: int, limit: int) -> tuple[int, int] | None:
    newline = source.find(b"\n", start, limit)
    if newline < 0:
        return None
    dos = newline > start and source[newline - 1 : newline] == b"\r"
    usual, other = (b"\n\r\n", b"\n\n") if dos else (b"\n\n", b"\n\r\n")
    at = source.find(usual, start, limit)
    rare = source.find(other, start, at + 1 if at >= 0 else limit)
    if rare >= 0:
        at, usual = rare, other
    return (at, at + len(usual)) if at >= 0 else None


def read(source: Source, start: int, stop: int, defects: set[str]) -> tuple[Headers, int | None]:
    """The headers in a block; and the offset where the body begins after all, if that is inside the block."""
    if stop - start > HEADER_BYTES:
        defects.add("headers.too_long")
        stop = start + HEADER_BYTES
    block = source[start:stop]
    if not block:
        return [], None
    found, lines = _pairs(block, defects)
    body = None
    if len(found) < lines:
        block, body = _without_garbage(block, defects)
        found, _lines = _pairs(block, defects)
    if len(found) > HEADERS:
        defects.add("headers.too_many")
        del found[HEADERS:]
    return found, None if body is None else start + body


def _pairs(block: bytes, defects: set[str]) -> tuple[Headers, int]:
    """The headers of a block, and how many there should be: one for each line that is not folded."""
    block = block.rstrip(b"\r")  # of the empty line
    visible = block.translate(VISIBLE, b"\r")
    if len(visible) < len(block) and LONE_RETURN.search(block):
        visible = block.replace(b"\r\n", b"\n").translate(VISIBLE)
    block = FOLD.sub(b" ", visible)
    lines = block.count(b"\n") + 1
    if block.isascii():
        return HEADER.findall(block.decode("ascii")), lines
    defects.add("headers.not_ascii")
    try:
        return HEADER.findall(block.decode("utf-8")), lines
    except UnicodeDecodeError:
        defects.add("headers.not_utf8")
        text = "\n".join(guess(line) for line in block.split(b"\n"))
        return HEADER.findall(text), lines


def _without_garbage(block: bytes, defects: set[str]) -> tuple[bytes, int | None]:
    """The block without lines that are no headers; and where the body begins, if no empty line says it.

    A stray line with a header after it is garbage. Without one it is the first line of the body.
    """
    kept: list[bytes] = []
    lines = block.split(b"\n")
    offset = 0
    for number, line in enumerate(lines):
        if line[:1] in (b" ", b"\t") or HEADER_LINE.match(line):
            kept.append(line)
        elif number or not MBOX_LINE.match(line):
            following = lines[number + 1] if number + 1 < len(lines) else b""
            if not HEADER_LINE.match(following):
                defects.add("headers.no_blank_line")
                return b"\n".join(kept), offset
            defects.add("headers.garbage")
        offset += len(line) + 1
    return b"\n".join(kept), None
