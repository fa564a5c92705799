"""Processes that sync one account again and again until they are killed.

python -m crash.syncing      a nursery of them
"""

import asyncio
from datetime import timedelta

from servers.nursery import forking
from sync.mailboxes import means

from postroom.accounts import store as accounts
from postroom.db.pool import Database
from postroom.db.roles import APP
from postroom.errors import PostroomError
from postroom.ids import AccountId, TenantId
from postroom.sync.perform import perform

EVERY = timedelta(minutes=15)
PATIENCE = timedelta(minutes=1)
A_MOMENT = 0.005  # seconds


async def sync(dsn: str, tenant: TenantId, account: AccountId) -> None:
    """For ever. When PostgreSQL is lost, as soon as it is there again."""
    db = Database(dsn, size=10, role=APP)
    while True:
        try:
            async with db.transaction(tenant) as conn:
                found = await accounts.get_by_id(conn, tenant, account)
            await perform(means(db), found, every=EVERY, grace=PATIENCE)
        except PostroomError:
            await asyncio.sleep(A_MOMENT)


if __name__ == "__main__":
    forking(sync)
