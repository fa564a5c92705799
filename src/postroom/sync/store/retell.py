"""All SQL of comparing what is stored with what was told of it."""

from collections.abc import Sequence
from uuid import UUID

from asyncpg import Connection

from postroom.ids import AccountId, TenantId
from postroom.sync.retell import Lies

STORED = """
    SELECT m.public_id, f.public_id AS folder, p.flags, m.unplaced_at IS NOT NULL AS is_unplaced
      FROM mail_message m
      LEFT JOIN mail_placement p ON p.tenant_id = m.tenant_id AND p.message_id = m.id
      LEFT JOIN mail_folder f ON f.tenant_id = p.tenant_id AND f.id = p.folder_id
     WHERE m.tenant_id = $1 AND m.account_id = $2
"""
FOLDERS = "SELECT public_id FROM mail_folder WHERE tenant_id = $1 AND account_id = $2"
SINGLE = """
    DELETE FROM mail_placement p USING mail_folder f
     WHERE p.tenant_id = $1 AND f.tenant_id = $1 AND f.id = p.folder_id AND f.account_id = $2
       AND EXISTS (SELECT FROM mail_placement o
                    WHERE o.message_id = p.message_id AND o.folder_id = p.folder_id AND o.uid < p.uid)
"""
UNPLACE = """
    UPDATE mail_message m
       SET unplaced_at = now(), unplaced_from = l.folder, unplaced_flags = string_to_array(l.flags, ' ')
      FROM unnest($2::uuid[], $3::uuid[], $4::text[]) AS l (message, folder, flags)
     WHERE m.tenant_id = $1 AND m.public_id = l.message
"""


async def stored(conn: Connection, tenant: TenantId, account: AccountId) -> dict[str, Lies]:
    """Where every message of an account lies."""
    found: dict[str, Lies] = {}
    for row in await conn.fetch(STORED, tenant, account):
        lies = found.setdefault(str(row["public_id"]), Lies({}, row["is_unplaced"]))
        if row["folder"] is not None:
            lies.places[str(row["folder"])] = frozenset(row["flags"])
    return found


async def folders(conn: Connection, tenant: TenantId, account: AccountId) -> set[str]:
    return {str(row[0]) for row in await conn.fetch(FOLDERS, tenant, account)}


async def single(conn: Connection, tenant: TenantId, account: AccountId) -> None:
    """A message lies in a folder once: of several placements the lowest number stays."""
    await conn.execute(SINGLE, tenant, account)


async def unplace(
    conn: Connection, tenant: TenantId, lost: Sequence[tuple[str, str, frozenset[str]]]
) -> None:
    """These messages lie nowhere, and where they lay last is a folder that was told."""
    rows = [(UUID(message), UUID(folder), " ".join(sorted(flags))) for message, folder, flags in lost]
    await conn.execute(UNPLACE, tenant, *zip(*rows, strict=True))
