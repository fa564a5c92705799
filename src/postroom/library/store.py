"""How far handlers are. `take` and `advance` run in the application's own transaction, all else in ours."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

from asyncpg import Connection

from postroom.events.model import Place
from postroom.ids import TenantId

BEGIN = """
    INSERT INTO library_handler (tenant_id, name, position, stream, seq)
    SELECT t.tenant_id, $2, $3, $4, $5 FROM people_tenant t WHERE t.tenant_id = $1
    ON CONFLICT DO NOTHING
"""
FIND = """
    SELECT position, stream, seq, begun, retry_at, stopped_at,
           greatest(retry_at - clock_timestamp(), interval '0') AS wait
      FROM library_handler WHERE tenant_id = $1 AND name = $2
"""
ALL = """
    SELECT name, failures + greatest(begun - 1, 0), retry_at, stopped_at
      FROM library_handler WHERE tenant_id = $1 ORDER BY name
"""
PASS = """
    UPDATE library_handler SET position = $6, stream = $7, seq = $8
     WHERE tenant_id = $1 AND name = $2 AND (position, stream, seq) = ($3, $4, $5)
"""
FAIL = """
    UPDATE library_handler
       SET failures = failures + 1,
           retry_at = clock_timestamp() + least('1 second'::interval * 2 ^ least(failures, 9), '5 minutes'),
           stopped_at = CASE WHEN failures + 1 >= $6 THEN clock_timestamp() END,
           begun = CASE WHEN failures + 1 >= $6 THEN 0 ELSE greatest(begun - $7, 0) END
     WHERE tenant_id = $1 AND name = $2 AND (position, stream, seq) = ($3, $4, $5) AND stopped_at IS NULL
    RETURNING retry_at - clock_timestamp(), stopped_at IS NOT NULL
"""
RESUME = """
    UPDATE library_handler
       SET failures = 0, retry_at = NULL, stopped_at = NULL, begun = greatest(begun - 1, 0)
     WHERE tenant_id = $1 AND name = $2 AND (failures > 0 OR begun > 1)
"""
STOP = """
    UPDATE library_handler SET failures = greatest(failures, 1), stopped_at = clock_timestamp()
     WHERE tenant_id = $1 AND name = $2 AND stopped_at IS NULL AND begun >= $3
    RETURNING seq
"""
LOCK = "SELECT FROM library_handler WHERE tenant_id = $1 AND name = $2 FOR UPDATE SKIP LOCKED"
MARK = """
    UPDATE library_handler
       SET begun = begun + 1,
           retry_at = clock_timestamp() + least('1 second'::interval * 2 ^ least(begun, 9), '5 minutes')
     WHERE tenant_id = $1 AND name = $2 AND (position, stream, seq) = ($3, $4, $5) AND begun = $6
       AND stopped_at IS NULL
"""
UNMARK = """
    UPDATE library_handler SET begun = begun - 1, retry_at = NULL
     WHERE tenant_id = $1 AND name = $2 AND (position, stream, seq) = ($3, $4, $5) AND begun > 0
"""
MOVE = "UPDATE library_handler SET position = $3, stream = $4, seq = $5 WHERE tenant_id = $1 AND name = $2"
RESUME_ALL = "SELECT library_resume($1)"
DUE = "SELECT tenant, handler FROM library_due($1, $2, $3)"
TENANT = "SELECT library_tenant($1)"
TAKE = "SELECT postroom.library_take($1, $2, $3, $4, $5, $6)"
ADVANCE = "SELECT postroom.library_advance($1, $2, $3, $4, $5, $6)"
# Two servers that started in one microsecond, and have a database of one number: nobody has seen that.
WHERE = """
    SELECT oid::text || ' ' || pg_postmaster_start_time()::text
      FROM pg_database WHERE datname = current_database()
"""
LOCK_START = "SELECT pg_advisory_xact_lock(hashtextextended('postroom.library_start', 0))"
WHO = "SELECT current_user::text"
IN_OURS = "SELECT current_schema() = 'postroom'"
TOOLS = (
    "postroom.library_take(bigint, text, bigint, bigint, bigint, interval)",
    "postroom.library_advance(bigint, text, text, bigint, bigint, bigint)",
)
MAY = """
    SELECT has_schema_privilege($1::text, 'postroom', 'USAGE')
       AND bool_and(has_function_privilege($1::text, tool, 'EXECUTE'))
      FROM unnest($2::text[]) AS tools (tool)
"""
TO_SCHEMA, TO_TOOLS = "GRANT USAGE ON SCHEMA postroom TO {who}", "GRANT EXECUTE ON FUNCTION {tools} TO {who}"
LIKE_SYSTEM = "SET LOCAL ROLE postroom_system"
QUOTED = "SELECT quote_ident($1::text)"


class Asked(Protocol):
    """A connection as far as `take` and `advance` need it: the application's."""

    async def fetchval(self, query: str, *args: Any) -> Any: ...


@dataclass(frozen=True, slots=True)
class Stand:
    """Where a handler is, and whether it may go on."""

    place: Place
    begun: int  # processes that began behind it and did not say what became of that
    wait: timedelta  # before it is tried again
    is_stopped: bool


async def begin(conn: Connection, tenant: TenantId, name: str, place: Place) -> None:
    """Let a handler begin behind this place, unless it has begun."""
    await conn.execute(BEGIN, tenant, name, *place)


async def find(conn: Connection, tenant: TenantId, name: str) -> Stand | None:
    row = await conn.fetchrow(FIND, tenant, name)
    if row is None:
        return None
    place = row["position"], row["stream"], row["seq"]
    return Stand(place, row["begun"], row["wait"] or timedelta(), row["stopped_at"] is not None)


