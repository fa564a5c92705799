"""Sync accounts when their time has come, several at a time, until told to stop.

Any number of processes may run this over one database: claiming hands each due account to one of them, and
the account's lease keeps out whoever else syncs it. One account's trouble is its own.
"""

import asyncio
from collections.abc import Callable
from datetime import timedelta

import structlog

from postroom.accounts import store as accounts
from postroom.accounts.model import NoSuchAccount
from postroom.db.model import Busy, Unreachable
from postroom.db.pool import Database
from postroom.ids import AccountId, TenantId
from postroom.search import store as search

from .perform import Means, Outcome, perform

HOLD = timedelta(minutes=10)  # how late an account is when whoever claimed it dies
LOOK_EVERY = timedelta(seconds=1)
SETTLED = 500  # mails whose words move in one transaction, so that a poll that falls due does not wait long

logger = structlog.get_logger()


async def sync_due(
    means: Means,
    *,
    every: timedelta,
    parallel: int,
    told: Callable[[Outcome], None] = lambda _outcome: None,
) -> None:
    """Run until cancelled. `told` hears of each sync that ended."""
    free = asyncio.Semaphore(parallel)

    async def one(tenant: TenantId, number: AccountId) -> None:
        try:
            async with means.db.transaction(tenant) as conn:
                account = await accounts.get_by_id(conn, tenant, number)
            told(await perform(means, account, every=every))
        except (NoSuchAccount, Unreachable, Busy) as error:  # removed meanwhile; or the database is away
            logger.warning("sync.not_begun", account=number, code=error.code)
        except Exception:  # a bug of ours, around one job: it must not stop the other accounts' mail
            logger.exception("sync.crashed", account=number)
        finally:
            free.release()

    async with asyncio.TaskGroup() as group:
        running: set[asyncio.Task[None]] = set()
        while True:
            await free.acquire()
            if (claimed := await _claim(means.db)) is not None:
                task = group.create_task(one(*claimed))
                running.add(task)
                task.add_done_callback(running.discard)
                continue
            free.release()
            if running or not await _settle(means.db):
                await asyncio.sleep(LOOK_EVERY.total_seconds())


async def _settle(db: Database) -> bool:
    """Use a quiet moment to move words into the index; whether there was something to move."""
    try:
        async with db.unbound() as conn:
            tenants = await search.unsettled(conn, 1)
        for tenant in tenants:
            async with db.transaction(tenant) as conn:
                await search.settle(conn, tenant, SETTLED)
    except (Unreachable, Busy) as error:
        logger.warning("sync.not_settled", code=error.code)
        return False
    return bool(tenants)


async def _claim(db: Database) -> tuple[TenantId, AccountId] | None:
    try:
        async with db.unbound() as conn:
            claimed = await accounts.claim_due(conn, 1, HOLD)
    except (Unreachable, Busy) as error:
        logger.warning("sync.database_away", code=error.code)
        return None
    return claimed[0] if claimed else None
