"""A dump of the database, restored on a server that has counted fewer transactions."""

import asyncio
import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from servers.api import Client
from servers.postgres import FAST, named
from servers.tenants import ONE

from postroom.db.embedded.binaries import programs
from postroom.db.embedded.client import running
from postroom.db.migrate import migrate
from postroom.db.pool import Database, open_pool
from postroom.events import feed, log
from postroom.events import seal as sealing
from postroom.events.check import opened
from postroom.events.model import Entry, Place
from postroom.events.verify import verify

from .forging import EIGHT, SEVEN, SIGNER, event, written

RUNNING = shutil.ignore_patterns(".s.PGSQL*", "postmaster.*", "*.sock")
"""Of a server's folder, what is there while it runs."""
USE_NUMBERS = """
    DO $$ BEGIN FOR n IN 1..5000 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$
"""


async def execute(dsn: str, statement: str) -> None:
    conn = await asyncpg.connect(dsn)
    await conn.execute(statement)
    await conn.close()


async def call(program: str, *words: str) -> None:
    process = await asyncio.create_subprocess_exec(programs(None) / program, *words)
    assert await process.wait() == 0


async def read(db: Database, after: Place = feed.START) -> list[Entry]:
    async with db.transaction(ONE) as conn:
        return await feed.read(conn, ONE, after)


async def epoch(dsn: str) -> str:
    async with open_pool(dsn) as db, db.unbound() as conn:
        return (await feed.state(conn, ONE)).epoch


async def recovered_from(dsn: str) -> None:
    conn = await asyncpg.connect(dsn)
    async with asyncio.timeout(20):
        while await conn.fetchval("SELECT pg_is_in_recovery()"):
            pass
    await conn.close()


@pytest.mark.slow
async def test_a_database_that_may_have_gone_back_has_another_epoch(tmp_path: Path) -> None:
    """A recovery up to some point in time, as a replica that takes over, begins a timeline of its own."""
    folder, copy = tmp_path / "data", tmp_path / "copy"
    async with running(folder, [*FAST, "wal_level=replica"]) as dsn:
        await migrate(dsn)
        begun, again = await epoch(dsn), await epoch(dsn)
        await execute(dsn, "CHECKPOINT")
        await asyncio.to_thread(shutil.copytree, folder, copy, ignore=RUNNING)
    cluster = min(copy.rglob("PG_VERSION"), key=lambda path: len(path.parts)).parent
    (cluster / "recovery.signal").touch()
    for path in copy.rglob("*"):
        of = folder / path.relative_to(copy).with_name(path.name.replace("recovery.signal", "PG_VERSION"))
        shutil.chown(path, of.owner(), of.group())
    async with running(copy, [*FAST, "wal_level=replica", "restore_command=false"]) as dsn:
        recovering = await epoch(dsn)  # there may be no other yet, and that is no error
        await recovered_from(dsn)
        recovered = await epoch(dsn)
        dump = tmp_path / "dump.sql"
        await call("pg_dump", "--dbname", dsn, "--schema", "postroom", "--file", str(dump))
        await execute(dsn, "DROP SCHEMA postroom CASCADE")
        await call("psql", "--quiet", "--set", "ON_ERROR_STOP=1", "--dbname", dsn, "--file", str(dump))
        restored = await epoch(dsn)

    assert begun == again
    assert recovering in {begun, recovered}
    assert len({begun, recovered, restored}) == 3


WITHHOLD = "REVOKE EXECUTE ON FUNCTION pg_catalog.{} FROM PUBLIC"
ASKED = ["pg_control_system()", "pg_control_checkpoint()", "pg_walfile_name(pg_lsn)"]
PARTS = """
    SELECT (SELECT system_identifier FROM pg_control_system()) AS server,
           left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) AS timeline,
           'postroom.events_event'::regclass::oid AS log
"""


async def test_what_a_hosted_postgresql_withholds_is_left_out_of_the_epoch_and_fails_no_page(
    api: Client, dsn: str
) -> None:
    conn = await asyncpg.connect(dsn)
    parts = await conn.fetchrow(PARTS)
    await conn.close()
    assert parts is not None
    found = [(await page_of(api))["epoch"]]
    for function in ASKED:
        await execute(dsn, WITHHOLD.format(function))
        found.append((await page_of(api))["epoch"])
    server, timeline, log_ = map(str, parts)

    assert found == [
        named_by(server, timeline, log_),
        named_by(timeline, log_),
        named_by(timeline, log_),
        named_by(log_),
    ]


async def page_of(api: Client) -> Any:
    answer = await api.get("/v1/events")
    assert answer.status_code == 200, answer.text
    return answer.json()


def named_by(*parts: str) -> str:
    return sha256("/".join(parts).encode()).hexdigest()[:16]


@pytest.mark.slow
@pytest.mark.usefixtures("tenants")
async def test_a_restored_log_is_read_on_verified_and_written_as_before(
    db: Database, dsn: str, tmp_path: Path
) -> None:
    await execute(dsn, USE_NUMBERS)
    kept = await written(db)
    before = await read(db)
    dump = tmp_path / "dump.sql"
    await call("pg_dump", "--dbname", dsn, "--file", str(dump))

    async with running(tmp_path / "other", FAST) as other:
        await execute(other, "CREATE DATABASE restored")
        await migrate(other)  # makes the roles
        restored = named(other, "restored")
        await call("psql", "--quiet", "--set", "ON_ERROR_STOP=1", "--dbname", restored, "--file", str(dump))
        assert await migrate(restored) == []
        async with open_pool(restored) as theirs:
            unminded = await read(theirs)
            minded = await feed.mind_restore(theirs)
            async with theirs.transaction(ONE) as conn:
                place = await feed.place(conn, ONE, feed.cursor_of(before[-1]))
                await log.append(conn, ONE, EIGHT, [event(1)])
                await log.append(conn, ONE, SEVEN, [event(2)])
            after = await read(theirs)
            found = await verify(theirs, ONE, [SIGNER.public], kept=opened(kept.body, kept.signature))
            following = await read(theirs, place)
            sealed = await sealing.seal(theirs, SIGNER, ONE)

    assert (unminded, minded) == ([], 1)
    assert after[: len(before)] == before
    assert [(entry.stream, entry.seq) for entry in following] == [(7, 7), (8, 5)]
    assert (found.findings, found.entries, sealed.number) == ([], len(before) + 2, 3)
