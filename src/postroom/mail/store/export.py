"""Walks an account's mail as an export writes it: folder by folder, in the order of arrival."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from asyncpg import Connection

from postroom.ids import AccountId, FolderId, TenantId


@dataclass(frozen=True, slots=True)
class ExportFolder:
    id: FolderId
    path: str
    delimiter: str | None
    messages: int


@dataclass(frozen=True, slots=True)
class ExportEntry:
    """One placement, and where its bytes are."""

    uid: int
    flags: Sequence[str]
    received_at: datetime
    digest: bytes
    size: int


BEFORE_ALL = -(1 << 63)
"""What no uid comes before. Those below zero stand for numbers that are not known for the time being."""

FOLDERS = """
    SELECT f.id, f.path, f.delimiter,
           (SELECT count(*) FROM mail_placement p WHERE p.tenant_id = $1 AND p.folder_id = f.id) AS messages
      FROM mail_folder f
     WHERE f.tenant_id = $1 AND f.account_id = $2 AND f.selectable
     ORDER BY f.path
"""


async def folders(conn: Connection, tenant: TenantId, account: AccountId) -> list[ExportFolder]:
    """The folders that hold messages, or could."""
    return [ExportFolder(*row) for row in await conn.fetch(FOLDERS, tenant, account)]


ENTRIES = """
    SELECT p.uid, p.flags, m.received_at, m.digest, m.size
      FROM mail_placement p JOIN mail_message m ON m.tenant_id = p.tenant_id AND m.id = p.message_id
     WHERE p.tenant_id = $1 AND p.folder_id = $2 AND p.uid > $3
     ORDER BY p.uid LIMIT $4
"""


async def entries(
    conn: Connection, tenant: TenantId, folder: FolderId, after: int, most: int
) -> list[ExportEntry]:
    """The next messages of a folder behind a uid."""
    return [ExportEntry(*row) for row in await conn.fetch(ENTRIES, tenant, folder, after, most)]
