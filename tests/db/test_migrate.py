import asyncio
from pathlib import Path

import asyncpg
import pytest

from postroom.db.migrate import Migration, migrate, migrations
from postroom.db.model import ChangedMigration, NotPermitted
from postroom.db.pool import open_pool
from postroom.db.roles import as_system
from postroom.ids import TenantId

START = migrations()[:1]
WAITS = """
    SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 'postroom.events_head'::regclass)
"""
ROLES = "postroom_app, postroom_limited, postroom_system, postroom_views, postroom_reader"
TABLE = Migration(
    2,
    "table",
    """
    CREATE TABLE postroom.some_thing (tenant_id bigint NOT NULL, name text NOT NULL);
    CALL postroom.protect('some_thing');
    CREATE FUNCTION postroom.some_count(wanted bigint) RETURNS bigint LANGUAGE sql STABLE
        RETURN (SELECT count(*) FROM postroom.some_thing WHERE tenant_id = wanted);
    CALL postroom.across_tenants('some_count(bigint)', 'some_thing');
    """,
)


async def test_each_migration_runs_once(empty_dsn: str) -> None:
    assert await migrate(empty_dsn, START) == ["start"]
    assert await migrate(empty_dsn, [*START, TABLE]) == ["table"]
    assert await migrate(empty_dsn, [*START, TABLE]) == []


async def test_processes_that_migrate_at_once_do_not_collide(empty_dsn: str) -> None:
    applied = await asyncio.gather(*(migrate(empty_dsn, [*START, TABLE]) for _ in range(5)))

    assert sorted(applied) == [[], [], [], [], ["start", "table"]]


async def test_a_migration_that_fails_leaves_nothing_and_can_be_repeated(empty_dsn: str) -> None:
    broken = Migration(2, "table", TABLE.sql + "SELECT 1 / 0;")
    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrate(empty_dsn, [*START, broken])

    assert await migrate(empty_dsn, [*START, TABLE]) == ["table"]


async def test_a_changed_migration_is_refused(empty_dsn: str) -> None:
    await migrate(empty_dsn, [*START, TABLE])

    with pytest.raises(ChangedMigration, match="0002"):
        await migrate(empty_dsn, [*START, Migration(2, "table", TABLE.sql + " ")])


async def test_a_migration_that_locks_many_tables_is_in_nobodys_way(empty_dsn: str) -> None:
    """The previous release holds what is locked last, and then wants what is locked first."""
    limited = next(at for at, one in enumerate(migrations()) if one.name == "limited")
    await migrate(empty_dsn, migrations()[:limited])
    async with open_pool(empty_dsn) as db:
        async with db.transaction(TenantId(1)) as conn:
            await conn.execute("LOCK TABLE events_head IN ROW EXCLUSIVE MODE")
            migrating = asyncio.create_task(migrate(empty_dsn))
            async with asyncio.timeout(30), db.unbound() as other:
                while not await other.fetchval(WAITS):  # noqa: ASYNC110  # nobody tells
                    await asyncio.sleep(0.01)
            await conn.execute("LOCK TABLE people_key IN ROW EXCLUSIVE MODE")
        assert (await migrating)[0] == "limited"


async def test_this_release_lives_with_the_schema_of_the_next(empty_dsn: str) -> None:
    await migrate(empty_dsn, [*START, TABLE])

    assert await migrate(empty_dsn, START) == []


def test_two_files_with_one_number_are_a_mistake(tmp_path: Path) -> None:
    for name in ("0001_a.sql", "0001_b.sql", "README.md"):
        (tmp_path / name).write_text("")

    with pytest.raises(ValueError, match="number 1"):
        migrations(tmp_path)


