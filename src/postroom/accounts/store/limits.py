"""SQL over what its owner allows an account: how much it downloads, which folders have a connection."""

from asyncpg import Connection

from postroom.accounts.model import NoSuchAccount
from postroom.ids import AccountId, TenantId

SET_DAILY_BYTES = """
    UPDATE accounts_account
       SET settings = CASE WHEN $3::bigint IS NULL THEN settings - 'daily_bytes'
                           ELSE settings || jsonb_build_object('daily_bytes', $3::bigint) END,
           throttled_until = NULL, throttled_by = NULL
     WHERE tenant_id = $1 AND id = $2 RETURNING id
"""


async def set_daily_bytes(conn: Connection, tenant: TenantId, account: AccountId, most: int | None) -> None:
    """None: as its provider has it. What waits for another day is looked at anew. Raises `NoSuchAccount`."""
    if await conn.fetchval(SET_DAILY_BYTES, tenant, account, most) is None:
        raise NoSuchAccount("There is no such account.")


SET_WATCH_FOLDERS = """
    UPDATE accounts_account
       SET settings = CASE WHEN $3::text IS NULL THEN settings - 'watch_folders'
                           ELSE settings || jsonb_build_object('watch_folders', $3::text) END
     WHERE tenant_id = $1 AND id = $2 RETURNING id
"""


async def set_watch_folders(
    conn: Connection, tenant: TenantId, account: AccountId, pattern: str | None
) -> None:
    """Those that are watched beside the inbox; None: none. Raises `NoSuchAccount`."""
    if await conn.fetchval(SET_WATCH_FOLDERS, tenant, account, pattern) is None:
        raise NoSuchAccount("There is no such account.")
