"""The SQL of the one row that tells which key seals the secrets of a database."""

from asyncpg import Connection

READ = "SELECT sealed FROM vault_check"
WRITE = "INSERT INTO vault_check (sealed) VALUES ($1) ON CONFLICT DO NOTHING"


async def read(conn: Connection) -> str | None:
    sealed: str | None = await conn.fetchval(READ)
    return sealed


async def write(conn: Connection, sealed: str) -> None:
    """Unless somebody was faster, whose commit this waits for."""
    await conn.execute(WRITE, sealed)


REPLACE = "UPDATE vault_check SET sealed = $2 WHERE sealed = $1"


async def replace(conn: Connection, before: str, sealed: str) -> None:
    await conn.execute(REPLACE, before, sealed)
