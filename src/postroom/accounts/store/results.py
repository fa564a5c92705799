"""SQL of how the last syncs of some accounts went."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from asyncpg import Connection

from postroom.ids import AccountId, TenantId

RESULTS = """
    SELECT id, public_id, sync_started_at, last_sync_at, last_sync_status, last_sync_error
      FROM accounts_account
     WHERE tenant_id = $1 AND id = ANY($2)
"""


@dataclass(frozen=True, slots=True)
class Result:
    public_id: UUID
    started_at: datetime | None  # set while a sync runs
    at: datetime | None
    status: str | None
    error: Mapping[str, Any] | None  # `code`, `message`


async def results(
    conn: Connection, tenant: TenantId, accounts: Sequence[AccountId]
) -> dict[AccountId, Result]:
    """Of these accounts; without those that are gone."""
    return {AccountId(row[0]): Result(*row[1:]) for row in await conn.fetch(RESULTS, tenant, accounts)}
