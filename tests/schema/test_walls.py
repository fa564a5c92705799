"""PostgreSQL's own catalogue says whether the walls between tenants stand."""

import asyncpg
import pytest

from postroom.db.migrate import migrations
from postroom.db.pool import Database
from postroom.ids import TenantId

WITHOUT_TENANT = {
    *("alerts_channel", "blobs_page", "db_migration", "db_process", "jobs_duty"),
    *("people_person", "vault_check"),
}
"""Tables that belong to no tenant. A name is added here only with a reason in its migration."""

SAYS_NOTHING = {"jobs_duty", "events_restored"}
"""Tables that who is limited to some accounts may read whole. Each with a reason in its migration."""
OPEN_TO_LIMITED = {"blobs_chunk", "search_matches"}
"""Functions that look past policies and that who is limited may call: each asks for their accounts itself."""

PUBLISHED = {
    "published": "true",
    "reader": "(tenant_id = ( SELECT people_read_by() AS people_read_by))",
}
"""What the views show, by the permissive policy and by the one that restricts it."""

TABLES = """
    SELECT c.oid, c.relname AS name, c.relrowsecurity AND c.relforcerowsecurity AS forced,
           c.relowner::regrole::text AS owner,
           has_table_privilege('postroom_app', c.oid, 'SELECT') AS readable,
           (SELECT a.attnotnull FROM pg_attribute a
             WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped) AS tenant,
           ARRAY(SELECT polname::text FROM pg_policy WHERE polrelid = c.oid) AS policies
      FROM pg_class c
     WHERE c.relnamespace = 'postroom'::regnamespace AND c.relkind IN ('r', 'p')
"""


async def rows(db: Database, query: str) -> list[asyncpg.Record]:
    async with db.unbound() as conn:
        return list(await conn.fetch(query))


async def test_every_table_with_a_tenant_forces_row_level_security(db: Database) -> None:
    tables = [table for table in await rows(db, TABLES) if table["tenant"] is not None]

    assert tables
    assert [table["name"] for table in tables if not table["forced"]] == []
    assert [table["name"] for table in tables if "tenant" not in table["policies"]] == []
    known = {"tenant", "system", "accounts", "published", "reader"}
    assert [table["name"] for table in tables if set(table["policies"]) - known] == []
    assert [table["name"] for table in tables if not table["tenant"]] == [], "tenant_id may be NULL"


async def test_every_policy_asks_for_the_tenant_both_ways(db: Database) -> None:
    policies = await rows(
        db,
        """SELECT polrelid::regclass::text AS named, polname::text, polpermissive, polcmd::text,
                  pg_get_expr(polqual, polrelid) AS reading, pg_get_expr(polwithcheck, polrelid) AS writing,
                  polroles::regrole[]::text[] AS roles
             FROM pg_policy""",
    )

    for policy in policies:
        assert policy["polpermissive"] == (policy["polname"] not in {"accounts", "reader"}), policy["named"]
        assert policy["polcmd"] == "*", policy["named"]
        if policy["polname"] == "tenant":
            assert policy["reading"] == policy["writing"] == "(tenant_id = tenant())", policy["named"]
            assert policy["roles"] == ["-"], policy["named"]
        elif policy["polname"] == "accounts":
            assert policy["reading"] == policy["writing"], policy["named"]
            assert policy["roles"] == ["postroom_limited"], policy["named"]
        elif policy["polname"] in {"published", "reader"}:
            assert policy["reading"] == PUBLISHED[policy["polname"]], policy["named"]
            assert policy["roles"] == ["postroom_views"], policy["named"]
        else:
            assert policy["roles"] == ["postroom_system"], policy["named"]


async def test_every_other_table_is_a_known_exception(db: Database) -> None:
    names = {table["name"] for table in await rows(db, TABLES) if table["tenant"] is None}

    assert names <= WITHOUT_TENANT


async def test_nothing_shows_without_a_tenant(db: Database) -> None:
    async with db.transaction(TenantId(1)) as conn:
        await conn.execute("INSERT INTO db_lease VALUES (1, 'mine', 'me', 1, now())")
    for table in await rows(db, TABLES):
        if table["tenant"] is not None and table["readable"]:
            assert await rows(db, f'TABLE "{table["name"]}" LIMIT 1') == []


