"""What it takes to see whether mailboxes are as they were, read of many accounts of a tenant at once."""

from collections.abc import Sequence

from asyncpg import Connection

from postroom.ids import AccountId, FolderId, TenantId
from postroom.mail.model import Folder
from postroom.sync.model import Cursor, key

BUSY = """
    SELECT a.id FROM unnest($2::bigint[], $3::text[]) AS a (id, key)
     WHERE EXISTS (SELECT FROM jobs_job j WHERE j.tenant_id = $1 AND j.key = a.key AND j.state = 'running')
        OR EXISTS (SELECT FROM db_lease l
                    WHERE l.tenant_id = $1 AND l.name = a.key AND l.expires_at > clock_timestamp())
        OR EXISTS (SELECT FROM mail_message m
                    WHERE m.tenant_id = $1 AND m.account_id = a.id AND m.unplaced_at IS NOT NULL)
        OR EXISTS (SELECT FROM mail_folder f JOIN sync_parked p ON p.tenant_id = $1 AND p.folder_id = f.id
                    WHERE f.tenant_id = $1 AND f.account_id = a.id)
"""


async def busy(conn: Connection, tenant: TenantId, ids: Sequence[AccountId]) -> set[AccountId]:
    """Those that somebody syncs now, or that have more to be done than the server could tell: mail that
    lies nowhere, or is parked.
    """
    return {row["id"] for row in await conn.fetch(BUSY, tenant, ids, [key(one) for one in ids])}


STORED = """
    SELECT f.id, f.public_id, f.account_id, f.name, f.path, f.role, f.selectable, f.object_id,
           c.validity, c.uid_next, c.modseq, c.messages
      FROM mail_folder f LEFT JOIN sync_folder c ON c.tenant_id = f.tenant_id AND c.folder_id = f.id
     WHERE f.tenant_id = $1 AND f.account_id = ANY($2)
"""


async def stored(
    conn: Connection, tenant: TenantId, ids: Sequence[AccountId]
) -> dict[AccountId, dict[bytes, tuple[Folder, Cursor | None]]]:
    """The folders of each, by raw name, and how far their copies go."""
    found: dict[AccountId, dict[bytes, tuple[Folder, Cursor | None]]] = {one: {} for one in ids}
    for number, public_id, account, name, path, role, selectable, object_id, *cursor in await conn.fetch(
        STORED, tenant, ids
    ):
        folder = Folder(FolderId(number), public_id, account, name, path, role, selectable, object_id)
        found[account][name] = folder, None if cursor[0] is None else Cursor(*cursor)
    return found
