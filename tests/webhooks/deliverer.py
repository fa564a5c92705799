"""Processes that deliver, to be killed.

python -m webhooks.deliverer      a nursery of them
"""

import asyncio

from servers.nursery import forking
from webhooks.receiving import running

from postroom.db.pool import open_pool
from postroom.vault.seal import Key, Vault

MATERIAL = b"a secret of this installation"


async def deliver(dsn: str) -> None:
    async with open_pool(dsn) as db, running(db, Vault([Key.derived(MATERIAL)])):
        await asyncio.Event().wait()


if __name__ == "__main__":
    forking(deliver)
