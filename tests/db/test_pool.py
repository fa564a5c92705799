from contextlib import suppress

import asyncpg
import pytest

from postroom.db.pool import Database, savepoint
from postroom.ids import TenantId

ANN, BOB = TenantId(1), TenantId(2)


async def put(conn: asyncpg.Connection, tenant: TenantId, name: str) -> None:
    await conn.execute("INSERT INTO db_lease VALUES ($1, $2, 'me', 1, now())", tenant, name)


async def names(db: Database, tenant: TenantId) -> list[str]:
    async with db.transaction(tenant) as conn:
        return [row["name"] for row in await conn.fetch("SELECT name FROM db_lease ORDER BY name")]


async def test_a_tenant_sees_its_own_rows_only(db: Database) -> None:
    for tenant, name in ((ANN, "a"), (BOB, "b")):
        async with db.transaction(tenant) as conn:
            await put(conn, tenant, name)

    assert await names(db, ANN) == ["a"]
    assert await names(db, BOB) == ["b"]


async def test_a_row_for_another_tenant_cannot_be_written(db: Database) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with db.transaction(ANN) as conn:
            await put(conn, BOB, "b")


async def test_without_a_tenant_there_are_no_rows(db: Database) -> None:
    async with db.transaction(ANN) as conn:
        await put(conn, ANN, "a")

    async with db.unbound() as conn:
        assert await conn.fetch("SELECT * FROM db_lease") == []


async def test_an_error_undoes_everything(db: Database) -> None:
    async def fail() -> None:
        async with db.transaction(ANN) as conn:
            await put(conn, ANN, "a")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()

    assert await names(db, ANN) == []


async def test_a_swallowed_error_never_looks_like_a_commit(db: Database) -> None:
    async def swallow() -> None:
        async with db.transaction(ANN) as conn:
            await put(conn, ANN, "a")
            with suppress(asyncpg.DivisionByZeroError):
                await conn.execute("SELECT 1 / 0")

    with pytest.raises(RuntimeError, match="nothing of it is stored"):
        await swallow()


async def test_a_savepoint_fails_alone(db: Database) -> None:
    async with db.transaction(ANN) as conn:
        await put(conn, ANN, "kept")
        with suppress(asyncpg.DivisionByZeroError):
            async with savepoint(conn):
                await put(conn, ANN, "lost")
                await conn.execute("SELECT 1 / 0")

    assert await names(db, ANN) == ["kept"]
