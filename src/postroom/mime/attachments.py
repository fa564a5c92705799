"""Which parts are attachments, what they are called, and how to get their bytes back out of the raw mail."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from postroom.mime import headers, parameters, tnef, transfer
from postroom.mime.charsets import guess
from postroom.mime.limits import HEADER_BYTES, NAME_CHARS
from postroom.mime.model import Attachment
from postroom.mime.source import CHUNK, Source
from postroom.mime.structure import Declared, Head, Part
from postroom.mime.uuencode import Embedded
from postroom.mime.words import decode_words

COUNTED = 32 << 10  # bytes; what stays in the processor's cache is counted fastest
LONG_LINE = 1_000  # bytes
UNKNOWN_TYPE = "application/octet-stream"
NAMELESS = frozenset(["charset", "format", "delsp", "boundary", "type"])
UNSAFE_NAME = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff]+"
)


def content(raw: bytes | memoryview, attachment: Attachment) -> bytes:
    """The attachment's bytes, decoded. `raw` is the mail that it was found in."""
    encoding, _plus, inside = attachment.encoding.partition("+tnef:")
    data = transfer.decode(bytes(raw[attachment.start : attachment.end]), encoding)
    if not inside:
        return data
    start, _dash, end = inside.partition("-")
    return data[int(start) : int(end)]


def stream(chunks: Iterable[bytes], attachment: Attachment) -> Iterator[bytes]:
    """`content` in pieces, of encoded bytes that come in chunks; about one chunk is in memory at a time.

    Something, if only b"", is given for each chunk that is taken: whoever has only one can be asked for it.
    """
    if "+tnef:" in attachment.encoding:
        return _wrapped(chunks, attachment)
    return transfer.stream(chunks, attachment.encoding)


def _wrapped(chunks: Iterable[bytes], attachment: Attachment) -> Iterator[bytes]:
    """A file inside a winmail.dat, which is never large: see limits.TNEF_BYTES."""
    held = []
    for chunk in chunks:
        held.append(chunk)
        yield b""
    raw = b"".join(held)
    yield content(raw, replace(attachment, start=0, end=len(raw)))


def file_name(name: str | None) -> str | None:
    """A name that is only a name: no path, nothing invisible, not longer than NAME_CHARS."""
    if not name:
        return None
    name = UNSAFE_NAME.sub("", name).replace("\\", "/").rstrip("/").rpartition("/")[2]
    name = " ".join(name.split())
    if len(name) > NAME_CHARS:
        stem, dot, suffix = name.rpartition(".")
        tail = dot + suffix if stem and len(suffix) <= 10 else ""
        name = name[: NAME_CHARS - len(tail)] + tail
    return name if name.strip(". ") else None


def declared(head: Head) -> Declared:
    """What `head` says about a part that is no multipart. Blocks that many mails share are read once."""
    if head.declared is None:
        defects: set[str] = set()
        disposition, values = parameters.split(head.fields.get("content-disposition", ""))
        head.declared = Declared(
            disposition,
            _declared_name(head, values, defects),
            parameters.token(head.parameters, "charset"),
            head.parameters.get("format", "").lower() == "flowed",
            head.parameters.get("delsp", "").lower() == "yes",
            frozenset(defects),
        )
    return head.declared


def _declared_name(head: Head, disposition: parameters.Parameters, defects: set[str]) -> str | None:
    """The file name that the sender gave, from either header."""
    name = parameters.text(disposition, "filename", defects) if disposition else None
    if not name and not head.parameters.keys() <= NAMELESS:
        name = parameters.text(head.parameters, "name", defects)
    return file_name(name)


def describe(
    source: Source, part: Part, number: int, disposition: str, name: str | None, defects: set[str]
) -> Attachment:
    """The attachment that `part` is."""
    encoding = transfer.name(part.fields.get("content-transfer-encoding", ""), defects)
    if name is None and part.content_type == "message/rfc822":
        name = _forwarded_name(source, part, encoding, defects)
    content_id = part.fields.get("content-id", "").strip().strip("<>").strip()
    return Attachment(
        number=number,
        name=name,
        content_type=part.content_type,
        size=size(source, part.start, part.end, encoding),
        content_id=content_id[:NAME_CHARS] or None,
        disposition=disposition,
        start=part.start,
        end=part.end,
        encoding=encoding,
    )


def size(source: Source, start: int, end: int, encoding: str) -> int:
    """How long the decoded bytes are. Those of base64 are never in memory together."""
    if not encoding:
        return end - start
    if encoding != "base64" and end - start <= CHUNK:
        return len(transfer.decode(source[start:end], encoding))
    step = _whole_lines(source, start, end) if encoding == "base64" else CHUNK
    pieces = (source[at : min(at + step, end)] for at in range(start, end, step))
    if encoding == "base64":
        return transfer.base64_size(pieces)
    return sum(map(len, transfer.stream(pieces, encoding)))


def _whole_lines(source: Source, start: int, end: int) -> int:
    """About COUNTED bytes: lines like the first that together hold whole groups of four digits."""
    group = 4 * (source.find(b"\n", start, min(start + LONG_LINE, end)) + 1 - start)
    return COUNTED // group * group if group > 0 else COUNTED


def describe_embedded(file: Embedded, number: int, source: Source) -> Attachment:
    """The attachment that a uuencoded file in a text is."""
    return Attachment(
        number=number,
        name=file_name(guess(file.name)),
        content_type=UNKNOWN_TYPE,
        size=size(source, file.start, file.end, "x-uuencode"),
        content_id=None,
        disposition="attachment",
        start=file.start,
        end=file.end,
        encoding="x-uuencode",
    )


def describe_wrapped(file: tnef.File, number: int, container: Attachment) -> Attachment:
    """The attachment that a file inside a winmail.dat is."""
    return Attachment(
        number=number,
        name=file_name(file.name),
        content_type=parameters.content_type(file.content_type or UNKNOWN_TYPE)[0],
        size=file.end - file.start,
        content_id=None,
        disposition="attachment",
        start=container.start,
        end=container.end,
        encoding=f"{container.encoding}+tnef:{file.start}-{file.end}",
    )


def _forwarded_name(source: Source, part: Part, encoding: str, defects: set[str]) -> str:
    limit = min(part.end, part.start + HEADER_BYTES)
    inner: Source = source
    start = part.start
    if encoding:
        inner = transfer.decode(source[start:limit], encoding)
        start, limit = 0, len(inner)
    stop, _body = headers.extent(inner, start, limit) or (limit, limit)
    found, _early = headers.read(inner, start, stop, set())
    subject = next((value for name, value in found if name.lower() == "subject"), "")
    title = file_name(decode_words(subject, defects).replace("/", "-").replace("\\", "-")[:100])
    return f"{title or 'message'}.eml"
