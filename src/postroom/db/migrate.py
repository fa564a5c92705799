"""Brings the schema up to date: numbered SQL files, forward only, each once, under a lock.

How a migration is written is told in `migrations/README.md`.
"""

import hashlib
import re
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

import asyncpg

from postroom.db import roles
from postroom.db.failures import translating
from postroom.db.model import ChangedMigration, NotPermitted
from postroom.db.pool import connect

LOCK = 0x706F7374  # "post"
FILE = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")

TAKE_LOCK = "SELECT pg_advisory_lock($1)"
CREATE_LEDGER = """
    CREATE SCHEMA IF NOT EXISTS postroom;
    CREATE TABLE IF NOT EXISTS postroom.db_migration (
        number   integer PRIMARY KEY,
        name     text NOT NULL,
        checksum text NOT NULL,
        at       timestamptz NOT NULL DEFAULT now()
    )
"""
HAS_LEDGER = "SELECT to_regclass('postroom.db_migration') IS NOT NULL"
APPLIED = "SELECT number, checksum FROM postroom.db_migration"
RECORD = "INSERT INTO postroom.db_migration (number, name, checksum) VALUES ($1, $2, $3)"


@dataclass(frozen=True, slots=True)
class Migration:
    number: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


def migrations(folder: Traversable | None = None) -> list[Migration]:
    """All of them, in order. Two files with one number are a mistake of ours and a ValueError."""
    found: dict[int, Migration] = {}
    for file in (folder or files("postroom.db").joinpath("migrations")).iterdir():
        if match := FILE.fullmatch(file.name):
            number = int(match[1])
            if number in found:
                raise ValueError(f"two migrations have the number {number}")
            found[number] = Migration(number, match[2], file.read_text("utf-8"))
    return [found[number] for number in sorted(found)]


async def migrate(dsn: str, todo: list[Migration] | None = None) -> list[str]:
    """Apply what is missing, as the user of the URL, and return the names of what was applied.

    A database that a newer release has migrated is left alone: this release can live with it. Raises
    `NotPermitted`, `ChangedMigration`, `TooOld`, `Unreachable`, `Refused` or `DiskFull`.
    """
    conn = await connect(dsn)
    try:
        with translating(conn):
            return await _migrate(conn, migrations() if todo is None else todo)
    except asyncpg.InsufficientPrivilegeError as error:
        raise NotPermitted(
            f"The database user lacks a right ({error}); let an administrator make it the database's owner."
        ) from error
    finally:
        conn.terminate()  # which also lets go of the lock


async def _migrate(conn: asyncpg.Connection, todo: list[Migration]) -> list[str]:
    if await conn.fetchval(HAS_LEDGER) and not await _missing(conn, todo):
        await roles.ensure(conn)  # a dump restored on another server comes without them
        return []
    await conn.execute(TAKE_LOCK, LOCK)
    await roles.ensure(conn)
    await conn.execute(CREATE_LEDGER)
    missing = await _missing(conn, todo)
    async with roles.owning(conn):
        for migration in missing:
            async with conn.transaction():
                await conn.execute(migration.sql)
                await conn.execute(RECORD, migration.number, migration.name, migration.checksum)
    return [migration.name for migration in missing]


async def _missing(conn: asyncpg.Connection, todo: list[Migration]) -> list[Migration]:
    applied: dict[int, str] = {row["number"]: row["checksum"] for row in await conn.fetch(APPLIED)}
    for migration in todo:
        if applied.get(migration.number, migration.checksum) != migration.checksum:
            raise ChangedMigration(
                f"Migration {migration.number:04} ({migration.name}) is not the one that made this database; "
                "use the release that did, or a fresh database."
            )
    return [migration for migration in todo if migration.number not in applied]
