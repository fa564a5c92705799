"""Logins that read a tenant's mail in SQL: what they see, and all that they must not."""

import re
from base64 import b64decode
from collections.abc import AsyncIterator, Sequence

import asyncpg
import pytest
from servers.tenants import ONE, TWO
from walls.sides import Side, sides

from postroom.db import roles
from postroom.db.pool import Database
from postroom.people import readers
from postroom.people.model import NoSuchTenant
from postroom.people.readers import Reader
from postroom.vault.seal import Vault

VIEWS = "SELECT relname FROM pg_class WHERE relnamespace = 'postroom_api'::regnamespace ORDER BY relname"
NAMED = "SELECT relname, pg_get_viewdef(oid) FROM pg_class WHERE relnamespace = 'postroom_api'::regnamespace"
SHOWN = "SELECT v::text FROM postroom_api.{0} v"
COUNTED = "SELECT count(*) FROM postroom_api.{0}"
POLICIES = "SELECT polrelid::regclass::text FROM pg_policy WHERE polname = 'reader'"
TABLES = """
    SELECT 'postroom.' || quote_ident(relname) FROM pg_class
     WHERE relnamespace = 'postroom'::regnamespace AND relkind IN ('r', 'p', 'S')
"""
FUNCTIONS = """
    SELECT format('postroom.%I(%s)', proname, (SELECT string_agg('NULL::' || format_type(t, NULL), ', ')
                                                 FROM unnest(proargtypes) AS t))
      FROM pg_proc WHERE pronamespace = 'postroom'::regnamespace AND prokind = 'f'
"""
FIRST_WALL = re.compile(r"(\w+\.)?tenant_id = \( SELECT people_read_by\(\) AS people_read_by\)")
SALT = re.compile(r":(.+?)\$")
LEAK = """
    CREATE FUNCTION pg_temp.tell(said text) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS $$
    BEGIN RAISE NOTICE '%', said; RETURN true; END $$
"""


async def login(db: Database, made: Reader) -> asyncpg.Connection:
    """As the reader; the tests' server asks nobody for a password."""
    assert made.left == []
    return await asyncpg.connect(db.dsn.replace("//postroom@", f"//{made.role}@"))


@pytest.fixture
async def both(db: Database, vault: Vault, tenants: None) -> tuple[Side, Side]:  # noqa: ARG001
    return await sides(db, vault)


@pytest.fixture
async def reader(
    db: Database,
    owner: asyncpg.Connection,
    both: tuple[Side, Side],  # noqa: ARG001
) -> AsyncIterator[asyncpg.Connection]:
    """Annika's; Bertil has one as well."""
    made = [await readers.grant(db, tenant) for tenant in (ONE, TWO)]
    conn = await login(db, made[0])
    await conn.execute("SET default_transaction_read_only = off")  # as anybody may
    yield conn
    await conn.close()
    for one in made:
        assert await roles.drop_reader(owner, one.role) == []


