"""What a sync that runs must not outlive: it is stopped in the transaction of the change.

paused, removed     what runs is asked to stop, what waits is cancelled
other credentials   what runs is asked to stop; behind it waits one with the new ones

A sync that is no job, such as that of a command, is asked by nobody: `unless_outgrown` looks for itself.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

from postroom.accounts import store as accounts
from postroom.accounts.model import Account, AccountState, NoSuchAccount
from postroom.db.beside import beside
from postroom.db.model import DATABASE_AWAY, LeaseHeld, LeaseLost
from postroom.db.pool import Connection, Database, hint
from postroom.jobs import store as jobs
from postroom.jobs.model import Job, State
from postroom.jobs.store import running
from postroom.providers.pool import of_account
from postroom.providers.slots import SESSIONS

from .ask import ACCOUNT, request
from .model import IsPaused, Outdated, key
from .remove import CUT_OFF, REMOVE, Farewell, in_case, nothing, removal, remove_account

PATIENCE = timedelta(seconds=2)  # in which what runs should have stopped
AGAIN = timedelta(seconds=0.05)
LOOK_EVERY = timedelta(seconds=0.5)


async def stop(conn: Connection, account: Account) -> None:
    """No sync of the account goes on, nor begins by itself."""
    await running.call_off(conn, account.tenant_id, account.id, key(account.id), ACCOUNT)
    hint(conn, SESSIONS, of_account(account.tenant_id, account.id))


async def begin_anew(conn: Connection, account: Account) -> None:
    """No sync goes on that began with other credentials; one with the new ones is asked for."""
    await running.stop(conn, account.tenant_id, key(account.id), ACCOUNT)
    hint(conn, SESSIONS, of_account(account.tenant_id, account.id))
    await request(conn, account)


async def remove(db: Database, account: Account, farewell: Farewell = nothing) -> Job | None:
    """Remove an account and everything of it; None: that is done. For `farewell` see `remove_account`.

    What copies it is asked to stop. Where that takes its time, or something else is at work on it, this job
    removes it as soon as may be. Raises `NoSuchAccount`.
    """
    tenant = account.tenant_id
    async with db.transaction(tenant) as conn:
        await accounts.lock(conn, tenant, account.id)
        await stop(conn, account)
        await accounts.begin_removal(conn, tenant, account.id, CUT_OFF)
        if await _running(conn, account) is None:
            await jobs.enqueue(conn, tenant, [in_case(account.id)])
    loop = asyncio.get_running_loop()
    until = loop.time() + PATIENCE.total_seconds()
    while loop.time() < until:
        try:
            await remove_account(db, account, farewell)
        except NoSuchAccount:  # somebody else has done it
            return None
        except (LeaseHeld, LeaseLost):
            await asyncio.sleep(AGAIN.total_seconds())
        else:
            return None
    async with db.transaction(tenant) as conn:
        wish = removal(account.id)
        joined = await running.join(conn, tenant, wish)
        if joined is None and (job := await _running(conn, account)):
            return job
        made = joined or (await jobs.enqueue(conn, tenant, [wish]))[0]
        return await jobs.get_by_id(conn, tenant, made.id)


async def _running(conn: Connection, account: Account) -> Job | None:
    """A removal of the account that runs as a job."""
    found = await jobs.page(
        conn, account.tenant_id, limit=1, state=State.RUNNING, kind=REMOVE, account=account.id
    )
    return found[0] if found else None


@asynccontextmanager
async def unless_outgrown(db: Database, account: Account) -> AsyncIterator[None]:
    """Let the block sync the account; it is ended when it shall not go on.

    Raises then why: `IsPaused`, `Outdated`, `NoSuchAccount`.
    """
    async with beside(_watch(db, account)):
        yield


async def _watch(db: Database, began: Account) -> None:
    while True:
        await asyncio.sleep(LOOK_EVERY.total_seconds())
        with suppress(*DATABASE_AWAY):
            async with db.transaction(began.tenant_id) as conn:
                today = await accounts.get_by_id(conn, began.tenant_id, began.id)
            if today.credentials_version != began.credentials_version:
                raise Outdated("It got other credentials while it was synced.")
            was = began.state, began.reason
            if today.state is AccountState.PAUSED and (today.state, today.reason) != was:
                raise IsPaused(today.reason or "It was paused while it was synced.")
