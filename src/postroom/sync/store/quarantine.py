"""All SQL of the quarantine: what is parked, folders that fail, and trying again at once."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from asyncpg import Connection

from postroom.ids import AccountId, FolderId, TenantId, new_public_id
from postroom.sync.quarantine import Entry, Kind

KINDS = (Kind.ACCOUNT, Kind.FOLDER, Kind.MESSAGE)

WAITING = """
    SELECT * FROM (
        SELECT 0 AS kind, a.id AS number, a.public_id AS id, a.id AS account_number, a.public_id AS account,
               a.address, NULL::uuid AS folder, NULL::text AS path, NULL::bigint AS uid,
               coalesce(a.last_sync_error ->> 'code', a.state) AS code, coalesce(a.reason, a.state) AS reason,
               a.failures AS attempts, coalesce(a.failing_since, a.last_sync_at, a.created_at) AS since,
               coalesce(a.last_sync_at, a.created_at) AS last_at,
               CASE a.state WHEN 'error' THEN a.next_sync_at ELSE a.retry_at END AS retry_at,
               NULL::bigint AS size, NULL::bytea AS digest
          FROM accounts_account a
         WHERE a.tenant_id = $1 AND a.state IN ('error', 'reauth_required')
        UNION ALL
        SELECT CASE p.uid WHEN 0 THEN 1 ELSE 2 END, p.id, p.public_id, a.id, a.public_id, a.address,
               f.public_id, f.path, nullif(p.uid, 0), p.code, p.reason, p.attempts, p.first_at, p.last_at,
               p.retry_at, coalesce(b.size, p.size), p.digest
          FROM sync_parked p
          JOIN mail_folder f ON f.tenant_id = p.tenant_id AND f.id = p.folder_id
          JOIN accounts_account a ON a.tenant_id = f.tenant_id AND a.id = f.account_id
          LEFT JOIN blobs_blob b ON b.tenant_id = p.tenant_id AND b.digest = p.digest
         WHERE p.tenant_id = $1 AND p.is_parked
    ) AS waiting
     WHERE ($2::bigint IS NULL OR account_number = $2) AND ($3::uuid[] IS NULL OR id = ANY($3))
       AND (kind, number) > ($4, $5)
     ORDER BY kind, number LIMIT $6
"""


async def waiting(
    conn: Connection,
    tenant: TenantId,
    *,
    account: AccountId | None = None,
    ids: Sequence[UUID] | None = None,
    after: tuple[int, int] | None = None,
    limit: int | None = None,
) -> list[Entry]:
    """What is parked, after a `place` in the list: accounts, then folders, then messages."""
    rows = await conn.fetch(WAITING, tenant, account, ids, *(after or (-1, 0)), limit)
    return [Entry(KINDS[row["kind"]], *row[1:]) for row in rows]


def place(entry: Entry) -> tuple[int, int]:
    """Where an entry stands in the list."""
    return KINDS.index(entry.kind), entry.number


COUNT = """
    SELECT count(*)
      FROM sync_parked p JOIN mail_folder f ON f.tenant_id = p.tenant_id AND f.id = p.folder_id
     WHERE p.tenant_id = $1 AND f.account_id = $2 AND p.is_parked
"""


async def count(conn: Connection, tenant: TenantId, account: AccountId) -> int:
    """Messages and folders of an account that are parked."""
    number: int = await conn.fetchval(COUNT, tenant, account)
    return number


RETRY = """
    UPDATE sync_parked SET retry_at = now()
     WHERE tenant_id = $1 AND public_id = ANY($2) AND retry_at > now()
"""


async def retry(conn: Connection, tenant: TenantId, ids: Sequence[UUID]) -> None:
    """The wait of these is over."""
    await conn.execute(RETRY, tenant, ids)


FAIL = """
    WITH before AS (
        SELECT is_parked FROM sync_parked WHERE tenant_id = $1 AND folder_id = $2 AND uid = 0
    )
    INSERT INTO sync_parked (tenant_id, folder_id, uid, public_id, validity, code, reason, attempts, retry_at)
    VALUES ($1, $2, 0, $3, 0, $4, $5, $6, now() + $7::interval)
    ON CONFLICT (folder_id, uid) DO UPDATE
       SET code = excluded.code, reason = excluded.reason, attempts = sync_parked.attempts + $6,
           last_at = now(), retry_at = now() + $7::interval * 2 ^ least(sync_parked.attempts, 10)
    RETURNING is_parked AND NOT coalesce((SELECT is_parked FROM before), false)
"""


async def fail(
    conn: Connection,
    tenant: TenantId,
    folder: FolderId,
    *,
    code: str,
    reason: str,
    times: int,
    retry: timedelta,
) -> bool:
    """Count failures of a folder, each of which doubles its wait; whether this one parks it."""
    is_new: bool = await conn.fetchval(FAIL, tenant, folder, new_public_id(), code, reason, times, retry)
    return is_new


MEND = """
    DELETE FROM sync_parked WHERE tenant_id = $1 AND folder_id = $2 AND uid = 0 RETURNING is_parked
"""


async def mend(conn: Connection, tenant: TenantId, folder: FolderId) -> bool:
    """Forget a folder's failures; whether it was parked."""
    return bool(await conn.fetchval(MEND, tenant, folder))
