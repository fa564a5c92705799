"""Forget an account: its mail, its content, its secret. The tenant's log remembers that it was."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import TypeAlias

from postroom.accounts import store as accounts
from postroom.accounts.model import Account
from postroom.blobs import store as blobs
from postroom.db import leases
from postroom.db.pool import Database
from postroom.events import log
from postroom.events.model import TENANT, Event
from postroom.ids import AccountId
from postroom.jobs import store as jobs
from postroom.jobs.model import Wish
from postroom.mail.store import write

from . import store
from .model import ASKED, key

Farewell: TypeAlias = Callable[[Account], Awaitable[None]]
"""Tells others that an account is gone, such as whoever gave its grant. Does not raise for their trouble."""
STEP = 1000  # messages in one transaction
REMOVE = "sync.remove"
SOON = timedelta(minutes=1)  # until then whoever began it is at it
LIMIT = timedelta(hours=6)
CUT_OFF = "It is being removed; resume it to copy its mail anew."


async def nothing(_account: Account) -> None: ...


async def remove_account(db: Database, account: Account, farewell: Farewell = nothing) -> None:
    """Delete everything of an account. Interrupted, it is finished by the next call.

    `farewell` is said while its secret is still known, last of all, and again where that was interrupted.

    Raises `LeaseHeld` while somebody is at work on the account, and `NoSuchAccount`.
    """
    tenant = account.tenant_id
    async with leases.holding(db, tenant, key(account.id)) as lease:
        async with db.transaction(tenant) as conn:
            await leases.fence(conn, lease)
            await accounts.begin_removal(conn, tenant, account.id, CUT_OFF)
        digests, deleted = None, 0
        while digests is None or digests:
            async with db.transaction(tenant) as conn:
                await leases.fence(conn, lease)
                digests = await write.forget(conn, tenant, account.id, STEP)
                await blobs.release(conn, tenant, digests)
            deleted += len(digests)
        await farewell(account)
        async with db.transaction(tenant) as conn:
            await leases.fence(conn, lease)
            await blobs.release(conn, tenant, await store.forget(conn, tenant, account.id))
            await jobs.forget(conn, tenant, account.id, REMOVE)
            await accounts.remove(conn, tenant, account.id)
            await log.append(
                conn, tenant, TENANT, [Event("accounts.removed", {"account": str(account.public_id)})]
            )
    async with db.transaction(tenant) as conn:
        await write.forgotten(conn, deleted)


def in_case(account: AccountId) -> Wish:
    """Should a removal that begins now be cut off, this finishes it; else it goes with the account."""
    return replace(removal(account), wait=SOON, is_kept=False)


def removal(account: AccountId) -> Wish:
    name = f"{key(account)}:remove"
    return Wish(REMOVE, account=account, key=key(account), dedupe=name, priority=ASKED, limit=LIMIT)
