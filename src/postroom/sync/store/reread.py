"""All SQL of reading again: how far it has come, and parked messages whose bytes are kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from asyncpg import Connection

from postroom.ids import AccountId, FolderId, MessageId, TenantId

REACHED = "SELECT received_at, message_id FROM sync_reread WHERE tenant_id = $1 AND account_id = $2"
REACH = """
    INSERT INTO sync_reread (tenant_id, account_id, received_at, message_id) VALUES ($1, $2, $3, $4)
    ON CONFLICT (tenant_id, account_id)
    DO UPDATE SET received_at = excluded.received_at, message_id = excluded.message_id
"""
DONE = "DELETE FROM sync_reread WHERE tenant_id = $1 AND account_id = $2"
# Without flags it would be stored as unread. A folder that was numbered anew has it under another number.
KEPT = """
    SELECT p.id, p.folder_id, p.uid, p.validity, c.uid_next = 0 AS is_backfill, p.digest, b.size, p.flags,
           p.received_at
      FROM sync_parked p
      JOIN mail_folder f ON f.tenant_id = p.tenant_id AND f.id = p.folder_id
      JOIN sync_folder c ON c.tenant_id = p.tenant_id AND c.folder_id = f.id AND c.validity = p.validity
      JOIN blobs_blob b ON b.tenant_id = p.tenant_id AND b.digest = p.digest
     WHERE p.tenant_id = $1 AND f.account_id = $2 AND p.uid > 0 AND p.flags IS NOT NULL AND p.id > $3
     ORDER BY p.id LIMIT $4
"""
DOUBT = "UPDATE sync_folder SET modseq = NULL WHERE tenant_id = $1 AND folder_id = $2 AND modseq IS NOT NULL"

Place = tuple[datetime, MessageId]


@dataclass(frozen=True, slots=True)
class KeptMail:
    """A parked message whose bytes are kept, with its flags and date as they were when those came."""

    number: int
    folder: FolderId
    uid: int
    validity: int
    is_backfill: bool
    digest: bytes
    size: int
    flags: Sequence[str]
    received_at: datetime | None


async def reached(conn: Connection, tenant: TenantId, account: AccountId) -> Place | None:
    """The last message that reading all of an account again has come to, if that was begun."""
    row = await conn.fetchrow(REACHED, tenant, account)
    return None if row is None else (row["received_at"], row["message_id"])


async def reach(conn: Connection, tenant: TenantId, account: AccountId, place: Place) -> None:
    await conn.execute(REACH, tenant, account, *place)


async def done(conn: Connection, tenant: TenantId, account: AccountId) -> None:
    """The end is reached: the next time begins at the beginning."""
    await conn.execute(DONE, tenant, account)


async def kept(
    conn: Connection, tenant: TenantId, account: AccountId, after: int, limit: int
) -> list[KeptMail]:
    """Parked messages that can be read again, from the number after `after`."""
    return [KeptMail(*row) for row in await conn.fetch(KEPT, tenant, account, after, limit)]


async def doubt(conn: Connection, tenant: TenantId, folder: FolderId) -> None:
    """Let the next sync compare all flags of a folder: of one message they are as of another time."""
    await conn.execute(DOUBT, tenant, folder)
