"""Folders, and what lies in them."""

from array import array
from collections.abc import Sequence
from uuid import UUID

from asyncpg import Connection

from postroom.ids import AccountId, FolderId, TenantId, new_public_id
from postroom.mail.model import Folder
from postroom.providers.model import RemoteFolder

LIST = """
    SELECT id, public_id, account_id, name, path, role, selectable, object_id FROM mail_folder
     WHERE tenant_id = $1 AND account_id = $2 ORDER BY path
"""
SAVE = """
    INSERT INTO mail_folder
           (tenant_id, account_id, public_id, name, path, delimiter, role, selectable, object_id)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
    ON CONFLICT (tenant_id, account_id, name) DO UPDATE
       SET path = excluded.path, delimiter = excluded.delimiter, role = excluded.role,
           selectable = excluded.selectable, object_id = coalesce(excluded.object_id, mail_folder.object_id)
    RETURNING id, public_id, account_id, name, path, role, selectable, object_id
"""
# Folders may swap their names: first none has its own any more. No server has a name that begins with NUL.
RENAME_AWAY = """
    UPDATE mail_folder SET name = '\\x00'::bytea || int8send(id) WHERE tenant_id = $1 AND id = ANY($2)
"""
RENAME = """
    UPDATE mail_folder
       SET name = $3, path = $4, delimiter = $5, role = $6, object_id = coalesce($7, object_id)
     WHERE tenant_id = $1 AND id = $2
    RETURNING id, public_id, account_id, name, path, role, selectable, object_id
"""
REMOVE = "DELETE FROM mail_folder WHERE tenant_id = $1 AND id = $2"
UIDS = """
    SELECT uid FROM mail_placement WHERE tenant_id = $1 AND folder_id = $2 AND uid > $3 ORDER BY uid LIMIT $4
"""
ALL_UIDS = "SELECT uid FROM mail_placement WHERE tenant_id = $1 AND folder_id = $2"
FLAGS = """
    SELECT uid, flags FROM mail_placement WHERE tenant_id = $1 AND folder_id = $2 AND uid = ANY($3)
"""
SAMPLE = """
    SELECT p.uid, m.size, m.digest
      FROM mail_placement p JOIN mail_message m ON m.tenant_id = p.tenant_id AND m.id = p.message_id
     WHERE p.tenant_id = $1 AND p.folder_id = $2 AND p.uid = ANY($3)
"""
PIECE = 50_000  # uids read at a time


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
        remote.status.object_id if remote.status else None,
    )
    assert row is not None  # RETURNING after an upsert always yields a row
    return Folder(**row)


async def rename(
    conn: Connection, tenant: TenantId, renamed: Sequence[tuple[Folder, RemoteFolder]]
) -> list[Folder]:
    """Give folders their new names, all at once. No other folder may have one of these."""
    await conn.execute(RENAME_AWAY, tenant, [folder.id for folder, _ in renamed])
    found = []
    for folder, remote in renamed:
        now = (remote.name, remote.path, remote.delimiter, remote.role)
        theirs = remote.status.object_id if remote.status else None
        row = await conn.fetchrow(RENAME, tenant, folder.id, *now, theirs)
        assert row is not None  # we hold the account's lease
        found.append(Folder(**row))
    return found


async def remove(conn: Connection, tenant: TenantId, folder: FolderId) -> None:
    """Forget a folder. Its placements must have been displaced before."""
    await conn.execute(REMOVE, tenant, folder)


async def uids(conn: Connection, tenant: TenantId, folder: FolderId) -> "array[int]":
    """Every uid under which a message is known to lie here, ascending."""
    found = array("I")
    while True:
        rows = await conn.fetch(UIDS, tenant, folder, found[-1] if found else 0, PIECE)
        found.extend(row[0] for row in rows)
        if len(rows) < PIECE:
            return found


async def all_uids(conn: Connection, tenant: TenantId, folder: FolderId) -> Sequence[int]:
    """Those that stand for an unknown one, too; in no order."""
    return [row[0] for row in await conn.fetch(ALL_UIDS, tenant, folder)]


async def flags(
    conn: Connection, tenant: TenantId, folder: FolderId, uids: Sequence[int]
) -> dict[int, frozenset[str]]:
    """The flags of the placements under these uids."""
    rows = await conn.fetch(FLAGS, tenant, folder, uids)
    return {row["uid"]: frozenset(row["flags"]) for row in rows}


async def sample(
    conn: Connection, tenant: TenantId, folder: FolderId, uids: Sequence[int]
) -> dict[int, tuple[int, bytes]]:
    """Size and digest of some messages of a folder, by uid."""
    rows = await conn.fetch(SAMPLE, tenant, folder, uids)
    return {row["uid"]: (row["size"], row["digest"]) for row in rows}