async def test_functions_with_their_owners_rights_have_a_pinned_search_path(db: Database) -> None:
    functions = await rows(
        db,
        """SELECT p.oid::regprocedure::text AS named, p.proconfig, p.proowner::regrole::text AS owner,
                  has_function_privilege('public', p.oid, 'EXECUTE') AS anybody
             FROM pg_proc p
            WHERE p.prosecdef AND p.pronamespace NOT IN ('pg_catalog'::regnamespace)""",
    )

    for function in functions:
        paths = [setting for setting in function["proconfig"] or [] if setting.startswith("search_path=")]
        assert paths, function["named"]
        assert paths[0].endswith("pg_temp"), function["named"]
        assert function["owner"] == "postroom_system", function["named"]
        assert not function["anybody"], function["named"]


async def test_who_is_limited_may_touch_no_table_that_is_not_narrowed_to_their_accounts(db: Database) -> None:
    touchable = await rows(
        db,
        """SELECT relname AS name, relkind::text AS kind,
                  EXISTS (SELECT FROM pg_policy WHERE polrelid = c.oid AND polname = 'accounts'
                                                  AND NOT polpermissive) AS narrowed
             FROM pg_class c
            WHERE relnamespace = 'postroom'::regnamespace
              AND CASE WHEN relkind IN ('r', 'p', 'v', 'm', 'f') THEN
                       has_any_column_privilege('postroom_limited', oid, 'SELECT, INSERT, UPDATE, REFERENCES')
                    OR has_table_privilege('postroom_limited', oid, 'DELETE, TRUNCATE, TRIGGER')
                  WHEN relkind = 'S' THEN
                       has_sequence_privilege('postroom_limited', oid, 'USAGE, SELECT, UPDATE')
                  END""",
    )

    assert {table["name"] for table in touchable if not table["narrowed"]} == SAYS_NOTHING
    assert {table["kind"] for table in touchable} <= {"r", "p"}
    assert {"accounts_account", "mail_message", "jobs_job"} <= {table["name"] for table in touchable}


async def test_who_is_limited_reads_no_sealed_secret(db: Database) -> None:
    columns = await rows(
        db,
        """SELECT attname AS name, attrelid::regclass::text AS of,
                  has_column_privilege('postroom_limited', attrelid, attnum, 'SELECT') AS readable,
                  has_column_privilege('postroom_limited', attrelid, attnum, 'UPDATE') AS writable
             FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
            WHERE relnamespace = 'postroom'::regnamespace AND relkind IN ('r', 'p') AND attnum > 0
              AND NOT attisdropped""",
    )
    may = {(column["of"], column["name"]): (column["readable"], column["writable"]) for column in columns}
    secrets = {of for of, name in may if name == "secret"}
    accounts = {name for of, name in may if of == "accounts_account"}

    assert secrets >= {"accounts_account", "accounts_token", "accounts_consent"}
    assert {may[of, "secret"] for of in secrets} == {(False, False)}
    assert {name for name in accounts if may["accounts_account", name] != (True, True)} == {"secret"}


async def test_who_is_limited_may_change_nothing_that_says_nothing_of_accounts(db: Database) -> None:
    for name in SAYS_NOTHING:
        found = await rows(
            db,
            f"""SELECT has_any_column_privilege('postroom_limited', '{name}', 'INSERT, UPDATE')
                    OR has_table_privilege('postroom_limited', '{name}', 'DELETE, TRUNCATE') AS may""",
        )
        assert not found[0]["may"], name


async def test_who_is_limited_may_call_two_functions_that_look_past_policies(db: Database) -> None:
    functions = await rows(
        db,
        """SELECT proname FROM pg_proc
            WHERE prosecdef AND pronamespace = 'postroom'::regnamespace
              AND has_function_privilege('postroom_limited', oid, 'EXECUTE')""",
    )

    assert {function["proname"] for function in functions} == OPEN_TO_LIMITED
    assert len(functions) == len(OPEN_TO_LIMITED)


async def test_views_do_not_see_more_than_who_asks(db: Database) -> None:
    views = await rows(
        db,
        """SELECT relname, reloptions FROM pg_class
            WHERE relnamespace = 'postroom'::regnamespace AND relkind IN ('v', 'm')""",
    )

    assert [
        view["relname"] for view in views if "security_invoker=true" not in (view["reloptions"] or [])
    ] == []


