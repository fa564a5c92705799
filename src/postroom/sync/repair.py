"""Mend a copy that is not equal to its server.

    compare -> tell what was changed behind the log's back -> sync in full -> compare again

What is mended is told by the events of that sync, as if it had happened just now; after them `sync.repaired`
says that it was a repair, for somebody may want to know how the copy came to differ.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import structlog

from postroom.accounts.model import Account
from postroom.db import leases
from postroom.db.pool import Database
from postroom.events import log
from postroom.events.model import Event, stream_of
from postroom.events.replay import ImpossibleHistory, Replayed, replay

from .model import key
from .perform import Means, Outcome
from .retell import retell
from .store import retell as store
from .verify import FolderDifference, verify

PAGE = 10_000  # entries of the log

logger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Repair:
    """What was found, and what is left of it."""

    repaired: Sequence[FolderDifference]  # folders that differed less afterwards, with what was mended
    after: Sequence[FolderDifference]


async def repair(means: Means, account: Account, sync: Callable[[], Awaitable[Outcome]]) -> Repair:
    """Find out what differs, and mend it by a `sync` in full mode, which waits for its turn.

    Raises `LeaseHeld`, what the provider raises, and the error that the sync ends with.
    """
    before = await verify(means, account)
    if all(folder.is_equal for folder in before):
        return Repair((), before)
    await _own_up(means.db, account)
    outcome = await sync()
    if outcome.error is not None:
        raise outcome.error
    after = await verify(means, account)
    left = {folder.path: folder for folder in after}
    repaired = [mended for folder in before if (mended := _mended(folder, left.get(folder.path)))]
    if repaired:
        event = Event(
            "sync.repaired",
            {
                "account": str(account.public_id),
                "missing": sum(folder.missing for folder in repaired),
                "extra": sum(folder.extra for folder in repaired),
                "flags": sum(folder.flags_differ for folder in repaired),
            },
        )
        async with means.db.transaction(account.tenant_id) as conn:
            await log.append(conn, account.tenant_id, stream_of(account.id), [event])
    return Repair(repaired, after)


async def _own_up(db: Database, account: Account) -> None:
    """Let the log say what is stored, for the repair begins there. One that makes no sense is left alone."""
    tenant, number, stream = account.tenant_id, account.id, stream_of(account.id)
    async with leases.holding(db, tenant, key(number)) as lease:
        try:
            told = await _told(db, account)
        except ImpossibleHistory as error:
            logger.warning("sync.log_not_followed", account=number, why=error.message)
            return
        async with db.transaction(tenant) as conn:
            await leases.fence(conn, lease)
            await store.single(conn, tenant, number)
            stored = await store.stored(conn, tenant, number)
            found = retell(told, stored, await store.folders(conn, tenant, number))
            if found.lost:
                await store.unplace(conn, tenant, found.lost)
            await log.append(conn, tenant, stream, found.events)


async def _told(db: Database, account: Account) -> Replayed:
    told = Replayed()
    while True:
        async with db.transaction(account.tenant_id) as conn:
            entries = await log.read(
                conn, account.tenant_id, stream_of(account.id), after=told.seq, limit=PAGE
            )
        if not entries:
            return told
        replay(entries, told)


def _mended(before: FolderDifference, after: FolderDifference | None) -> FolderDifference | None:
    """What differs no more; None: nothing. A folder that is gone differs in nothing."""
    missing = max(0, before.missing - (after.missing if after else 0))
    extra = max(0, before.extra - (after.extra if after else 0))
    flags = max(0, before.flags_differ - (after.flags_differ if after else 0))
    if not (missing or extra or flags):
        return None
    return FolderDifference(before.path, before.server, before.stored, missing, extra, flags)
