"""All SQL of cursors and parked messages."""

from collections.abc import Sequence
from datetime import timedelta

from asyncpg import Connection

from postroom.ids import AccountId, FolderId, TenantId, new_public_id
from postroom.sync import model
from postroom.sync.model import Cursor, Failure, Parked, Released

CURSORS = """
    SELECT c.folder_id, c.validity, c.uid_next, c.modseq, c.messages
      FROM sync_folder c
     WHERE c.tenant_id = $1
       AND c.folder_id = ANY (ARRAY(SELECT id FROM mail_folder WHERE tenant_id = $1 AND account_id = $2))
"""
MOVE = """
    INSERT INTO sync_folder (tenant_id, folder_id, validity, uid_next, modseq, messages)
    VALUES ($1, $2, $3, $4, $5, $6)
    ON CONFLICT (folder_id) DO UPDATE
       SET validity = excluded.validity, uid_next = excluded.uid_next, modseq = excluded.modseq,
           messages = excluded.messages
"""
PARK = """
    WITH before AS (
        SELECT digest, is_parked FROM sync_parked WHERE tenant_id = $1 AND folder_id = $2 AND uid = $3
    )
    INSERT INTO sync_parked (tenant_id, folder_id, uid, public_id, validity, code, reason, size, digest,
                             flags, received_at, retry_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, now() + $12::interval)
    ON CONFLICT (folder_id, uid) DO UPDATE
       SET validity = excluded.validity, code = excluded.code, reason = excluded.reason,
           attempts = sync_parked.attempts + 1, last_at = now(),
           size = coalesce(excluded.size, sync_parked.size),
           digest = coalesce(excluded.digest, sync_parked.digest),
           flags = coalesce(excluded.flags, sync_parked.flags),
           received_at = coalesce(excluded.received_at, sync_parked.received_at),
           retry_at = now() + $12::interval * 2 ^ least(sync_parked.attempts, 8)
    RETURNING NOT coalesce((SELECT is_parked FROM before), false) AS is_new,
              CASE WHEN $9 IS NOT NULL THEN (SELECT digest FROM before) END AS replaced
"""
SUSPECT = """
    INSERT INTO sync_parked (tenant_id, folder_id, uid, public_id, validity, code, reason, attempts, retry_at)
    SELECT $1, $2, s.uid, s.public_id, $3, $4, $5, 0, now()
      FROM unnest($6::bigint[], $7::uuid[]) AS s (uid, public_id)
    ON CONFLICT (folder_id, uid) DO UPDATE SET code = excluded.code, reason = excluded.reason
"""
RELEASE = """
    DELETE FROM sync_parked
     WHERE tenant_id = $1 AND folder_id = $2 AND uid <> 0 AND ($3::bigint[] IS NULL OR uid = ANY($3))
    RETURNING uid, is_parked, digest
"""
FORGET = """
    DELETE FROM sync_parked p USING mail_folder f
     WHERE p.tenant_id = $1 AND f.tenant_id = $1 AND f.id = p.folder_id AND f.account_id = $2
    RETURNING p.digest
"""
PARKED = """
    SELECT p.folder_id, p.uid, p.validity, p.code, p.reason, p.attempts, p.retry_at,
           p.retry_at <= now() AS is_due, p.digest, p.is_parked
      FROM sync_parked p
     WHERE p.tenant_id = $1
       AND p.folder_id = ANY (ARRAY(SELECT id FROM mail_folder WHERE tenant_id = $1 AND account_id = $2))
     ORDER BY p.folder_id, p.uid
"""


async def cursors(conn: Connection, tenant: TenantId, account: AccountId) -> dict[FolderId, Cursor]:
    return {row["folder_id"]: Cursor(*row[1:]) for row in await conn.fetch(CURSORS, tenant, account)}


async def move(conn: Connection, tenant: TenantId, folder: FolderId, cursor: Cursor) -> None:
    """Move a folder's cursor, in the transaction that stores the last of what it covers."""
    await conn.execute(MOVE, tenant, folder, cursor.validity, cursor.uid_next, cursor.modseq, cursor.messages)


async def park(
    conn: Connection, tenant: TenantId, folder: FolderId, uid: int, failure: Failure, retry: timedelta
) -> tuple[bool, list[bytes]]:
    """Set a message aside. Each failure doubles the wait, up to 256 times.

    Returns whether it was not parked before, and the digest of content kept before that this one's replaces.
    """
    row = await conn.fetchrow(
        PARK,
        tenant,
        folder,
        uid,
        new_public_id(),
        failure.validity,
        failure.code,
        failure.reason,
        failure.size,
        failure.digest,
        None if failure.flags is None else sorted(failure.flags),
        failure.received_at,
        retry,
    )
    assert row is not None  # RETURNING after an upsert always yields a row
    return row["is_new"], [] if row["replaced"] is None else [row["replaced"]]


async def suspect(
    conn: Connection, tenant: TenantId, folder: FolderId, uids: Sequence[int], *, validity: int, reason: str
) -> None:
    """Set messages aside for the next sync: one of them may be what cannot be fetched."""
    names = [new_public_id() for _ in uids]
    await conn.execute(SUSPECT, tenant, folder, validity, model.SUSPECT, reason, uids, names)


async def release(
    conn: Connection, tenant: TenantId, folder: FolderId, uids: Sequence[int] | None
) -> list[Released]:
    """Forget that these messages were parked, None: all of the folder. The caller releases their blobs."""
    return [Released(*row) for row in await conn.fetch(RELEASE, tenant, folder, uids)]


async def forget(conn: Connection, tenant: TenantId, account: AccountId) -> list[bytes]:
    """`release` for all of an account that is going."""
    rows = await conn.fetch(FORGET, tenant, account)
    return [row["digest"] for row in rows if row["digest"] is not None]


IS_WAITING = """
    SELECT EXISTS (SELECT FROM sync_parked
                    WHERE tenant_id = $1 AND folder_id = $2 AND uid <> 0 AND code <> $3)
"""


async def is_waiting(conn: Connection, tenant: TenantId, folder: FolderId, but: str) -> bool:
    """Whether some message of a folder could not be had, for another reason than `but`."""
    return bool(await conn.fetchval(IS_WAITING, tenant, folder, but))


async def parked(conn: Connection, tenant: TenantId, account: AccountId) -> list[Parked]:
    return [Parked(*row) for row in await conn.fetch(PARKED, tenant, account)]
