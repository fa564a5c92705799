"""The roles that postroom runs as, which can log in nowhere, own no table and bypass nothing; and readers.

postroom_app      every query of every room; row-level security binds it to one tenant
postroom_limited  the same for a caller who is limited to some accounts: bound to these, and it may less
postroom_system   owns the few functions that look across tenants (see `migrations/README.md`); seals the log
postroom_views    owns the views of `postroom_api`, and sees what belongs to the tenant of the session's login
postroom_reader   may read these views: what all readers are members of

A reader is a login for one tenant. Roles belong to the whole PostgreSQL server, so another database may be
making them at the same moment.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

import asyncpg

from postroom.db.model import NotPermitted

APP = "postroom_app"
LIMITED = "postroom_limited"
SYSTEM = "postroom_system"
VIEWS = "postroom_views"
READER = "postroom_reader"

MISSING = """
    SELECT name
      FROM unnest($1::text[]) AS wanted (name)
     WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name)
"""
NOT_MEMBER = """
    SELECT rolname
      FROM pg_roles
     WHERE rolname = ANY($1::text[]) AND NOT pg_has_role(current_user, oid, $2)
"""
UNSAFE = """
    SELECT rolname
      FROM pg_roles
     WHERE rolname = ANY($1::text[]) AND (rolsuper OR rolbypassrls OR rolcanlogin)
"""
WHO = "SELECT quote_ident(current_user)"
CREATE = "CREATE ROLE %s NOLOGIN NOSUPERUSER NOBYPASSRLS NOINHERIT"
GRANT = "GRANT %s TO %s"
HAS_RIGHTS = "SELECT pg_has_role(current_user, $1, 'USAGE')"
INHERIT = "GRANT %s TO %s WITH INHERIT %s"
ATTEMPTS = 5

BECOME = "SET LOCAL ROLE postroom_system"
BE_AS_BEFORE = "RESET ROLE"

EXISTS = "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)"
DATABASE = "SELECT quote_ident(current_database())"
SESSIONS = """
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
     WHERE usename = $1 AND pid <> pg_backend_pid()
"""


async def ensure(conn: asyncpg.Connection) -> None:
    """Make the roles, and the connected user a member, where that is not so yet.

    Raises `NotPermitted`, whose message is what an administrator has to run.
    """
    await _again(lambda: _ensure(conn))


@asynccontextmanager
async def owning(conn: asyncpg.Connection) -> AsyncIterator[None]:
    """Have the rights of `SYSTEM` while the block runs: migrations alter the functions that it owns.

    Raises `NotPermitted`, whose message is what an administrator has to run.
    """
    if await conn.fetchval(HAS_RIGHTS, SYSTEM):  # a superuser, or PostgreSQL 15, where members always do
        yield
        return
    user: str = await conn.fetchval(WHO)
    try:
        await _again(lambda: conn.execute(INHERIT % (SYSTEM, user, "TRUE")))
    except asyncpg.InsufficientPrivilegeError as error:
        statement = f"GRANT {SYSTEM} TO {user} WITH ADMIN TRUE, INHERIT FALSE"
        raise NotPermitted(
            f"The database user may not alter what {SYSTEM} owns; let an administrator run: {statement};",
            statements=[statement],
        ) from error
    try:
        yield
    finally:
        if not conn.is_closed():
            await _again(lambda: conn.execute(INHERIT % (SYSTEM, user, "FALSE")))


@asynccontextmanager
async def as_system(conn: asyncpg.Connection) -> AsyncIterator[None]:
    """Run the block's statements, in a transaction, as `SYSTEM`, which may what `APP` must not."""
    await conn.execute(BECOME)
    yield
    await conn.execute(BE_AS_BEFORE)


