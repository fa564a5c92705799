import asyncio
import os
import tempfile

import pytest
from servers.tenants import ONE, TWO

from postroom.blobs import store
from postroom.blobs.pack import CHUNK, pack, pack_head
from postroom.db.pool import Database

pytestmark = pytest.mark.usefixtures("tenants")


@pytest.mark.parametrize("size", [0, 1, 5000, CHUNK, CHUNK + 1, 2 * CHUNK + 77])
async def test_bytes_come_back_as_they_were(db: Database, size: int) -> None:
    raw = os.urandom(size)
    packed = pack(raw)
    async with db.transaction(ONE) as conn:
        await store.keep(conn, ONE, [packed])

    async with db.transaction(ONE) as conn:
        assert await store.read_all(conn, ONE, packed.digest) == raw


@pytest.mark.parametrize(("first", "past"), [(0, 10), (CHUNK - 5, CHUNK + 5), (2 * CHUNK, None), (7, 7)])
async def test_any_range_can_be_read(db: Database, first: int, past: int | None) -> None:
    raw = os.urandom(2 * CHUNK + 100)
    packed = pack(raw)
    async with db.transaction(ONE) as conn:
        await store.keep(conn, ONE, [packed])
        parts = [part async for part in store.read(conn, ONE, packed.digest, first, past)]

    assert b"".join(parts) == raw[first:past]


async def test_a_file_is_stored_as_its_bytes_would_be(db: Database) -> None:
    raw = os.urandom(2 * CHUNK + 100)
    with tempfile.TemporaryFile() as file:
        file.write(raw)
        described = pack_head(file)
        async with db.transaction(ONE) as conn:
            await store.keep_file(conn, ONE, described, file)
            assert await store.read_all(conn, ONE, pack(raw).digest) == raw


async def test_content_goes_with_its_last_use(db: Database) -> None:
    packed = pack(b"hello")
    async with db.transaction(ONE) as conn:
        await store.keep(conn, ONE, [packed, packed])
        await store.keep(conn, ONE, [packed])
        await store.release(conn, ONE, [packed.digest, packed.digest])
        assert await store.read_all(conn, ONE, packed.digest) == b"hello"
        await store.release(conn, ONE, [packed.digest])
        with pytest.raises(store.NoSuchBlob):
            await store.read_all(conn, ONE, packed.digest)


async def test_writers_of_the_same_content_do_not_lose_a_count(db: Database) -> None:
    packed = [pack(bytes([n])) for n in range(20)]

    async def write() -> None:
        async with db.transaction(ONE) as conn:
            await store.keep(conn, ONE, packed)

    async with asyncio.TaskGroup() as group:
        for _ in range(6):
            group.create_task(write())

    async with db.transaction(ONE) as conn:
        assert await conn.fetchval("SELECT min(refs) FROM blobs_blob") == 6


async def test_another_tenants_content_does_not_exist(db: Database) -> None:
    packed = pack(b"hello")
    async with db.transaction(ONE) as conn:
        await store.keep(conn, ONE, [packed])

    async with db.transaction(TWO) as conn:
        with pytest.raises(store.NoSuchBlob):
            await store.read_all(conn, ONE, packed.digest)
