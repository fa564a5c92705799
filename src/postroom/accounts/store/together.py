"""SQL over many accounts of a tenant at once: what would be a statement for each is one for all."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from asyncpg import Connection

from postroom.accounts.model import Account
from postroom.ids import AccountId, TenantId

from . import COLUMNS, account_of

# Nobody is waited for: whose row somebody else has in hand is left out, so one account's trouble is its own.
BEGIN_SYNCS = f"""
    UPDATE accounts_account
       SET sync_started_at = now(), logins = logins + 1
     WHERE tenant_id = $1 AND id = ANY (ARRAY(
               SELECT a.id FROM accounts_account a
                WHERE a.tenant_id = $1 AND a.id = ANY($2) AND a.state = 'active'
                  AND a.compared_at >= now() - $3::interval AND a.last_sync_status = 'success'
                  AND a.logins = 0 AND a.login_after IS NULL
                  AND a.stale_at IS NULL AND a.throttled_until IS NULL
                ORDER BY a.id FOR NO KEY UPDATE SKIP LOCKED))
    RETURNING {COLUMNS}, secret
"""  # noqa: S608  constants only


async def begin_syncs(
    conn: Connection, tenant: TenantId, ids: Sequence[AccountId], *, full_every: timedelta
) -> list[tuple[Account, str | None]]:
    """Count a login of each, as `begin_sync` does: those of them that are well, with their sealed secrets.

    Left out is of what something else than an equal copy may be expected: what is in any trouble, was not
    compared in full for `full_every`, or has logins that nothing was heard of.
    """
    found = []
    for row in await conn.fetch(BEGIN_SYNCS, tenant, ids, full_every):
        values = dict(row)
        secret = values.pop("secret")
        found.append((account_of(values), secret))
    return found


@dataclass(frozen=True, slots=True)
class Success:
    account: AccountId
    version: int  # of the credentials that it was reached by
    wait: timedelta  # after which it is due again


SUCCEEDED = """
    UPDATE accounts_account a
       SET sync_started_at = NULL, last_sync_at = now(), last_sync_status = 'success', last_sync_error = NULL,
           sync_count = a.sync_count + 1, logins = 0, login_after = NULL,
           next_sync_at = now() + s.wait, wanted_at = now() + s.wait
      FROM unnest($2::bigint[], $3::int[], $4::interval[]) AS s (id, version, wait)
     WHERE a.tenant_id = $1 AND a.id = s.id AND a.credentials_version = s.version
       AND a.state IN ('active', 'paused')
    RETURNING a.id, a.state = 'active' AS is_active
"""


async def mark_syncs_succeeded(
    conn: Connection, tenant: TenantId, successes: Sequence[Success]
) -> set[AccountId]:
    """As `mark_sync_succeeded`, of accounts that were well before: those that are so still.

    What became of one that was paused, or got other credentials, is for others to say.
    """
    if not successes:
        return set()
    rows = sorted((one.account, one.version, one.wait) for one in successes)
    found = await conn.fetch(SUCCEEDED, tenant, *map(list, zip(*rows, strict=True)))
    return {row["id"] for row in found if row["is_active"]}


STOPPED = "UPDATE accounts_account SET sync_started_at = NULL WHERE tenant_id = $1 AND id = ANY($2)"


async def mark_syncs_stopped(conn: Connection, tenant: TenantId, ids: Sequence[AccountId]) -> None:
    await conn.execute(STOPPED, tenant, ids)
