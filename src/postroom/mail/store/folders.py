"""Folders, and what lies in them."""

from collections.abc import Sequence
from uuid import UUID

from asyncpg import Connection

from postroom.ids import AccountId, FolderId, TenantId, new_public_id
from postroom.mail.model import Folder
from postroom.providers.model import RemoteFolder

LIST = """
    SELECT id, public_id, account_id, name, path, role, selectable FROM mail_folder
     WHERE tenant_id = $1 AND account_id = $2 ORDER BY path
"""
SAVE = """
    INSERT INTO mail_folder (tenant_id, account_id, public_id, name, path, delimiter, role, selectable)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
    ON CONFLICT (tenant_id, account_id, name) DO UPDATE
       SET path = excluded.path, delimiter = excluded.delimiter, role = excluded.role,
           selectable = excluded.selectable
    RETURNING id, public_id, account_id, name, path, role, selectable
"""
REMOVE = "DELETE FROM mail_folder WHERE tenant_id = $1 AND id = $2"
UIDS = "SELECT uid FROM mail_placement WHERE tenant_id = $1 AND folder_id = $2 ORDER BY uid"
FLAGS = """
    SELECT uid, flags FROM mail_placement WHERE tenant_id = $1 AND folder_id = $2 AND uid BETWEEN $3 AND $4
"""


async def listed(conn: Connection, tenant: TenantId, account: AccountId) -> dict[bytes, Folder]:
    """The folders that we know of an account, by raw name."""
    return {row["name"]: Folder(**row) for row in await conn.fetch(LIST, tenant, account)}


async def save(
    conn: Connection,
    tenant: TenantId,
    account: AccountId,
    remote: RemoteFolder,
    public_id: UUID | None = None,
) -> Folder:
    """Store a folder, or bring what is stored up to date."""
    row = await conn.fetchrow(
        SAVE,
        tenant,
        account,
        public_id or new_public_id(),
        remote.name,
        remote.path,
        remote.delimiter,
        remote.role,
        remote.selectable,
    )
    assert row is not None  # RETURNING after an upsert always yields a row
    return Folder(**row)


async def remove(conn: Connection, tenant: TenantId, folder: FolderId) -> None:
    """Forget a folder. Its placements must have been displaced before."""
    await conn.execute(REMOVE, tenant, folder)


async def uids(conn: Connection, tenant: TenantId, folder: FolderId) -> Sequence[int]:
    """Every uid that has a placement, ascending."""
    return [row[0] for row in await conn.fetch(UIDS, tenant, folder)]


async def flags(
    conn: Connection, tenant: TenantId, folder: FolderId, first: int, last: int
) -> dict[int, frozenset[str]]:
    """The flags of the placements from uid `first` to `last`, both included."""
    rows = await conn.fetch(FLAGS, tenant, folder, first, last)
    return {row["uid"]: frozenset(row["flags"]) for row in rows}
