"""SQL over the access tokens of accounts whose secret is a grant. Times are the database's own."""

from dataclasses import dataclass
from datetime import timedelta

from asyncpg import Connection

from postroom.accounts.model import Account


@dataclass(frozen=True, slots=True)
class Stored:
    """What is known of an account's token."""

    number: int
    secret: str | None  # sealed; None: none came yet
    is_fresh: bool  # not to be refreshed yet
    is_valid: bool  # not expired
    is_begun: bool  # a refresh was asked for, and nobody knows what came of it
    wait: timedelta | None  # the token server does not want to be asked for so long


READ = """
    SELECT number, secret, coalesce(refresh_at > now(), false) AS is_fresh,
           coalesce(expires_at > now(), false) AS is_valid, begun_at IS NOT NULL AS is_begun,
           CASE WHEN ask_after > now() THEN ask_after - now() END AS wait
      FROM accounts_token WHERE tenant_id = $1 AND account_id = $2 AND version = $3
"""


async def read(conn: Connection, account: Account) -> Stored | None:
    """Of the account's credentials as `account` has them; None: nothing yet."""
    row = await conn.fetchrow(READ, account.tenant_id, account.id, account.credentials_version)
    return Stored(**row) if row else None


BEGIN = """
    INSERT INTO accounts_token AS t (tenant_id, account_id, version, begun_at)
    SELECT a.tenant_id, a.id, a.credentials_version, now() FROM accounts_account a
     WHERE a.tenant_id = $1 AND a.id = $2 AND a.credentials_version = $3
    ON CONFLICT (tenant_id, account_id) DO UPDATE
       SET begun_at = now(), version = excluded.version,
           secret = CASE WHEN t.version = excluded.version THEN t.secret END,
           refresh_at = CASE WHEN t.version = excluded.version THEN t.refresh_at END,
           expires_at = CASE WHEN t.version = excluded.version THEN t.expires_at END
    RETURNING number
"""


async def begin(conn: Connection, account: Account) -> int | None:
    """A token server is about to be asked: the number to `keep` or `end` it with.

    None where the account has other credentials by now, or is gone.
    """
    number: int | None = await conn.fetchval(
        BEGIN, account.tenant_id, account.id, account.credentials_version
    )
    return number


KEEP = """
    UPDATE accounts_token
       SET secret = $5, number = number + 1, refresh_at = now() + $6::interval,
           expires_at = now() + $7::interval, begun_at = NULL, ask_after = NULL
     WHERE tenant_id = $1 AND account_id = $2 AND version = $3 AND number = $4
    RETURNING number
"""


async def keep(
    conn: Connection, account: Account, number: int, secret: str, *, fresh: timedelta, life: timedelta
) -> bool:
    """Store an answer, sealed. False: there are other credentials, or another answer, by now."""
    values = (account.tenant_id, account.id, account.credentials_version, number, secret, fresh, life)
    return await conn.fetchval(KEEP, *values) is not None


END = """
    UPDATE accounts_token
       SET begun_at = CASE WHEN $5 THEN begun_at END, ask_after = now() + $6::interval
     WHERE tenant_id = $1 AND account_id = $2 AND version = $3 AND number = $4
"""


async def end(
    conn: Connection, account: Account, number: int, *, is_unsure: bool, wait: timedelta | None
) -> None:
    """No token came. `is_unsure`: the refresh token may be spent; `wait`: the server's own word, if any."""
    version = account.credentials_version
    await conn.execute(END, account.tenant_id, account.id, version, number, is_unsure, wait)