async def test_an_owner_without_rights_is_told_what_an_administrator_must_run(
    owners_dsn: str, empty_dsn: str
) -> None:
    with pytest.raises(NotPermitted) as error:
        await migrate(owners_dsn, START)

    conn = await asyncpg.connect(empty_dsn)
    for statement in error.value.data["statements"]:
        assert statement in str(error.value)
        await conn.execute(statement)
    assert await migrate(owners_dsn) == [one.name for one in migrations()]
    async with open_pool(owners_dsn) as db:
        for data, role in ((db, "postroom_app"), (db.limited_to([]), "postroom_limited")):
            async with data.transaction(TenantId(1)) as bound:
                assert await bound.fetchval("SELECT current_user") == role
        async with db.transaction(TenantId(1)) as bound:
            async with as_system(bound):
                assert await bound.fetchval("SELECT current_user") == "postroom_system"
            assert await bound.fetchval("SELECT current_user") == "postroom_app"

    owner = owners_dsn.split("//")[1].split("@")[0]
    assert not await conn.fetchval("SELECT pg_has_role($1, 'postroom_system', 'USAGE')", owner)
    await conn.close()
    assert await migrate(owners_dsn) == []


async def test_an_owner_that_may_make_roles_needs_no_administrator(owners_dsn: str, empty_dsn: str) -> None:
    conn = await asyncpg.connect(empty_dsn)
    owner = owners_dsn.split("//")[1].split("@")[0]
    await conn.execute(f"GRANT {ROLES} TO {owner} WITH ADMIN TRUE, INHERIT FALSE, SET FALSE")
    await conn.execute(f"ALTER ROLE {owner} CREATEROLE")
    await conn.close()

    assert await migrate(owners_dsn) == [one.name for one in migrations()]


async def test_an_owner_that_cannot_take_the_rights_is_told_so(owners_dsn: str, empty_dsn: str) -> None:
    conn = await asyncpg.connect(empty_dsn)
    owner = owners_dsn.split("//")[1].split("@")[0]
    await conn.execute(f"GRANT {ROLES} TO {owner} WITH INHERIT FALSE")
    await conn.close()
    with pytest.raises(NotPermitted, match="WITH ADMIN TRUE"):
        await migrate(owners_dsn)


async def test_the_walls_stand_and_the_doors_open_without_a_superuser(
    owners_dsn: str, empty_dsn: str
) -> None:
    conn = await asyncpg.connect(empty_dsn)
    owner = owners_dsn.split("//")[1].split("@")[0]
    await conn.execute(f"GRANT {ROLES} TO {owner} WITH ADMIN TRUE, INHERIT FALSE")
    await conn.close()
    await migrate(owners_dsn, [*START, TABLE])

    async with open_pool(owners_dsn) as db:
        for tenant in (TenantId(1), TenantId(2)):
            async with db.transaction(tenant) as conn:
                await conn.execute("INSERT INTO some_thing VALUES ($1, 'x')", tenant)
                assert await conn.fetchval("SELECT count(*) FROM some_thing") == 1
        async with db.unbound() as conn:
            assert await conn.fetchval("SELECT count(*) FROM some_thing") == 0
            assert await conn.fetchval("SELECT some_count(1) + some_count(2)") == 2
    owner_sees = await asyncpg.connect(owners_dsn)
    assert await owner_sees.fetchval("SELECT count(*) FROM postroom.some_thing") == 0
    await owner_sees.close()


async def test_an_index_that_row_level_security_forbids_is_used_across_tenants(empty_dsn: str) -> None:
    await migrate(empty_dsn, [*START, TABLE])
    conn = await asyncpg.connect(empty_dsn)
    await conn.execute("""
        INSERT INTO postroom.some_thing SELECT 1, 'word' || n FROM generate_series(1, 2000) AS n;
        CREATE INDEX ON postroom.some_thing USING gin (to_tsvector('simple', name));
        ANALYZE postroom.some_thing;
        SET enable_seqscan = off;
        SET ROLE postroom_system;
    """)
    plan = await conn.fetch(
        "EXPLAIN SELECT FROM postroom.some_thing WHERE to_tsvector('simple', name) @@ 'word7'::tsquery"
    )
    await conn.close()

    assert "Bitmap Index Scan" in "".join(row[0] for row in plan)
