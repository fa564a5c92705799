"""The raw bytes of stored mail and what lies in them, read in pieces.

No transaction is open while a piece goes out: a reader may take as long as it likes. Content never changes
under its digest; if it is deleted between two pieces, `NoSuchBlob` ends the reading.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from tempfile import TemporaryFile

from postroom.blobs import store as blobs
from postroom.blobs.pack import CHUNK
from postroom.db.pool import Transactions
from postroom.ids import TenantId
from postroom.mime import attachments, parse
from postroom.mime.html import Sanitised, sanitise
from postroom.mime.model import Attachment, ParsedMessage

SLICE = 1 << 18
"""Bytes handed on at once: whoever stops reading holds up so many in each buffer on the way, and a chunk."""
IN_MEMORY = 2 * CHUNK
"""Bytes of raw mail held in memory to be parsed; what is larger goes through a file."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What is read from the raw bytes when somebody looks."""

    parsed: ParsedMessage
    html: Sanitised | None


async def read(
    data: Transactions, tenant: TenantId, digest: bytes, first: int, past: int
) -> AsyncGenerator[bytes]:
    """The bytes [first, past) of a raw message, a transaction for each piece."""
    for start in range(first // CHUNK * CHUNK, past, CHUNK):
        async with data.transaction(tenant) as conn:
            wanted = blobs.read(conn, tenant, digest, max(start, first), min(start + CHUNK, past))
            pieces = [piece async for piece in wanted]
        while pieces:
            piece = pieces.pop(0)
            for at in range(0, len(piece), SLICE):
                yield piece[at : at + SLICE]


async def decoded(
    data: Transactions, tenant: TenantId, digest: bytes, attachment: Attachment, first: int, past: int
) -> AsyncGenerator[bytes]:
    """The bytes [first, past) of an attachment as its sender had it, a piece in memory at a time.

    Where it is encoded, what comes before them is decoded too and dropped: where a byte lies depends on all
    that was written before it. What comes behind them is not read.
    """
    start, end = attachment.start, attachment.end
    if not attachment.encoding:
        start, end, first, past = start + first, start + past, 0, past - first
    at = 0
    async with aclosing(read(data, tenant, digest, start, end)) as pieces:
        async for part in _decoding(pieces, attachment):
            if wanted := part[max(first - at, 0) : past - at]:
                yield wanted
            at += len(part)
            if at >= past:
                return


async def _decoding(pieces: AsyncIterator[bytes], attachment: Attachment) -> AsyncIterator[bytes]:
    fed = _Fed()
    decoder = attachments.stream(fed, attachment)
    async for piece in pieces:
        yield await asyncio.to_thread(fed.decode, decoder, piece)
        if fed.is_over:
            return
    yield await asyncio.to_thread(fed.decode, decoder, None)


class _Fed(Iterator[bytes]):
    """What a decoder that asks for its chunks reads, for somebody who has them one after the other."""

    def __init__(self) -> None:
        self._chunk: bytes | None = b""
        self._is_hungry = False
        self.is_over = False  # the decoder wants nothing more

    def decode(self, decoder: Iterator[bytes], chunk: bytes | None) -> bytes:
        """What the decoder makes of one chunk more; None is the end."""
        self._chunk, self._is_hungry = chunk, False
        parts = []
        for part in decoder:
            parts.append(part)
            if self._is_hungry:
                break
        else:
            self.is_over = True
        return b"".join(parts)

    def __next__(self) -> bytes:
        if self._chunk is None:
            raise StopIteration
        self._is_hungry = not self._chunk
        chunk, self._chunk = self._chunk, b""
        return chunk


async def shown(
    data: Transactions, tenant: TenantId, digest: bytes, size: int, *, is_html: bool = True
) -> Shown:
    """A raw message, parsed and made safe to look at, off the loop: strangers decide how much work it is.

    `is_html`: whether somebody looks at its HTML.
    """
    pieces = read(data, tenant, digest, 0, size)
    if size <= IN_MEMORY:
        raw = b"".join([piece async for piece in pieces])
        return await asyncio.to_thread(lambda: _show(parse.parse(raw), is_html=is_html))
    with TemporaryFile() as file:
        async for piece in pieces:
            await asyncio.to_thread(file.write, piece)
        return await asyncio.to_thread(lambda: _show(parse.parse_large(file, size), is_html=is_html))


def _show(parsed: ParsedMessage, *, is_html: bool) -> Shown:
    return Shown(parsed, sanitise(parsed.html) if parsed.html and is_html else None)
