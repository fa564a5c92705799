"""SQL over how much an account may download."""

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