async def _again(step: Callable[[], Awaitable[object]]) -> None:
    """Somebody may make or grant the same role meanwhile ("tuple concurrently updated")."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            await step()
        except (asyncpg.DuplicateObjectError, asyncpg.UniqueViolationError, asyncpg.InternalServerError):
            if attempt == ATTEMPTS:
                raise
        else:
            return


async def _ensure(conn: asyncpg.Connection) -> None:
    user: str = await conn.fetchval(WHO)
    roles = [APP, LIMITED, SYSTEM, VIEWS, READER]
    # Since PostgreSQL 16 one may be allowed to SET ROLE without having its rights all the time, as here:
    # otherwise the connecting user would see what postroom_system sees.
    modern = conn.get_server_version().major >= 16
    grant = GRANT + " WITH INHERIT FALSE" if modern else GRANT
    asked = GRANT + " WITH ADMIN TRUE, INHERIT FALSE" if modern else GRANT
    try:
        for role in await conn.fetch(MISSING, roles):
            await conn.execute(CREATE % role["name"])
        for role in await conn.fetch(NOT_MEMBER, roles, "SET" if modern else "MEMBER"):
            await conn.execute(grant % (role["rolname"], user))
    except asyncpg.InsufficientPrivilegeError as error:
        todo = [CREATE % row["name"] for row in await conn.fetch(MISSING, roles)]
        todo.append(asked % (", ".join(roles), user))
        raise NotPermitted(
            "The database user may not make roles; let an administrator run: " + "; ".join(todo) + ";",
            statements=todo,
        ) from error
    if unsafe := [row["rolname"] for row in await conn.fetch(UNSAFE, roles)]:
        raise NotPermitted(
            f"The role {unsafe[0]} can log in or bypass row-level security, so the walls between tenants "
            f"would not hold; let an administrator run: "
            f"ALTER ROLE {unsafe[0]} NOLOGIN NOSUPERUSER NOBYPASSRLS;"
        )


async def make_reader(
    conn: asyncpg.Connection, name: str, verifier: str, *, limit: timedelta, connections: int
) -> list[str]:
    """Let a login of this name read the views, with the password of this SCRAM verifier, or with a new one.

    The statements that an administrator has to run instead, where the connected user may not.
    """
    verb = "ALTER" if await conn.fetchval(EXISTS, name) else "CREATE"
    statements = [
        f"GRANT CONNECT ON DATABASE {await conn.fetchval(DATABASE)} TO {READER}",
        f"{verb} ROLE {name} LOGIN INHERIT CONNECTION LIMIT {connections} PASSWORD '{verifier}'",
        f"GRANT {READER} TO {name}",
        f"ALTER ROLE {name} SET search_path = postroom_api",
        f"ALTER ROLE {name} SET default_transaction_read_only = on",
        f"ALTER ROLE {name} SET statement_timeout = {limit // timedelta(milliseconds=1)}",
        f"ALTER ROLE {name} SET idle_in_transaction_session_timeout = {limit // timedelta(milliseconds=1)}",
    ]
    return await _run(conn, statements)


async def drop_reader(conn: asyncpg.Connection, name: str) -> list[str]:
    """End a login and its sessions. The same, where the connected user may not."""
    if not await conn.fetchval(EXISTS, name):
        return []
    inherits = " WITH INHERIT TRUE" if conn.get_server_version().major >= 16 else ""
    first = [f"ALTER ROLE {name} NOLOGIN", f"GRANT {name} TO {await conn.fetchval(WHO)}{inherits}"]
    last = [f"DROP OWNED BY {name}", f"DROP ROLE {name}"]
    if left := await _run(conn, first):
        return [left[0], *last]
    await conn.fetchval(SESSIONS, name)  # nobody comes in their place
    return await _run(conn, last)


async def _run(conn: asyncpg.Connection, statements: Sequence[str]) -> list[str]:
    """All of them or none; those that are left."""
    try:
        async with conn.transaction():
            for statement in statements:
                await conn.execute(statement)
    except asyncpg.InsufficientPrivilegeError:
        return list(statements)
    return []
