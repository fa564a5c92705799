"""Whose role a handler's transaction has, and what that role may: nothing of ours."""

from collections.abc import AsyncIterator

import asyncpg
import pytest
from library.desk import MAKE, Desk, added, arrive, given, room_of, write

from postroom.db.model import NotPermitted
from postroom.db.pool import Database, open_pool
from postroom.library import OtherDatabase, Unusable

ROLES = "postroom_app, postroom_limited, postroom_system, postroom_views, postroom_reader"


async def test_a_role_of_the_application_handles_and_can_read_nothing_of_ours(
    desk: Desk, db: Database
) -> None:
    """It is granted the two functions by which it moves its handlers on, and nothing else."""
    await desk.conn.execute("CREATE ROLE clerk LOGIN; GRANT INSERT ON public.ticket TO clerk")
    await desk.conn.execute("GRANT USAGE ON SEQUENCE public.ticket_number_seq TO clerk")
    messages = await arrive(db, *added(3))
    try:
        async with given(desk.dsn.replace("postroom@", "clerk@"), "pool") as pool:
            assert await pool.fetchval("SELECT current_user") == "clerk"
            room = room_of(desk.dsn, pool)
            room.on("mail.added")(desk.ticket)
            async with room:
                await desk.until_tickets(3)
            for told in await readable(desk.conn, pool):
                pytest.fail(f"the application's role can do this: {told}")
    finally:
        await desk.conn.execute("DROP OWNED BY clerk; DROP ROLE clerk")

    assert await desk.messages() == messages


async def readable(owner: asyncpg.Connection, pool: asyncpg.Pool) -> list[str]:
    """What of our schema somebody can read or call, in a transaction bound to any tenant."""
    tables = await owner.fetch(
        "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p', 'v') "
        "AND relnamespace = 'postroom'::regnamespace"
    )
    found = []
    for (table,) in tables:
        async with pool.acquire() as conn, conn.transaction():
            await conn.execute("SET LOCAL postroom.tenant = 2")
            try:
                async with conn.transaction():
                    await conn.fetch(f'SELECT FROM postroom."{table}"')
                found.append(table)
            except asyncpg.InsufficientPrivilegeError:
                continue
    functions = await pool.fetch(
        "SELECT proname FROM pg_proc WHERE prosecdef AND pronamespace = 'postroom'::regnamespace "
        "AND has_function_privilege(oid, 'EXECUTE')"
    )
    assert {name for (name,) in functions} == {"library_take", "library_advance"}
    async with pool.acquire() as conn, conn.transaction():
        await conn.execute("SET LOCAL postroom.tenant = 2")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await conn.fetchval("SELECT postroom.library_take(1, 'ticket', 0, 0, 0, '1 second')")
    return found


@pytest.fixture
async def owned(empty_dsn: str) -> AsyncIterator[tuple[str, asyncpg.Connection]]:
    """The URL of an empty database whose owner is no superuser, and a connection of one."""
    conn = await asyncpg.connect(empty_dsn)
    database = await conn.fetchval("SELECT current_database()")
    owner = f"owner_of_{database}"
    await conn.execute(f"CREATE ROLE {owner} LOGIN; ALTER DATABASE {database} OWNER TO {owner}")
    await conn.execute(f"GRANT {ROLES} TO {owner} WITH ADMIN TRUE, INHERIT FALSE")
    yield empty_dsn.replace("//postroom@", f"//{owner}@"), conn
    await conn.execute(f"REASSIGN OWNED BY {owner} TO postroom; DROP OWNED BY {owner}; DROP ROLE {owner}")
    await conn.close()


async def test_the_databases_owner_handles_without_being_a_superuser(
    owned: tuple[str, asyncpg.Connection],
) -> None:
    dsn, superuser = owned
    room = room_of(dsn)

    @room.at_start
    async def tables(tx: asyncpg.Connection) -> None:
        await tx.execute(MAKE)

    desk = Desk(dsn, superuser)
    room.on("mail.added")(desk.ticket)
    async with room, open_pool(dsn) as db:
        messages = await arrive(db, *added(2))
        await desk.until_tickets(2)

    assert await desk.messages() == messages


async def test_who_may_not_let_a_role_handle_is_told_what_an_administrator_must_run(
    owned: tuple[str, asyncpg.Connection],
) -> None:
    dsn, superuser = owned
    async with room_of(dsn):
        pass
    await superuser.execute('ALTER SCHEMA postroom OWNER TO postroom; CREATE ROLE "the clerk" LOGIN')
    owner = dsn.split("//")[1].split("@")[0]
    await superuser.execute(f"GRANT USAGE ON SCHEMA postroom TO {owner}")
    try:
        async with given(f"postgresql://the%20clerk{dsn[dsn.index('@') :]}", "pool") as pool:
            room = room_of(dsn, pool)
            room.on("mail.added")(write)
            with pytest.raises(NotPermitted) as error:
                await room.__aenter__()
            for statement in error.value.data["statements"]:
                assert statement in str(error.value)
                await superuser.execute(statement)
            async with room:
                pass
    finally:
        await superuser.execute('DROP OWNED BY "the clerk"; DROP ROLE "the clerk"')


async def test_a_role_whose_tables_would_lie_among_ours_is_refused(desk: Desk) -> None:
    async with asyncpg.create_pool(desk.dsn, min_size=0) as pool:
        room = room_of(desk.dsn, pool)
        room.on("mail.added")(write)
        with pytest.raises(Unusable, match="search_path"):
            await room.__aenter__()


async def test_tables_of_the_application_lie_in_the_schema_public(desk: Desk) -> None:
    room = room_of(desk.dsn)

    @room.at_start
    async def tables(tx: asyncpg.Connection) -> None:
        await tx.execute("CREATE TABLE theirs ()")

    async with room:
        conn = await asyncpg.connect(room.database_url)
        assert await conn.fetchval("SELECT current_schema()") == "public"
        await conn.close()

    assert await desk.conn.fetchval("SELECT to_regclass('public.theirs') IS NOT NULL")


async def test_connections_to_another_database_are_refused(desk: Desk, postgres: str) -> None:
    async with given(postgres, "pool") as elsewhere:
        room = room_of(desk.dsn, elsewhere)
        room.on("mail.added")(desk.ticket)
        with pytest.raises(OtherDatabase):
            async with room:
                pass