async def test_views_see_only_what_is_published_and_only_a_readers_tenant(db: Database) -> None:
    touchable = await rows(
        db,
        """SELECT relname AS name, relnamespace::regnamespace::text AS schema,
                  ARRAY(SELECT polname::text FROM pg_policy WHERE polrelid = c.oid) AS policies,
                  has_any_column_privilege('postroom_views', oid, 'INSERT, UPDATE, REFERENCES')
                      OR has_table_privilege('postroom_views', oid, 'DELETE, TRUNCATE, TRIGGER') AS writable
             FROM pg_class c
            WHERE relkind IN ('r', 'p', 'v', 'm', 'f') AND relnamespace = 'postroom'::regnamespace
              AND has_any_column_privilege('postroom_views', oid, 'SELECT, INSERT, UPDATE, REFERENCES')""",
    )

    assert len(touchable) > 5
    assert [
        table["name"] for table in touchable if not {"published", "reader"} <= set(table["policies"])
    ] == []
    assert [table["name"] for table in touchable if table["writable"]] == []


async def test_readers_may_read_the_views_and_nothing_else(db: Database) -> None:
    touchable = await rows(
        db,
        """SELECT relname AS name, relkind::text AS kind, relowner::regrole::text AS owner,
                  relnamespace::regnamespace::text AS schema,
                  has_table_privilege('postroom_reader', oid, 'INSERT, UPDATE, DELETE, TRUNCATE, TRIGGER')
                      AS writable
             FROM pg_class
            WHERE relkind IN ('r', 'p', 'v', 'm', 'f') AND relnamespace IN (
                      SELECT oid FROM pg_namespace WHERE nspname LIKE 'postroom%')
              AND has_any_column_privilege('postroom_reader', oid, 'SELECT, INSERT, UPDATE, REFERENCES')""",
    )
    schemas = await rows(
        db,
        """SELECT has_schema_privilege('postroom_reader', 'postroom', 'USAGE, CREATE') AS ours,
                  has_schema_privilege('postroom_reader', 'postroom_api', 'CREATE')
                      OR has_schema_privilege('postroom_views', 'postroom_api', 'CREATE') AS making""",
    )

    assert {(view["schema"], view["kind"], view["owner"]) for view in touchable} == {
        ("postroom_api", "v", "postroom_views")
    }
    assert not any(view["writable"] for view in touchable)
    assert (schemas[0]["ours"], schemas[0]["making"]) == (False, False)


@pytest.mark.parametrize("limited", [False, True])
async def test_the_running_role_owns_nothing_and_bypasses_nothing(db: Database, limited: bool) -> None:
    opened = db.limited_to([]).transaction(TenantId(1)) if limited else db.unbound()
    async with opened as conn:
        named = await conn.fetchval("SELECT current_user")
        assert named == ("postroom_limited" if limited else "postroom_app")
        role = await conn.fetchrow("SELECT * FROM pg_roles WHERE rolname = current_user")
        assert role is not None
        owned = await conn.fetch("SELECT FROM pg_shdepend WHERE deptype = 'o' AND refobjid = $1", role["oid"])
        member = await conn.fetch(
            "SELECT roleid::regrole FROM pg_auth_members WHERE member = $1", role["oid"]
        )

    assert not any(granted is True for granted in role.values())
    assert owned == []
    assert member == []


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE postroom.mine ()",
        "ALTER TABLE db_lease DISABLE ROW LEVEL SECURITY",
        "DROP POLICY tenant ON db_lease",
        "TRUNCATE db_lease",
        "CREATE FUNCTION postroom.tenant2() RETURNS int RETURN 1",
        "CALL postroom.protect('db_lease')",
        "COPY (SELECT 1) TO PROGRAM 'true'",
        "SELECT pg_read_file('PG_VERSION')",
        "SELECT FROM people_person",
        "UPDATE people_person SET issuer = ''",
        "UPDATE db_migration SET number = 0",
        "CREATE EXTENSION plpython3u",
    ],
)
async def test_the_running_role_cannot_touch_the_walls(db: Database, statement: str) -> None:
    with pytest.raises(asyncpg.PostgresError):
        async with db.unbound() as conn:
            await conn.execute(statement)


def test_migrations_leave_no_gap() -> None:
    numbers = [migration.number for migration in migrations()]

    assert numbers == sorted(set(numbers))
    assert numbers[0] == 1
