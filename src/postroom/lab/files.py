"""Attachments of generated mail: names in several languages, bytes that begin and compress like real ones."""

import struct
import zlib
from binascii import b2a_base64
from dataclasses import dataclass
from functools import cache
from random import Random
from urllib.parse import quote

LINE = 57
POOL_LINES = 60_000  # 3.4 MB before base64
LARGEST = 6_000_000


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of file. `start` is how such files begin, `share` how many of a hundred attachments are such."""

    ending: str
    media_type: str
    start: bytes
    end: bytes
    share: int


FORMATS = (
    Format(
        "pdf",
        "application/pdf",
        b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<</Type/Catalog>>\n",
        b"\n%%EOF\n",
        42,
    ),
    Format(
        "docx",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        b"PK\x03\x04\x14\x00\x06\x00\x08\x00\x00\x00!\x00[Content_Types].xml",
        b"PK\x05\x06" + bytes(18),
        16,
    ),
    Format("jpg", "image/jpeg", b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01", b"\xff\xd9", 18),
    Format("png", "image/png", b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", b"IEND\xaeB`\x82", 10),
    Format("zip", "application/zip", b"PK\x03\x04\x14\x00\x00\x00\x08\x00", b"PK\x05\x06" + bytes(18), 6),
    Format("csv", "text/csv", b"id;date;amount;text\r\n", b"", 8),
)
BY_SHARE = tuple(found for found in FORMATS for _ in range(found.share))


@cache
def _pool(kind: str) -> bytes:
    """Base64 lines to cut file contents from: noise, or rows of a table for csv."""
    rng = Random(f"pool {kind}")
    if kind == "csv":
        rows = [
            f"{n};20{rng.randint(10, 29)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02};"
            f"{rng.randint(1, 99_999) / 100};x"
            for n in range(20_000)
        ]
        raw = "\r\n".join(rows).encode()
        raw = raw[: len(raw) // LINE * LINE]
    else:
        raw = rng.randbytes(POOL_LINES * LINE)
    return base64_lines(raw)


def base64_lines(raw: bytes) -> bytes:
    """Base64 in lines of 76, each ended by CRLF."""
    return b"".join(
        [b2a_base64(raw[at : at + LINE], newline=False) + b"\r\n" for at in range(0, len(raw), LINE)]
    )


def contents(form: Format, size: int, mark: bytes, rng: Random) -> bytes:
    """A file of about `size` bytes, base64-encoded. `mark` makes it different from every other file."""
    start = form.start + mark
    pool = _pool("csv" if form.ending == "csv" else "noise")
    lines, width = min(size, LARGEST) // LINE, 78
    body = []
    while lines > 0:
        at = rng.randrange(len(pool) // width)
        taken = pool[at * width : (at + lines) * width]
        body.append(taken)
        lines -= len(taken) // width
    return base64_lines(start + b" " * (-len(start) % LINE)) + b"".join(body) + base64_lines(form.end)


def size_of_attachment(rng: Random) -> int:
    """Bytes before base64: half are below 250 kB, a few are ten times that."""
    return int(min(max(rng.lognormvariate(12.52, 0.95), 2_000), LARGEST))


def disposition(name: str, way: int) -> str:
    """Content-Disposition with the name said as RFC 2231 wants it, or as a bare UTF-8 string."""
    if name.isascii():
        return f'attachment; filename="{name}"'
    if way % 4 == 0:
        return f'attachment; filename="{name}"'
    return f"attachment;\r\n filename*=UTF-8''{quote(name)}"


@cache
def picture(number: int) -> bytes:
    """A real PNG of noise, base64-encoded: 10 to 40 KB."""
    rng = Random(f"picture {number}")
    width, height = rng.randint(60, 120), rng.randint(60, 110)
    rows = b"".join(b"\0" + rng.randbytes(3 * width) for _ in range(height))
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", _stored(rows)),
        (b"IEND", b""),
    )
    image = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    return base64_lines(b"\x89PNG\r\n\x1a\n" + image)


def _stored(raw: bytes) -> bytes:
    """A zlib stream without compression: other builds of zlib would compress to other bytes."""
    blocks = [raw[at : at + 65535] for at in range(0, len(raw), 65535)]
    stream = b"".join(
        struct.pack("<BHH", number == len(blocks), len(block), len(block) ^ 0xFFFF) + block
        for number, block in enumerate(blocks, 1)
    )
    return b"\x78\x01" + stream + struct.pack(">I", zlib.adler32(raw))
