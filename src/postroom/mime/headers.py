"""Find a header block in the raw bytes and cut it into (name, value) pairs: unfolded, but not yet decoded."""

import re

from postroom.mime.charsets import guess
from postroom.mime.limits import HEADER_BYTES, HEADERS
from postroom.mime.source import Source

HEADER = re.compile(r"^([!-9;-~]++)[ \t]*+:[ \t]*+([^\n]*)$", re.MULTILINE)
HEADER_LINE = re.compile(rb"[!-9;-~]++[ \t]*+:")
MBOX_LINE = re.compile(rb">?From ")
FOLD = re.compile(rb"\n[ \t]+")
BLANK_LINES = re.compile(rb"(?:\r?\n)*")
# Everything below space, but for the line feeds that separate headers and the tabs that RFC 5322 allows.
VISIBLE = bytes(byte if byte >= 32 or byte in b"\t\n" else 32 for byte in range(256))

Headers = list[tuple[str, str]]


def read(source: Source, start: int, end: int, limit: int, defects: set[str]) -> tuple[Headers, int]:
    """The headers that begin at `start` and the offset where their body begins.

    The empty line is looked for up to `limit`; `end` is where the message ends.
    """
    first = source[start : min(start + 2, end)]
    if first[:1] == b"\n":
        return [], start + 1
    if first == b"\r\n":
        return [], start + 2
    stop, body = _end(source, start, end, limit)
    if stop - start > HEADER_BYTES:
        defects.add("headers.too_long")
        stop = start + HEADER_BYTES
    block = source[start:stop]
    found, lines = _pairs(block, defects)
    if len(found) < lines:
        block, cut = _without_garbage(block, defects)
        if cut is not None:
            body = start + cut
        found, _lines = _pairs(block, defects)
    if len(found) > HEADERS:
        defects.add("headers.too_many")
        del found[HEADERS:]
    return found, body


def _end(source: Source, start: int, end: int, limit: int) -> tuple[int, int]:
    """Where the block ends and where the body starts. Lines end in CRLF or LF, sometimes in one mail."""
    newline = source.find(b"\n", start, end)
    if newline < 0:
        return end, end
    dos = source[max(newline - 1, start) : newline] == b"\r"
    usual, other = (b"\n\r\n", b"\n\n") if dos else (b"\n\n", b"\n\r\n")
    at = source.find(usual, start, limit)
    rare = source.find(other, start, at if at >= 0 else limit)
    if rare >= 0:
        at, usual = rare, other
    if at < 0:
        return limit, limit
    return at, at + len(usual)


def _pairs(block: bytes, defects: set[str]) -> tuple[Headers, int]:
    """The headers of a block, and how many there should be: one for each line that is not folded."""
    block = block.replace(b"\r\n", b"\n").translate(VISIBLE)
    if b"\n " in block or b"\n\t" in block:
        block = FOLD.sub(b" ", block)
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
