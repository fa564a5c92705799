"""Look into winmail.dat: Outlook wraps a whole mail, files and all, into one part (MS-OXTNEF).

After a signature and a key come attributes, one behind the other: level, id, length, data, checksum. Level 1
is the mail, level 2 its files; each file begins with an attribute of its own. Names and bodies also hide in
lists of MAPI properties, of which only strings and bytes are read here.
"""

import struct
from dataclasses import dataclass, field

from postroom.mime.charsets import decode

SIGNATURE = b"\x78\x9f\x3e\x22"
BODY, MESSAGE_PROPERTIES = 0x0002800C, 0x00069003
FILE_BEGINS, FILE_NAME, FILE_DATA, FILE_PROPERTIES = 0x00069002, 0x00018010, 0x0006800F, 0x00069005
PR_BODY, PR_BODY_HTML, PR_LONG_NAME, PR_TYPE = 0x1000, 0x1013, 0x3707, 0x370E
STRING8, UNICODE, OBJECT, BINARY = 0x001E, 0x001F, 0x000D, 0x0102
FIXED = {0x0002: 4, 0x0003: 4, 0x0004: 4, 0x0005: 8, 0x0006: 8, 0x0007: 8, 0x000A: 4, 0x000B: 4, 0x0014: 8}
FIXED |= {0x0040: 8, 0x0048: 16}
MULTIPLE = 0x1000
MOST = 1_000  # attributes, properties, files

ATTRIBUTE = struct.Struct("<BII")
PROPERTY = struct.Struct("<HH")
NUMBER = struct.Struct("<I")


@dataclass(slots=True)
class File:
    """data[start:end] of the winmail.dat is the file."""

    name: str = ""
    content_type: str = ""
    start: int = 0
    end: int = 0


@dataclass(slots=True)
class Wrapped:
    """What a winmail.dat holds."""

    text: str = ""
    html: str = ""
    files: list[File] = field(default_factory=list)


def read(data: bytes) -> Wrapped | None:
    """The mail inside, as far as it can be read; None when `data` is no winmail.dat."""
    if data[:4] != SIGNATURE:
        return None
    wrapped = Wrapped()
    files: list[File] = []
    at = 6
    for _ in range(MOST):
        if at + ATTRIBUTE.size > len(data):
            break
        _level, name, length = ATTRIBUTE.unpack_from(data, at)
        start, end = at + ATTRIBUTE.size, at + ATTRIBUTE.size + length
        if end > len(data):
            break
        if name == FILE_BEGINS:
            files.append(File())
        elif files:
            _file_attribute(files[-1], name, data, start, end)
        else:
            _mail_attribute(wrapped, name, data[start:end])
        at = end + 2
    wrapped.files = [file for file in files if file.end > file.start]
    return wrapped


def _file_attribute(file: File, name: int, data: bytes, start: int, end: int) -> None:
    if name == FILE_NAME:
        file.name = file.name or _string(data[start:end])
    elif name == FILE_DATA:
        file.start, file.end = start, end
    elif name == FILE_PROPERTIES:
        found = _properties(data[start:end])
        file.name = found.get(PR_LONG_NAME, file.name)
        file.content_type = found.get(PR_TYPE, "").lower()


def _mail_attribute(wrapped: Wrapped, name: int, data: bytes) -> None:
    if name == BODY:
        wrapped.text = wrapped.text or _string(data)
    elif name == MESSAGE_PROPERTIES:
        found = _properties(data)
        wrapped.text = found.get(PR_BODY, wrapped.text)
        wrapped.html = found.get(PR_BODY_HTML, wrapped.html)


def _properties(data: bytes) -> dict[int, str]:
    """The strings among MAPI properties, up to the first that cannot be followed."""
    found: dict[int, str] = {}
    at = 4
    for _ in range(MOST):
        if at + PROPERTY.size > len(data):
            break
        kind, name = PROPERTY.unpack_from(data, at)
        at += PROPERTY.size
        if name >= 0x8000:
            at = _behind_name(data, at)
        values, at = _values(data, at, kind)
        if values is None:
            break
        if values and kind & ~MULTIPLE in (STRING8, UNICODE, BINARY):
            found.setdefault(name, _string(values[0], kind & ~MULTIPLE == UNICODE))
    return found


def _behind_name(data: bytes, at: int) -> int:
    """A named property has a GUID and a number or a string before its value."""
    at += 16
    if at + 8 > len(data):
        return len(data)
    by_string, length = NUMBER.unpack_from(data, at)[0], NUMBER.unpack_from(data, at + 4)[0]
    return at + 8 + (_padded(length) if by_string else 0)


def _values(data: bytes, at: int, kind: int) -> tuple[list[bytes] | None, int]:
    """The values of one property and the offset behind them; None for what cannot be followed."""
    simple = kind & ~MULTIPLE
    size = FIXED.get(simple)
    count = 1
    if kind & MULTIPLE or size is None:
        if at + 4 > len(data) or (size is None and simple not in (STRING8, UNICODE, OBJECT, BINARY)):
            return None, at
        count = NUMBER.unpack_from(data, at)[0]
        at += 4
    if size is not None:
        return [], at + size * count
    values: list[bytes] = []
    for _ in range(min(count, MOST)):
        if at + 4 > len(data):
            return None, at
        length = NUMBER.unpack_from(data, at)[0]
        values.append(data[at + 4 : at + 4 + length])
        at += 4 + _padded(length)
    return values, at


def _padded(length: int) -> int:
    return length + -length % 4


def _string(value: bytes, wide: bool = False) -> str:
    text = decode(value, "utf-16-le" if wide else None, set())
    return text.partition("\0")[0]
