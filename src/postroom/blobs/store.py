"""Blobs in PostgreSQL. Every use counts; content goes with its last use."""

from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
from typing import BinaryIO, TypeAlias

from asyncpg import Connection

from postroom import errors
from postroom.ids import TenantId

from .copying import copy_rows
from .pack import CHUNK, Packed, expand, further_chunks

PAGE = 8000
"""Bytes of a row that fills a page of PostgreSQL, with its head and numbers; 8,116 would fit."""

Page: TypeAlias = tuple[int, int, int, bytes | memoryview]

KEEP = """
    INSERT INTO blobs_blob (tenant_id, digest, size, refs)
    SELECT $1, b.* FROM unnest($2::bytea[], $3::bigint[], $4::int[]) AS b (digest, size, refs)
     ORDER BY b.digest
    ON CONFLICT (tenant_id, digest) DO UPDATE SET refs = blobs_blob.refs + excluded.refs
    RETURNING digest, content, refs
"""
PAGES = ("content", "chunk", "number", "data")
# In the order in which KEEP takes them: two accounts of a tenant may have the same mails.
HOLD = """
    SELECT FROM blobs_blob WHERE tenant_id = $1 AND digest = ANY($2) ORDER BY digest FOR NO KEY UPDATE
"""
RELEASE = """
    UPDATE blobs_blob b SET refs = b.refs - used.times
      FROM (SELECT digest, count(*) AS times FROM unnest($2::bytea[]) AS digest GROUP BY digest) AS used
     WHERE b.tenant_id = $1 AND b.digest = used.digest
"""
SWEEP = "DELETE FROM blobs_blob WHERE tenant_id = $1 AND digest = ANY($2) AND refs <= 0"
SIZE = "SELECT size FROM blobs_blob WHERE tenant_id = $1 AND digest = $2"
CHUNK_OF = "SELECT blobs_chunk($1, $2)"
GONE = "There is no such content."


class NoSuchBlob(errors.NotFound):
    code = "blobs.not_found"


async def keep(conn: Connection, tenant: TenantId, blobs: Sequence[Packed]) -> None:
    """Store each blob, or count one more use of it."""
    if not blobs:
        return
    distinct = {blob.digest: blob for blob in blobs}
    new = await _count(conn, tenant, distinct.values(), Counter(blob.digest for blob in blobs))
    await _copy(
        conn,
        (
            page
            for digest, content in new.items()
            for number, chunk in enumerate((distinct[digest].head, *distinct[digest].rest))
            for page in _pages(content, number, chunk)
        ),
    )


async def keep_file(conn: Connection, tenant: TenantId, blob: Packed, file: BinaryIO) -> None:
    """Store a file that `pack_head` described, one chunk in memory at a time."""
    new = await _count(conn, tenant, [blob], {blob.digest: 1})
    for content in new.values():
        await _copy(conn, _pages(content, 0, blob.head))
        for number, chunk in enumerate(further_chunks(file), 1):
            await _copy(conn, _pages(content, number, chunk))


async def _count(
    conn: Connection, tenant: TenantId, blobs: Collection[Packed], uses: Mapping[bytes, int]
) -> dict[bytes, int]:
    """Count the uses; return the digests that were not there, and where the content of each belongs."""
    rows = [(blob.digest, blob.size, uses[blob.digest]) for blob in blobs]
    counted = await conn.fetch(KEEP, tenant, *zip(*rows, strict=True))
    return {row["digest"]: row["content"] for row in counted if row["refs"] == uses[row["digest"]]}


def _pages(content: int, number: int, chunk: bytes | memoryview) -> Iterator[Page]:
    for nth, at in enumerate(range(0, len(chunk), PAGE)):
        yield content, number, nth, chunk[at : at + PAGE]


async def _copy(conn: Connection, pages: Iterable[Page]) -> None:
    await copy_rows(conn, "blobs_page", PAGES, pages)


async def release(conn: Connection, tenant: TenantId, digests: Sequence[bytes]) -> None:
    """Take back one use for each digest named; what nobody uses any more is deleted."""
    if not digests:
        return
    await conn.execute(HOLD, tenant, digests)
    await conn.execute(RELEASE, tenant, digests)
    await conn.execute(SWEEP, tenant, digests)


async def read(
    conn: Connection, tenant: TenantId, digest: bytes, first: int = 0, past: int | None = None
) -> AsyncIterator[bytes]:
    """The bytes [first, past) of a blob, a chunk at a time. Raises `NoSuchBlob`, even after some."""
    size = await conn.fetchval(SIZE, tenant, digest)
    if size is None:
        raise NoSuchBlob(GONE)
    end = size if past is None else min(past, size)
    for number in range(first // CHUNK, -(-end // CHUNK)):
        start = number * CHUNK
        if (chunk := await conn.fetchval(CHUNK_OF, digest, number)) is None:
            raise NoSuchBlob(GONE)
        yield expand(chunk)[max(first - start, 0) : end - start]


async def read_all(conn: Connection, tenant: TenantId, digest: bytes) -> bytes:
    """A whole blob in memory; for large ones use `read`."""
    return b"".join([part async for part in read(conn, tenant, digest)])
