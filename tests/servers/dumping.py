"""Everything that a database tells, unpacked, to be searched for what should not be there."""

import base64
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg
import zstandard

TABLES = """
    SELECT c.relname AS name FROM pg_class c
     WHERE c.relnamespace = 'postroom'::regnamespace AND c.relkind = 'r' ORDER BY c.relname
"""
PAGES = "SELECT content, chunk, number, data FROM postroom.blobs_page ORDER BY content, chunk, number"
STATISTICS = "SELECT tablename, attname, s::text FROM pg_stats s WHERE schemaname = 'postroom'"
COMMENTS = "SELECT d::text FROM pg_description d"


@dataclass(frozen=True, slots=True)
class Dump:
    """By table, what its rows say: bytes as they are, all else as text, also in small letters."""

    said: dict[str, bytes]

    def tables(self, canary: str) -> set[str]:
        """Where it stands, plainly or in base64 or hexadecimal."""
        forms = list(disguises(canary))
        return {table for table, said in self.said.items() if any(form in said for form in forms)}


def disguises(canary: str) -> Iterator[bytes]:
    raw = canary.encode()
    yield raw
    yield canary.casefold().encode()
    yield raw.hex().encode()
    for skipped in range(3):  # in base64 it depends on where it stands
        part = raw[skipped:]
        yield base64.b64encode(part[: len(part) // 3 * 3])


async def dumped(dsn: str) -> Dump:
    """As a superuser, whom no wall is in the way of."""
    conn = await asyncpg.connect(dsn)
    try:
        said = {
            row["name"]: _written(await conn.fetch(f'SELECT * FROM postroom."{row["name"]}"'))  # noqa: S608
            for row in await conn.fetch(TABLES)
        }
        said["blobs_page"] = b"\n".join(_expanded(await conn.fetch(PAGES)))
        for row in await conn.fetch(STATISTICS):
            said[f"statistics of {row['tablename']}.{row['attname']}"] = _written([row])
        said["comments"] = _written(await conn.fetch(COMMENTS))
    finally:
        await conn.close()
    return Dump(said)


def _written(rows: Sequence[asyncpg.Record]) -> bytes:
    return b"\n".join(part for row in rows for value in row.values() for part in _parts(value))


def _parts(value: Any) -> Iterator[bytes]:
    if isinstance(value, bytes):
        yield value
    elif isinstance(value, list):
        for each in value:
            yield from _parts(each)
    elif value is not None:
        text = str(value)
        yield text.encode()
        yield text.casefold().encode()


def _expanded(rows: Sequence[asyncpg.Record]) -> Iterator[bytes]:
    chunks: dict[tuple[int, int], list[bytes]] = defaultdict(list)
    for row in rows:
        chunks[row["content"], row["chunk"]].append(row["data"])
    for parts in chunks.values():
        yield zstandard.ZstdDecompressor().decompressobj().decompress(b"".join(parts))
