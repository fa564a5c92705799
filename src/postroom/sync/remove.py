"""Forget an account: its mail, its content, its secret. The tenant's log remembers that it was."""

from postroom.accounts import store as accounts
from postroom.accounts.model import Account
from postroom.blobs import store as blobs
from postroom.db import leases
from postroom.db.pool import Database
from postroom.events import log
from postroom.events.model import TENANT, Event
from postroom.mail.store import write

from . import store

STEP = 1000  # messages in one transaction
CUT_OFF = "Its removal was cut off; remove it once more, or resume it to copy its mail anew."


async def remove_account(db: Database, account: Account) -> None:
    """Delete everything of an account. Interrupted, it is finished by the next call.

    Raises `LeaseHeld` while the account is being synced, and `NoSuchAccount`.
    """
    tenant = account.tenant_id
    async with leases.holding(db, tenant, f"sync.account:{account.id}") as lease:
        async with db.transaction(tenant) as conn:
            await leases.fence(conn, lease)
            await accounts.begin_removal(conn, tenant, account.id, CUT_OFF)
        digests = None
        while digests is None or digests:
            async with db.transaction(tenant) as conn:
                await leases.fence(conn, lease)
                digests = await write.forget(conn, tenant, account.id, STEP)
                await blobs.release(conn, tenant, digests)
        async with db.transaction(tenant) as conn:
            await leases.fence(conn, lease)
            await blobs.release(conn, tenant, await store.forget(conn, tenant, account.id))
            await accounts.remove(conn, tenant, account.id)
            await log.append(
                conn, tenant, TENANT, [Event("accounts.removed", {"account": str(account.public_id)})]
            )
