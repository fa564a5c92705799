"""SQL over accounts whose copies have grown old."""

from datetime import timedelta

from asyncpg import Connection

from postroom.ids import AccountId, TenantId

GONE_STALE = "SELECT tenant_id, account_id FROM accounts_overdue($1, $2, $3)"
MARK_STALE = """
    UPDATE accounts_account SET stale_at = now()
     WHERE tenant_id = $1 AND id = $2 AND stale_at IS NULL AND state IN ('active', 'error')
       AND wanted_at < now()
    RETURNING id
"""


async def gone_stale(
    conn: Connection, age: timedelta, every: timedelta, most: int
) -> list[tuple[TenantId, AccountId]]:
    """Accounts of all tenants that should have been brought up to date `age` or three intervals ago, and were
    not told of. A copy that grows is none of them.

    The transaction is bound to no tenant.
    """
    rows = await conn.fetch(GONE_STALE, age, every, most)
    return [(TenantId(row["tenant_id"]), AccountId(row["account_id"])) for row in rows]


async def mark_stale(conn: Connection, tenant: TenantId, account: AccountId) -> bool:
    """Whether that is news, and no sync has succeeded in this moment."""
    return await conn.fetchval(MARK_STALE, tenant, account) is not None


COMPARE_AGAIN = "SELECT accounts_compare_again($1)"


async def compare_again(conn: Connection, age: timedelta) -> int:
    """Let accounts that were not compared in full for so long be due at once; how many."""
    return int(await conn.fetchval(COMPARE_AGAIN, age))
