"""The raw bytes of stored mail and what lies in them, read in pieces.

No transaction is open while a piece goes out: a reader may take as long as it likes. Content never changes
under its digest; if it is deleted between two pieces, `NoSuchBlob` ends the reading.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass, replace
from tempfile import SpooledTemporaryFile, TemporaryFile
from typing import BinaryIO, cast

from postroom.blobs import store as blobs
from postroom.blobs.pack import CHUNK
from postroom.db.pool import Database
from postroom.ids import TenantId
from postroom.mime import attachments, parse
from postroom.mime.html import Sanitised, sanitise
from postroom.mime.model import Attachment, ParsedMessage

SLICE = 1 << 18
"""Bytes handed on at once: whoever stops reading holds up so many in each buffer on the way, and a chunk."""
IN_MEMORY = 2 * CHUNK
"""Bytes of encoded attachments and of raw mail held in memory; what is larger goes through a file."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What is read from the raw bytes when somebody looks."""

    parsed: ParsedMessage
    html: Sanitised | None


async def read(
    database: Database, tenant: TenantId, digest: bytes, first: int, past: int
) -> AsyncGenerator[bytes]:
    """The bytes [first, past) of a raw message, a transaction for each piece."""
    for start in range(first // CHUNK * CHUNK, past, CHUNK):
        async with database.transaction(tenant) as conn:
            wanted = blobs.read(conn, tenant, digest, max(start, first), min(start + CHUNK, past))
            pieces = [piece async for piece in wanted]
        while pieces:
            piece = pieces.pop(0)
            for at in range(0, len(piece), SLICE):
                yield piece[at : at + SLICE]


async def decoded(
    database: Database, tenant: TenantId, digest: bytes, attachment: Attachment
) -> AsyncGenerator[bytes]:
    """An attachment as its sender had it. Its encoded bytes wait in memory, or in a file if they are many."""
    with SpooledTemporaryFile(IN_MEMORY) as file:
        async for piece in read(database, tenant, digest, attachment.start, attachment.end):
            await asyncio.to_thread(file.write, piece)
        here = replace(attachment, start=0, end=attachment.end - attachment.start)
        pieces = attachments.stream(cast(BinaryIO, file), here)
        while (part := await asyncio.to_thread(_next, pieces)) is not None:
            yield part


def _next(pieces: Iterator[bytes]) -> bytes | None:
    return next(pieces, None)


async def shown(database: Database, tenant: TenantId, digest: bytes, size: int) -> Shown:
    """A raw message, parsed and made safe to look at, off the loop: strangers decide how much work it is."""
    pieces = read(database, tenant, digest, 0, size)
    if size <= IN_MEMORY:
        raw = b"".join([piece async for piece in pieces])
        return await asyncio.to_thread(lambda: _show(parse.parse(raw)))
    with TemporaryFile() as file:
        async for piece in pieces:
            await asyncio.to_thread(file.write, piece)
        return await asyncio.to_thread(lambda: _show(parse.parse_large(file, size)))


def _show(parsed: ParsedMessage) -> Shown:
    return Shown(parsed, sanitise(parsed.html) if parsed.html else None)
