import asyncio
import os
import tempfile

import asyncpg
import pytest
from servers.tenants import ONE, TWO

from postroom.blobs import store
from postroom.blobs.pack import CHUNK, expand, pack, pack_head
from postroom.db.migrate import migrate, migrations
from postroom.db.pool import Database, connect, open_pool

COUNT = "SELECT count(*) FROM postroom.blobs_page"
OLD_TENANT = """
    INSERT INTO people_tenant (tenant_id, public_id, name) OVERRIDING SYSTEM VALUE
    VALUES (1, gen_random_uuid(), 'one')
"""
OLD_BLOB = "INSERT INTO blobs_blob (tenant_id, digest, size, refs, head) VALUES (1, $1, $2, 1, $3)"
OLD_CHUNK = "INSERT INTO blobs_chunk (tenant_id, digest, number, data) VALUES (1, $1, 1, $2)"

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


async def test_keeping_and_releasing_the_same_content_end_in_no_deadlock(db: Database) -> None:
    packed = [pack(bytes([n])) for n in range(20)]
    async with db.transaction(ONE) as conn:
        await store.keep(conn, ONE, packed)

    async def replace() -> None:
        for _ in range(30):
            async with db.transaction(ONE) as conn:
                await store.keep(conn, ONE, packed)
            async with db.transaction(ONE) as conn:
                await store.release(conn, ONE, [blob.digest for blob in reversed(packed)])

    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(replace())

    async with db.transaction(ONE) as conn:
        assert await conn.fetchval("SELECT min(refs) + max(refs) FROM blobs_blob") == 2


async def test_content_that_goes_while_it_is_read_is_not_found(db: Database) -> None:
    packed = pack(os.urandom(CHUNK + 1))
    async with db.transaction(ONE) as conn:
        await store.keep(conn, ONE, [packed])

    async with db.transaction(ONE) as conn:
        parts = store.read(conn, ONE, packed.digest)
        await anext(parts)
        await store.release(conn, ONE, [packed.digest])
        with pytest.raises(store.NoSuchBlob):
            await anext(parts)


async def test_another_tenants_content_does_not_exist(db: Database) -> None:
    packed = pack(b"hello")
    async with db.transaction(ONE) as conn:
        await store.keep(conn, ONE, [packed])

    async with db.transaction(TWO) as conn:
        with pytest.raises(store.NoSuchBlob):
            await store.read_all(conn, ONE, packed.digest)
        assert await conn.fetchval("SELECT blobs_chunk($1, 0)", packed.digest) is None
        await store.keep(conn, TWO, [packed])
        await store.release(conn, TWO, [packed.digest])

    async with db.transaction(ONE) as conn:
        assert await store.read_all(conn, ONE, packed.digest) == b"hello"


@pytest.mark.parametrize(
    "statement",
    [
        "TABLE blobs_page",
        "INSERT INTO blobs_page VALUES (1, 1, 1, '') RETURNING content",
        "UPDATE blobs_page SET data = ''",
        "DELETE FROM blobs_page",
        "TRUNCATE blobs_page",
    ],
)
async def test_pages_are_added_and_nothing_else(db: Database, statement: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with db.transaction(ONE) as conn:
            await conn.execute(statement)


async def test_pages_that_were_added_to_it_by_somebody_else_do_not_change_a_blob(db: Database) -> None:
    packed = pack(os.urandom(30_000))
    async with db.transaction(ONE) as conn:
        await store.keep(conn, ONE, [packed])
        content = await conn.fetchval("SELECT content FROM blobs_blob")
    async with db.transaction(TWO) as conn:
        await conn.execute("INSERT INTO blobs_page VALUES ($1, 0, 99, 'more')", content)

    async with db.transaction(ONE) as conn:
        assert await store.read_all(conn, ONE, packed.digest) == expand(packed.head)


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO blobs_blob (tenant_id, digest, size, refs, content) OVERRIDING SYSTEM VALUE"
        " VALUES (2, 'x', 1, 1, 1)",
        "UPDATE blobs_blob SET content = DEFAULT",
        "CREATE TRIGGER mine AFTER DELETE ON mine REFERENCING OLD TABLE AS gone"
        " FOR EACH STATEMENT EXECUTE FUNCTION blobs_drop_pages()",
    ],
)
async def test_nobody_chooses_whose_pages_a_blob_bears_or_a_trigger_deletes(
    db: Database, statement: str
) -> None:
    async with db.transaction(TWO) as conn:
        await conn.execute("CREATE TEMPORARY TABLE mine (content bigint)")

    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with db.transaction(TWO) as conn:
            await conn.execute(statement)


async def test_no_page_comes_before_the_first(db: Database) -> None:
    with pytest.raises(asyncpg.CheckViolationError):
        async with db.transaction(TWO) as conn:
            await conn.execute("INSERT INTO blobs_page VALUES (1, 0, -1, 'other')")


@pytest.mark.parametrize("statement", ["DELETE FROM blobs_blob", "DELETE FROM people_tenant"])
async def test_pages_go_with_their_blob(db: Database, dsn: str, statement: str) -> None:
    async with db.transaction(ONE) as conn:
        await store.keep(conn, ONE, [pack(os.urandom(30_000)), pack(b"")])
    owner = await connect(dsn)
    before = await owner.fetchval(COUNT)
    await owner.execute(statement)
    after = await owner.fetchval(COUNT)
    await owner.close()

    assert (before, after) == (5, 0)


async def test_content_of_before_there_were_pages_is_still_there(empty_dsn: str) -> None:
    raw = os.urandom(CHUNK + 10)
    packed, small = pack(raw), pack(b"")
    await migrate(empty_dsn, migrations()[:9])
    conn = await connect(empty_dsn)
    await conn.execute(OLD_TENANT)
    for blob in (packed, small):
        await conn.execute(OLD_BLOB, blob.digest, blob.size, blob.head)
    await conn.execute(OLD_CHUNK, packed.digest, packed.rest[0])
    await conn.close()
    await migrate(empty_dsn, migrations()[:10])

    async with open_pool(empty_dsn) as db, db.transaction(ONE) as conn:
        assert await store.read_all(conn, ONE, packed.digest) == raw
        assert await store.read_all(conn, ONE, small.digest) == b""
