"""Undo content transfer encodings. Damaged input gives what can be saved of it, never an error."""

import binascii
import re
from collections.abc import Iterable, Iterator

import pybase64

from .unbuilt import BASE64_DIGITS, NOT_BASE64

try:
    from ._transfer import base64_digits, quoted_printable
except ImportError:  # no compiler, or no headers of Python, when this was installed
    from .unbuilt import base64_digits, quoted_printable

NOT_BASE64_OR_PAD = bytes(byte for byte in range(256) if byte not in BASE64_DIGITS + b"=")
WHITE = b" \t\r\n"
LONGEST_LINE = 1_000  # bytes of a line of uuencode that are looked at; 61 hold data
LINE = re.compile(rb"[^\r\n]+")
LEFT_OVER = (0, 0, 1, 2)  # bytes that 0 to 3 digits beyond a multiple of four hold

NAMES = {
    "base64": "base64",
    "quoted-printable": "quoted-printable",
    "x-uuencode": "x-uuencode",
    "uuencode": "x-uuencode",
    "x-uue": "x-uuencode",
    "uue": "x-uuencode",
    "": "",
    "7bit": "",
    "8bit": "",
    "binary": "",
    "none": "",
}


def name(declared: str, defects: set[str]) -> str:
    """The encoding that a Content-Transfer-Encoding header means, '' for none."""
    known = NAMES.get(declared)
    if known is None:
        word = declared.strip().lower().split(";", 1)[0].split("(", 1)[0].strip().strip("\"'")
        known = NAMES.get(word.replace("7-bit", "7bit").replace("8-bit", "8bit"))
    if known is None:
        defects.add("encoding.unknown")
        return ""
    return known


def decode(data: bytes, encoding: str) -> bytes:
    """The bytes that `data` stands for."""
    if encoding == "base64":
        return base64(data)
    if encoding == "quoted-printable":
        return quoted_printable(data)
    if encoding == "x-uuencode":
        return uuencoded(data)
    return data


def base64(data: bytes) -> bytes:
    """What is no digit is skipped. Padding in the middle separates two runs: some gateways glue them."""
    pad = data.find(b"=")
    if pad >= 0 and data[pad:].translate(None, NOT_BASE64):
        return b"".join(_run(piece) for piece in data.split(b"="))
    return _run(data)


def _run(data: bytes) -> bytes:
    digits = data.translate(None, NOT_BASE64)
    if len(digits) % 4 == 1:  # six bits are no byte
        digits = digits[:-1]
    return pybase64.b64decode(digits + b"=" * (-len(digits) % 4))


def base64_size(pieces: Iterable[bytes]) -> int:
    """The length of what `base64` makes of the pieces together. Pieces of whole lines are counted fastest."""
    size = digits = 0
    for piece in pieces:
        if b"=" in piece:
            first, *runs = map(len, piece.translate(None, NOT_BASE64_OR_PAD).split(b"="))
            size += _run_size(digits + first) + sum(map(_run_size, runs[:-1]))
            digits = runs[-1]
        else:
            digits += base64_digits(piece)
    return size + _run_size(digits)


def _run_size(digits: int) -> int:
    return digits // 4 * 3 + LEFT_OVER[digits % 4]


def base64_damaged(data: bytes) -> bool:
    """Whether there is more than digits, white space and one padding, or less."""
    kept = data.translate(None, WHITE)
    digits = kept.rstrip(b"=")
    return bool(len(kept) % 4) or len(kept) - len(digits) > 2 or bool(digits.translate(None, BASE64_DIGITS))


def base64_text(data: bytes) -> tuple[bytes, bool]:
    """`base64`, and `base64_damaged`."""
    data = data.rstrip(WHITE)
    try:
        found = pybase64.b64decode(data)
    except binascii.Error:
        return base64(data), True
    # Lines are of one length; were one not, or held they anything else, a byte or more would be missing.
    line = data.find(b"\n") + 1
    breaks = data[line - 1 :: line].count(b"\n") + data[line - 2 :: line].count(b"\r") if line > 1 else 0
    length = len(data) - breaks
    pads = len(data) - len(data.rstrip(b"="))
    if length % 4 == 0 and pads <= 2 and len(found) == length // 4 * 3 - pads:
        return found, False
    return base64(data), base64_damaged(data)


def stream(chunks: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """`decode` for data that comes in pieces; holds about one piece at a time."""
    if encoding == "base64":
        return _base64_stream(chunks)
    if encoding == "quoted-printable":
        return map(quoted_printable, _at_escapes(chunks))
    if encoding == "x-uuencode":
        return _uu_stream(chunks)
    return iter(chunks)


def _base64_stream(chunks: Iterable[bytes]) -> Iterator[bytes]:
    held = b""
    for chunk in chunks:
        held += chunk.translate(None, NOT_BASE64_OR_PAD)
        if b"=" in held:
            *runs, held = held.split(b"=")
            yield b"".join(map(_run, runs))
        whole = len(held) // 4 * 4
        yield _run(held[:whole])
        held = held[whole:]
    yield _run(held)


def _at_escapes(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes, cut behind line ends; in a line without end, before what might be an escape."""
    held = b""
    for chunk in chunks:
        held += chunk
        cut = held.rfind(b"\n") + 1
        if not cut:
            text = len(held.rstrip(WHITE))  # a soft break may have white space behind it
            escape = held.find(b"=", max(text - 2, 0), text)
            cut = len(held[:escape].rstrip(b"=")) if escape >= 0 else text
        yield held[:cut]
        held = held[cut:]
    yield held


def uuencoded(data: bytes) -> bytes:
    """The file between `begin` and `end`; lines that are no good are left out."""
    return _uu_lines(data)[0]


def _uu_stream(chunks: Iterable[bytes]) -> Iterator[bytes]:
    for piece in _at_lines(chunks):
        data, ended = _uu_lines(piece)
        yield data
        if ended:
            return


def _at_lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Whole lines; of a long one that has not ended yet, the beginning alone."""
    held = b""
    for chunk in chunks:
        data = held + chunk
        cut = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
        yield data[:cut]
        held = data[cut : cut + LONGEST_LINE]
    yield held


def _uu_lines(data: bytes) -> tuple[bytes, bool]:
    """What the lines hold, and whether `end` was among them."""
    out: list[bytes] = []
    for found in LINE.finditer(data):
        line = found[0]
        if line == b"end":
            return b"".join(out), True
        if not line.startswith(b"begin "):
            out.append(_uu_line(line))
    return b"".join(out), False


def _uu_line(line: bytes) -> bytes:
    count = (line[0] - 32) & 63
    try:
        return binascii.a2b_uu(line)
    except binascii.Error:
        # Some encoders count wrongly or leave rubbish behind: take what the count asks for.
        wanted = (count * 4 + 2) // 3
        try:
            return binascii.a2b_uu(line[: 1 + wanted])
        except binascii.Error:
            return b""
