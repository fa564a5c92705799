"""The roles that postroom runs as. They can log in nowhere, own no table and bypass nothing.

postroom_app      every query of every room; row-level security binds it to one tenant
postroom_limited  the same for a caller who is limited to some accounts: bound to these, and it may less
postroom_system   owns the few functions that look across tenants (see `migrations/README.md`)

Roles belong to the whole PostgreSQL server, so another database may be making them at the same moment.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import asyncpg

from postroom.db.model import NotPermitted

APP = "postroom_app"
LIMITED = "postroom_limited"
SYSTEM = "postroom_system"

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
    roles = [APP, LIMITED, SYSTEM]
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
