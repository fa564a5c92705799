"""Readers in a database whose owner is no superuser: a hosted PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from servers.postgres import named
from servers.tenants import MAKE, ONE

from postroom.db.embedded.binaries import programs
from postroom.db.migrate import migrate
from postroom.db.pool import Database, open_pool
from postroom.people import readers

RIGHTS = """
    GRANT postroom_app, postroom_limited, postroom_system, postroom_views, postroom_reader TO {0}
     WITH ADMIN TRUE, INHERIT FALSE
"""
ADDRESSES = "SELECT address FROM postroom_api.accounts"


@pytest.fixture
async def admin(empty_dsn: str, owners_dsn: str) -> AsyncIterator[asyncpg.Connection]:
    conn = await asyncpg.connect(empty_dsn)
    await conn.execute(RIGHTS.format(owner(owners_dsn)))
    await migrate(owners_dsn)
    await conn.execute(MAKE)
    yield conn
    await conn.close()


def owner(dsn: str) -> str:
    return dsn.split("//")[1].split("@")[0]


async def read(dsn: str, role: str) -> list[str]:
    conn = await asyncpg.connect(dsn.replace(f"//{owner(dsn)}@", f"//{role}@"))
    try:
        return [row[0] for row in await conn.fetch(ADDRESSES)]
    finally:
        await conn.close()


async def test_an_owner_that_may_make_roles_grants_and_revokes_alone(
    admin: asyncpg.Connection, owners_dsn: str
) -> None:
    await admin.execute(f"ALTER ROLE {owner(owners_dsn)} CREATEROLE")
    async with open_pool(owners_dsn) as db:
        made = await readers.grant(db, ONE)
        seen = await read(owners_dsn, made.role)
        left = await readers.revoke(db, ONE)

    assert (made.left, seen, left) == ([], ["ann@example.org"], [])
    assert not await admin.fetchval("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)", made.role)


async def test_any_other_owner_is_told_what_an_administrator_must_run(
    admin: asyncpg.Connection, owners_dsn: str
) -> None:
    async with open_pool(owners_dsn) as db:
        made = await readers.grant(db, ONE)
        for statement in made.left:
            await admin.execute(statement)
        seen = await read(owners_dsn, made.role)
        left = await readers.revoke(db, ONE)
        blind = await read(owners_dsn, made.role)
        for statement in left:
            await admin.execute(statement)
        again = await readers.revoke(db, ONE)

    password = made.url.split(":")[2].split("@")[0]
    assert made.left
    assert not any(password in statement for statement in made.left)
    assert (seen, blind, again) == (["ann@example.org"], [], [])


async def call(program: str, *words: str) -> None:
    process = await asyncio.create_subprocess_exec(programs(None) / program, *words)
    assert await process.wait() == 0


@pytest.mark.usefixtures("tenants")
async def test_a_restored_database_shows_each_reader_its_own(
    db: Database, dsn: str, postgres: str, tmp_path: Path
) -> None:
    made = await readers.grant(db, ONE)
    dump = tmp_path / "dump.sql"
    await call("pg_dump", "--dbname", dsn, "--file", str(dump))
    server = await asyncpg.connect(postgres)
    await server.execute("CREATE DATABASE restored_for_readers")
    try:
        restored = named(postgres, "restored_for_readers")
        await call("psql", "--quiet", "--set", "ON_ERROR_STOP=1", "--dbname", restored, "--file", str(dump))
        seen = await read(restored, made.role)
    finally:
        await server.execute("DROP DATABASE restored_for_readers WITH (FORCE)")
        await server.close()
        await readers.revoke(db, ONE)

    assert seen == ["ann@example.org"]
