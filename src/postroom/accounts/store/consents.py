"""SQL over consents that were asked for, and from which nobody has come back."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from asyncpg import Connection

from postroom.ids import AccountId, TenantId

MOST = 1000
"""Of one tenant: of more the oldest are forgotten."""


@dataclass(frozen=True, slots=True)
class Stored:
    tenant: TenantId
    browser: bytes | None  # SHA-256 of what the browser shows that it began in; None: that is not known
    client: str
    secret: str  # sealed
    at: datetime  # when it was used, by the database's clock


CLEAR = """
    DELETE FROM accounts_consent
     WHERE tenant_id = $1
       AND (expires_at <= now()
            OR id <= (SELECT id FROM accounts_consent
                       WHERE tenant_id = $1 ORDER BY id DESC OFFSET $2 LIMIT 1))
"""
ADD = """
    INSERT INTO accounts_consent (tenant_id, state, browser, client, account_id, secret, expires_at)
    VALUES ($1, $2, $3, $4, $5, $6, now() + $7::interval)
    RETURNING expires_at
"""


async def add(
    conn: Connection,
    tenant: TenantId,
    state: bytes,
    *,
    browser: bytes | None,
    client: str,
    account: AccountId | None,
    secret: str,
    good_for: timedelta,
) -> datetime:
    """Until when it is good. `state` is the SHA-256 of it; what is over of the tenant's is forgotten."""
    await conn.execute(CLEAR, tenant, MOST - 1)
    until: datetime = await conn.fetchval(ADD, tenant, state, browser, client, account, secret, good_for)
    return until


USE = "SELECT tenant, browser, client, secret, now() AS at FROM accounts_use_consent($1)"


async def use(conn: Connection, state: bytes) -> Stored | None:
    """Whose consent this is, which from now on is nobody's. None: it is not good. Unbound."""
    row = await conn.fetchrow(USE, state)
    if row is None:
        return None
    return Stored(TenantId(row["tenant"]), row["browser"], row["client"], row["secret"], row["at"])