@pytest.fixture
async def owner(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    conn = await asyncpg.connect(dsn)
    yield conn
    await conn.close()


async def seen(conn: asyncpg.Connection) -> dict[str, str]:
    """All that the views show, as text."""
    views = [row[0] for row in await conn.fetch(VIEWS)]
    return {view: "\n".join(sorted(row[0] for row in await conn.fetch(SHOWN.format(view)))) for view in views}


def is_somebody_elses(shown: dict[str, str], other: Side) -> Sequence[str]:
    """The views that show anything of the other side."""
    names = [other.name, other.account.address, *(name for name in other.shown.values() if len(name) > 30)]
    return [view for view, text in shown.items() if any(name in text for name in names)]


async def test_a_reader_sees_all_of_its_tenant_and_nothing_of_another(
    reader: asyncpg.Connection, both: tuple[Side, Side]
) -> None:
    annika, bertil = both
    shown = await seen(reader)

    assert {"accounts", "messages", "texts", "threads", "events", "version"} <= shown.keys()
    assert [view for view, text in shown.items() if not text] == []
    assert annika.account.address in shown["accounts"]
    assert f"report of {annika.name} number 1" in shown["texts"]
    assert f"friend@{annika.name}.example" in shown["recipients"]
    assert f"{annika.name}.pdf" in shown["attachments"]
    assert str(annika.own.public_id) in shown["events"]
    assert shown["messages"].count("\n") + 1 == 4, "one of five lies nowhere any more"
    assert is_somebody_elses(shown, bertil) == []


@pytest.mark.parametrize(
    "attempt",
    [
        "SET postroom.tenant = '2'",
        "SELECT set_config('postroom.tenant', '2', false)",
        "SET postroom.accounts = '{2}'",
        "SET ROLE postroom_reader",
        "SET search_path = pg_temp, postroom, postroom_api",
        "RESET ALL",
        "DISCARD TEMP",
    ],
)
async def test_no_setting_of_a_session_shows_more(
    reader: asyncpg.Connection, both: tuple[Side, Side], attempt: str
) -> None:
    before = await seen(reader)
    await reader.execute(attempt)

    assert await seen(reader) == before
    assert is_somebody_elses(before, both[1]) == []


@pytest.mark.parametrize(
    "attempt",
    [
        "SET ROLE postroom_app",
        "SET ROLE postroom_views",
        "SET ROLE postroom_system",
        "SET ROLE postroom",
        "SET SESSION AUTHORIZATION postroom",
        "SET row_security = off; SELECT FROM postroom_api.messages",
        "SELECT query_to_xml('SELECT * FROM postroom.mail_message', true, true, '')",
        "INSERT INTO postroom.people_reader (tenant_id, role) VALUES (2, current_user)",
        "UPDATE postroom_api.messages SET subject = ''",
        "DELETE FROM postroom_api.accounts",
        "INSERT INTO postroom_api.folders (path) VALUES ('x')",
        "CREATE TABLE postroom_api.mine ()",
        "CREATE OR REPLACE VIEW postroom_api.version AS SELECT 2 AS version",
        "ALTER VIEW postroom_api.messages SET (security_invoker = true)",
        "CREATE FUNCTION postroom_api.tenant() RETURNS int RETURN 1",
        "SELECT pg_read_file('PG_VERSION')",
        "COPY (SELECT 1) TO PROGRAM 'true'",
        "ALTER ROLE postroom_reader LOGIN",
        "TABLE pg_authid",
    ],
)
async def test_a_reader_may_do_nothing_else(reader: asyncpg.Connection, attempt: str) -> None:
    with pytest.raises(asyncpg.PostgresError) as raised:
        await reader.execute(attempt)

    assert isinstance(
        raised.value,
        asyncpg.InsufficientPrivilegeError
        | asyncpg.InvalidParameterValueError
        | asyncpg.ObjectNotInPrerequisiteStateError,
    )


async def test_a_reader_reaches_no_table_and_no_function(
    reader: asyncpg.Connection, owner: asyncpg.Connection
) -> None:
    tables = [row[0] for row in await owner.fetch(TABLES)]
    functions = [row[0] for row in await owner.fetch(FUNCTIONS)]

    assert len(tables) > 40
    assert len(functions) > 20
    for statement in (
        *(f"SELECT FROM {table}" for table in tables),
        *(f"SELECT {call}" for call in functions),
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="for schema postroom"):
            await reader.execute(statement)
    assert await reader.fetch("SELECT FROM pg_stats WHERE schemaname = 'postroom'") == []


async def test_a_function_of_the_readers_own_is_shown_no_other_rows(
    reader: asyncpg.Connection, both: tuple[Side, Side]
) -> None:
    said: list[str] = []

    def hear(_conn: object, message: asyncpg.PostgresLogMessage) -> None:
        said.append(str(message))

    reader.add_log_listener(hear)
    await reader.execute(LEAK)
    for leaking in ("messages WHERE pg_temp.tell(subject)", "texts WHERE pg_temp.tell(text)"):
        await reader.execute(COUNTED.format(leaking))
    reader.remove_log_listener(hear)

    assert any(both[0].name in line for line in said)
    assert not any(both[1].name in line for line in said)


async def test_policies_alone_keep_tenants_apart_where_the_views_forget_to(
    reader: asyncpg.Connection, owner: asyncpg.Connection, both: tuple[Side, Side]
) -> None:
    before = await seen(reader)
    for name, definition in await owner.fetch(NAMED):
        await owner.execute(
            f"CREATE OR REPLACE VIEW postroom_api.{name} AS {FIRST_WALL.sub('true', definition)}"
        )
    without_the_first = await seen(reader)
    for (table,) in await owner.fetch(POLICIES):
        await owner.execute(f"ALTER POLICY reader ON {table} USING (true)")
    without_any = await seen(reader)

    assert without_the_first == before
    assert set(is_somebody_elses(without_any, both[1])) == before.keys() - {"version"}


async def test_the_views_alone_keep_tenants_apart_where_the_policies_are_open(
    reader: asyncpg.Connection, owner: asyncpg.Connection
) -> None:
    before = await seen(reader)
    for (table,) in await owner.fetch(POLICIES):
        await owner.execute(f"ALTER POLICY reader ON {table} USING (true)")

    assert await seen(reader) == before


async def test_who_is_no_reader_sees_nothing(owner: asyncpg.Connection, both: tuple[Side, Side]) -> None:
    as_superuser = await seen(owner)
    await owner.execute(
        f"SET postroom.tenant = '{both[0].tenant}'; SET SESSION AUTHORIZATION postroom_reader"
    )

    for shown in (as_superuser, await seen(owner)):
        assert {view for view, text in shown.items() if text} == {"version"}


async def test_what_is_revoked_ends_at_once(db: Database, reader: asyncpg.Connection) -> None:
    assert await readers.revoke(db, ONE) == []

    # The last is what asyncpg says of a connection that is ended while it asks.
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)):
        await reader.fetch("TABLE postroom_api.accounts")
    assert await readers.revoke(db, ONE) == []


