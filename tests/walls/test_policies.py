"""Each wall is taken away in turn: something must notice, or nobody would when one goes by mistake."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial

import asyncpg
import pytest
from schema import test_walls as catalogue
from walls.sides import Side, sides
from walls.test_stores import holes

from postroom.db.pool import Database
from postroom.ids import TenantId
from postroom.vault.seal import Vault

WALLED = """
    SELECT c.relname AS name, c.relispartition AS is_part FROM pg_class c
     WHERE c.relnamespace = 'postroom'::regnamespace AND c.relkind IN ('r', 'p')
       AND EXISTS (SELECT FROM pg_policy WHERE polrelid = c.oid AND polname = 'tenant')
     ORDER BY c.relname
"""
OPEN = "DROP POLICY tenant ON postroom.{0}; CREATE POLICY tenant ON postroom.{0} USING (true)"
DOWN = "DROP POLICY tenant ON postroom.{0}"
OFF = "ALTER TABLE postroom.{0} DISABLE ROW LEVEL SECURITY"
SHUT = """
    DROP POLICY IF EXISTS tenant ON postroom.{0};
    CREATE POLICY tenant ON postroom.{0} USING (tenant_id = postroom.tenant())
        WITH CHECK (tenant_id = postroom.tenant());
    ALTER TABLE postroom.{0} ENABLE ROW LEVEL SECURITY
"""
EMPTY = {
    "events_restored": "has rows where a log was restored from a dump",
    "search_settled": "has rows once words were handed over to the index",
}
"""Tables that the sides have nothing in, so that only the catalogue can tell."""
NOT_BY_STORES = {
    "mail_reference": "is asked together with `mail_thread`, whose wall stands",
    "mail_thread": "is shown together with `accounts_account`, whose wall stands",
    "providers_connection": "is read by functions that look across tenants only",
    "people_membership": "as `providers_connection`",
    "people_link": "as `providers_connection`",
    "people_key_account": "is told with `people_key`, whose wall stands",
    "webhooks_lane": "is told with `events_head`, whose wall stands",
}
"""Tables whose wall alone no function of a store shows to be gone."""

SHOWS = "SELECT EXISTS (SELECT FROM {0} WHERE tenant_id = $1)"
CHANGES = (
    "SELECT FROM {0} WHERE tenant_id = $1 FOR UPDATE",
    "DELETE FROM {0} WHERE tenant_id = $1",
)


class Undone(Exception):
    """Rolls back."""


async def is_open(db: Database, table: str, other: Side, tenant: TenantId) -> bool:
    """Whether a transaction of `tenant`, or of none, sees or changes what the other side has in a table."""
    found = False
    for within in (db.unbound, partial(db.transaction, tenant)):
        with suppress(asyncpg.InsufficientPrivilegeError):
            async with within() as conn:
                found |= await conn.fetchval(SHOWS.format(table), other.tenant)
        for statement in CHANGES:
            with suppress(asyncpg.InsufficientPrivilegeError, Undone):
                async with within() as conn:
                    done = await conn.execute(statement.format(table), other.tenant)
                    found |= not done.endswith(" 0")
                    raise Undone
    return found


async def noticed_by_the_catalogue(db: Database) -> bool:
    try:
        await catalogue.test_every_table_with_a_tenant_forces_row_level_security(db)
        await catalogue.test_every_policy_asks_for_the_tenant_both_ways(db)
    except AssertionError:
        return True
    return False


@asynccontextmanager
async def without(owner: asyncpg.Connection, table: str, how: str) -> AsyncIterator[None]:
    """A wall less, while the block runs."""
    await owner.execute(how.format(table))
    try:
        yield
    finally:
        await owner.execute(SHUT.format(table))


@pytest.fixture
async def owner(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    conn = await asyncpg.connect(dsn)
    yield conn
    await conn.close()


@pytest.mark.usefixtures("tenants")
async def test_behind_every_wall_another_tenants_rows_are_neither_seen_nor_changed(
    db: Database, vault: Vault, owner: asyncpg.Connection
) -> None:
    annika, bertil = await sides(db, vault)
    tables = await owner.fetch(WALLED)

    assert [row["name"] for row in tables if await is_open(db, row["name"], bertil, annika.tenant)] == []
    bare = [
        row["name"] for row in tables if not await owner.fetchval(SHOWS.format(f"postroom.{row['name']}"), 2)
    ]
    assert {name for name in bare if not name.startswith("events_event_")} == EMPTY.keys()


@pytest.mark.slow
@pytest.mark.usefixtures("tenants")
async def test_no_wall_goes_unnoticed(db: Database, vault: Vault, owner: asyncpg.Connection) -> None:
    annika, bertil = await sides(db, vault)
    checks: dict[str, Callable[[str], Awaitable[bool]]] = {
        "rows": lambda table: is_open(db, table, bertil, annika.tenant),
        "stores": lambda _: _has_holes(db, bertil, annika.tenant),
    }
    unnoticed = []
    for name, is_part in await owner.fetch(WALLED):
        for how in (OPEN, DOWN, OFF):
            async with without(owner, name, how):
                if not await noticed_by_the_catalogue(db):
                    unnoticed.append(f"{how.format(name)}: the catalogue")
        async with without(owner, name, OPEN):
            if name in EMPTY or is_part:
                continue
            for check, notices in checks.items():
                if not (check == "stores" and name in NOT_BY_STORES) and not await notices(name):
                    unnoticed.append(f"{name} open: {check}")

    assert unnoticed == []
    assert not await noticed_by_the_catalogue(db)


async def _has_holes(db: Database, other: Side, tenant: TenantId) -> bool:
    return bool(await holes(db, other, tenant))
