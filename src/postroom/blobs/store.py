"""Blobs in PostgreSQL. Every use counts; content goes with its last use."""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import BinaryIO

from asyncpg import Connection

from postroom import errors
from postroom.ids import TenantId

from .pack import CHUNK, Packed, expand, further_chunks

KEEP = """
    INSERT INTO blobs_blob (tenant_id, digest, size, refs, head)
    SELECT $1, b.digest, b.size, b.refs, b.head
      FROM unnest($2::bytea[], $3::bigint[], $4::int[], $5::bytea[]) AS b (digest, size, refs, head)
     ORDER BY b.digest
    ON CONFLICT (tenant_id, digest) DO UPDATE SET refs = blobs_blob.refs + excluded.refs
"""
KEEP_FIRST = """
    INSERT INTO blobs_blob (tenant_id, digest, size, refs, head) VALUES ($1, $2, $3, 1, $4)
    ON CONFLICT (tenant_id, digest) DO UPDATE SET refs = blobs_blob.refs + 1
    RETURNING refs = 1
"""
KEEP_CHUNK = """
    INSERT INTO blobs_chunk (tenant_id, digest, number, data) VALUES ($1, $2, $3, $4)
    ON CONFLICT (tenant_id, digest, number) DO NOTHING
"""
RELEASE = """
    UPDATE blobs_blob b SET refs = b.refs - used.times
      FROM (SELECT digest, count(*) AS times FROM unnest($2::bytea[]) AS digest GROUP BY digest) AS used
     WHERE b.tenant_id = $1 AND b.digest = used.digest
"""
SWEEP = "DELETE FROM blobs_blob WHERE tenant_id = $1 AND digest = ANY($2) AND refs <= 0"
HEAD = "SELECT size, head FROM blobs_blob WHERE tenant_id = $1 AND digest = $2"
FURTHER = "SELECT data FROM blobs_chunk WHERE tenant_id = $1 AND digest = $2 AND number = $3"


class NoSuchBlob(errors.NotFound):
    code = "blobs.not_found"


async def keep(conn: Connection, tenant: TenantId, blobs: Sequence[Packed]) -> None:
    """Store each blob, or count one more use of it."""
    uses = Counter(blob.digest for blob in blobs)
    if not uses:
        return
    distinct = {blob.digest: blob for blob in blobs}
    rows = [(blob.digest, blob.size, uses[blob.digest], blob.head) for blob in distinct.values()]
    await conn.execute(KEEP, tenant, *zip(*rows, strict=True))
    for blob in distinct.values():
        for number, data in enumerate(blob.rest, 1):
            await conn.execute(KEEP_CHUNK, tenant, blob.digest, number, data)


async def keep_file(conn: Connection, tenant: TenantId, blob: Packed, file: BinaryIO) -> None:
    """Store a file that `pack_head` described, one chunk in memory at a time."""
    is_first = await conn.fetchval(KEEP_FIRST, tenant, blob.digest, blob.size, blob.head)
    if is_first:
        for number, data in enumerate(further_chunks(file), 1):
            await conn.execute(KEEP_CHUNK, tenant, blob.digest, number, data)


async def release(conn: Connection, tenant: TenantId, digests: Sequence[bytes]) -> None:
    """Take back one use for each digest named; what nobody uses any more is deleted."""
    await conn.execute(RELEASE, tenant, digests)
    await conn.execute(SWEEP, tenant, digests)


async def read(
    conn: Connection, tenant: TenantId, digest: bytes, first: int = 0, past: int | None = None
) -> AsyncIterator[bytes]:
    """The bytes [first, past) of a blob, a chunk at a time. Raises `NoSuchBlob` before the first."""
    row = await conn.fetchrow(HEAD, tenant, digest)
    if row is None:
        raise NoSuchBlob("There is no such content.")
    end = row["size"] if past is None else min(past, row["size"])
    for number in range(first // CHUNK, -(-end // CHUNK)):
        data = await conn.fetchval(FURTHER, tenant, digest, number) if number else row["head"]
        start = number * CHUNK
        yield expand(data)[max(first - start, 0) : end - start]


async def read_all(conn: Connection, tenant: TenantId, digest: bytes) -> bytes:
    """A whole blob in memory; for large ones use `read`."""
    return b"".join([part async for part in read(conn, tenant, digest)])