async def test_a_login_whose_row_is_gone_reads_nothing(db: Database, reader: asyncpg.Connection) -> None:
    """As it is between the two steps of a revocation."""
    async with db.transaction(ONE) as conn:
        await conn.execute("DELETE FROM people_reader")

    assert {view for view, text in (await seen(reader)).items() if text} == {"version"}


async def test_a_tenants_login_goes_blind_with_its_tenant(
    reader: asyncpg.Connection, owner: asyncpg.Connection
) -> None:
    await owner.execute(
        "DELETE FROM postroom.events_event; DELETE FROM postroom.people_tenant WHERE tenant_id = 1"
    )

    assert {view for view, text in (await seen(reader)).items() if text} == {"version"}


async def test_a_second_grant_changes_the_password_alone(
    db: Database,
    owner: asyncpg.Connection,
    both: tuple[Side, Side],  # noqa: ARG001
) -> None:
    first, second = await readers.grant(db, ONE), await readers.grant(db, ONE)
    kept = await owner.fetchval("SELECT rolpassword FROM pg_authid WHERE rolname = $1", first.role)
    await readers.revoke(db, ONE)

    password = second.url.split(":")[2].split("@")[0]
    salt = b64decode(SALT.findall(kept)[0])
    assert first.role == second.role
    assert first.url != second.url
    assert readers.verifier(password, salt) == kept


async def test_postgresql_makes_the_same_of_a_password(owner: asyncpg.Connection) -> None:
    await owner.execute("BEGIN; CREATE ROLE somebody PASSWORD 'swordfish'")
    kept = await owner.fetchval("SELECT rolpassword FROM pg_authid WHERE rolname = 'somebody'")
    await owner.execute("ROLLBACK")

    assert readers.verifier("swordfish", b64decode(SALT.findall(kept)[0])) == kept


async def test_a_readers_statements_are_limited_and_read_only_until_it_says_otherwise(
    db: Database,
    both: tuple[Side, Side],  # noqa: ARG001
) -> None:
    conn = await login(db, await readers.grant(db, ONE, connections=1))
    try:
        assert await conn.fetchval("SHOW statement_timeout") == "1min"
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await conn.execute("CREATE TEMP TABLE mine ()")
        with pytest.raises(asyncpg.TooManyConnectionsError):
            await login(db, await readers.grant(db, ONE, connections=1))
        assert await conn.fetchval("SELECT count(*) FROM messages") == 4
    finally:
        await conn.close()
        await readers.revoke(db, ONE)


async def test_a_tenant_is_found_by_its_id_or_name(db: Database, both: tuple[Side, Side]) -> None:  # noqa: ARG001
    async with db.transaction(TWO) as conn:
        public_id = await conn.fetchval("SELECT public_id FROM people_tenant")

    assert await readers.named(db, "two") == TWO
    assert await readers.named(db, str(public_id).upper()) == TWO
    with pytest.raises(NoSuchTenant):
        await readers.named(db, "three")


def test_the_url_is_that_of_the_database_with_another_user() -> None:
    assert readers.url_of("postgresql://me:secret@db.example:5433/post?sslmode=require", "r", "p") == (
        "postgresql://r:p@db.example:5433/post?sslmode=require"
    )
    assert readers.url_of("postgresql://me@/postgres?host=/run/x&password=s", "r", "p") == (
        "postgresql://r:p@/postgres?host=/run/x"
    )
    assert readers.url_of("postgresql://me:secret@db.example", "r", "p") == "postgresql://r:p@db.example/me"
    assert readers.url_of("postgresql://me@/?host=/run/x&dbname=post", "r", "p") == (
        "postgresql://r:p@/?host=/run/x&dbname=post"
    )
