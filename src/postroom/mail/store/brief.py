"""What of messages and folders that an event names can be said in a line."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from asyncpg import Connection

from postroom.ids import TenantId
from postroom.mail.reading import Person

MESSAGES = """
    SELECT public_id, subject, sender_name, sender_address, received_at FROM mail_message
     WHERE tenant_id = $1 AND public_id = ANY($2::uuid[])
"""
PATHS = "SELECT public_id, path FROM mail_folder WHERE tenant_id = $1 AND public_id = ANY($2::uuid[])"


@dataclass(frozen=True, slots=True)
class Brief:
    subject: str
    sender: Person
    received_at: datetime


async def briefs(conn: Connection, tenant: TenantId, messages: Collection[UUID]) -> dict[UUID, Brief]:
    """Without those that are gone."""
    rows = await conn.fetch(MESSAGES, tenant, list(messages)) if messages else []
    return {row[0]: Brief(row[1], Person(row[2], row[3]), row[4]) for row in rows}


async def paths(conn: Connection, tenant: TenantId, folders: Collection[UUID]) -> dict[UUID, str]:
    """Without those that are gone."""
    rows = await conn.fetch(PATHS, tenant, list(folders)) if folders else []
    return {row[0]: row[1] for row in rows}