async def all_of(
    conn: Connection, tenant: TenantId
) -> list[tuple[str, int, datetime | None, datetime | None]]:
    """Name, failures in a row, when it is tried again, since when it is stopped."""
    return [tuple(row) for row in await conn.fetch(ALL, tenant)]


async def pass_over(conn: Connection, tenant: TenantId, name: str, after: Place, to: Place) -> None:
    """Move a handler on over events that it does not want, if it is where it was."""
    await conn.execute(PASS, tenant, name, *after, *to)


async def fail(
    conn: Connection, tenant: TenantId, name: str, after: Place, most: int, *, is_marked: bool = False
) -> tuple[timedelta, bool] | None:
    """Note that the event behind this place failed: how long to wait, and whether the handler is stopped.

    It waits for 1, 2, 4 ... seconds, five minutes at most, and is stopped by the failure number `most`. Its
    mark is taken back. None where it is elsewhere, or stopped already.
    """
    row = await conn.fetchrow(FAIL, tenant, name, *after, most, int(is_marked))
    return None if row is None else (row[0], row[1])


async def resume(conn: Connection, tenant: TenantId, name: str) -> bool:
    """Let a handler that has failed or stopped begin anew with the event that it failed at.

    Where processes ended at that event, it gets one try more.
    """
    return await conn.execute(RESUME, tenant, name) == "UPDATE 1"


async def stop(conn: Connection, tenant: TenantId, name: str, begun: int = 0) -> int | None:
    """Have a handler wait until it is resumed: after which number of its stream.

    None: it does already, or fewer have begun there than that.
    """
    after: int | None = await conn.fetchval(STOP, tenant, name, begun)
    return after


async def lock(conn: Connection, tenant: TenantId, name: str) -> bool:
    """Lock a handler to the end of the transaction; False where somebody is at it."""
    return await conn.fetchrow(LOCK, tenant, name) is not None


async def mark(conn: Connection, tenant: TenantId, name: str, after: Place, begun: int) -> bool:
    """Note that a process begins behind this place, where so many have begun. False where that is not so.

    Others wait before they begin there, as after a failure. The mark goes when the handler moves.
    """
    return await conn.execute(MARK, tenant, name, *after, begun) == "UPDATE 1"


async def unmark(conn: Connection, tenant: TenantId, name: str, after: Place) -> None:
    """Take that back."""
    await conn.execute(UNMARK, tenant, name, *after)


async def move(conn: Connection, tenant: TenantId, name: str, to: Place) -> None:
    """Let a handler go on behind this place, wherever it is. It waits for who is at it."""
    await conn.execute(MOVE, tenant, name, *to)


async def resume_all(conn: Connection, names: Sequence[str]) -> int:
    """The same for these handlers of all tenants; how many had failed. Unbound."""
    return int(await conn.fetchval(RESUME_ALL, names))


async def due(conn: Connection, names: Sequence[str], after: int, most: int) -> list[tuple[TenantId, str]]:
    """Which of these handlers may have something to do, by tenant, from the one behind `after`. Unbound."""
    return [(TenantId(row[0]), row[1]) for row in await conn.fetch(DUE, names, after, most)]


async def tenant_called(conn: Connection, public_id: UUID) -> TenantId | None:
    """The tenant with this id; None where there is none. Unbound."""
    found: int | None = await conn.fetchval(TENANT, public_id)
    return None if found is None else TenantId(found)


async def take(conn: Asked, tenant: TenantId, name: str, after: Place, patience: timedelta) -> str | None:
    """Lock a handler, if it stands behind this place, until the application's transaction ends.

    None where it does not, or somebody else is at it. `patience` is how long that transaction may lie idle.
    """
    taken: str | None = await conn.fetchval(TAKE, tenant, name, *after, patience)
    return taken


async def advance(conn: Asked, tenant: TenantId, name: str, taken: str, to: Place) -> None:
    """Move a handler that was taken. Raises asyncpg.InvalidTransactionStateError where that one has ended."""
    await conn.fetchval(ADVANCE, tenant, name, taken, *to)


async def database_of(conn: Asked) -> str:
    """A text that no other database has."""
    return str(await conn.fetchval(WHERE))


async def lock_start(conn: Asked) -> None:
    """Wait until no other process is at its start; to the end of the transaction."""
    await conn.fetchval(LOCK_START)


async def who(conn: Asked) -> str:
    """The role of a connection."""
    return str(await conn.fetchval(WHO))


async def is_in_ours(conn: Asked) -> bool:
    """Whether tables that are made without a schema's name would lie among ours.

    By default a user's own schema comes first, and that of one who is called `postroom` is ours.
    """
    return bool(await conn.fetchval(IN_OURS))


async def may_handle(conn: Connection, role: str) -> bool:
    """Whether this role may call `take` and `advance`."""
    return bool(await conn.fetchval(MAY, role, TOOLS))


async def let_handle(conn: Connection, role: str) -> None:
    """Let this role call `take` and `advance`, and nothing else. On a connection of the database's owner.

    Raises asyncpg.InsufficientPrivilegeError where that one may not.
    """
    schema, tools = await to_let_handle(conn, role)
    async with conn.transaction():
        await conn.execute(schema)
        await conn.execute(LIKE_SYSTEM)
        await conn.execute(tools)


async def to_let_handle(conn: Connection, role: str) -> tuple[str, str]:
    """The statements for that."""
    named = await conn.fetchval(QUOTED, role)
    return TO_SCHEMA.format(who=named), TO_TOOLS.format(who=named, tools=", ".join(TOOLS))
