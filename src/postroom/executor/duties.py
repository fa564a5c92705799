"""What recurs in an installation: one line a duty."""

from collections.abc import Sequence
from datetime import timedelta
from functools import partial

from postroom.accounts.stale import tell_stale
from postroom.accounts.store import overdue
from postroom.db.pool import Database
from postroom.events.model import ChainBroken
from postroom.events.seal import seal
from postroom.ids import TenantId
from postroom.jobs.duties import Duty
from postroom.jobs.store import queue
from postroom.people import store as people
from postroom.providers.slots import store as connections
from postroom.search import store as search
from postroom.sync.perform import FULL_EVERY
from postroom.webhooks import store as webhooks

from .handlers import Work

KEEP = timedelta(days=30)  # jobs that are over
DELIVERIES = timedelta(days=7)  # what was tried to deliver
DELIVERED = 100  # the latest of each webhook that succeeded
STEP = 1000
SETTLED = 500  # mails whose words move in one transaction, so that a poll that falls due does not wait long


def duties(work: Work, *, polls: bool) -> Sequence[Duty]:
    """`polls`: whether accounts are kept up to date; no copy is stale that nobody promised to renew."""
    stale = Duty("accounts.stale", timedelta(minutes=1), partial(tell_stale, work.means.db, work.every))
    return [
        Duty("sync.compare", timedelta(minutes=10), partial(_compare, work)),
        *([stale] if polls else []),
        Duty("events.seal", timedelta(hours=1), partial(_seal, work)),
        Duty("jobs.clean", timedelta(minutes=10), partial(_clean, work)),
        Duty("providers.sweep", timedelta(minutes=1), partial(_sweep, work.means.db)),
        Duty("webhooks.clean", timedelta(minutes=10), partial(_forget_deliveries, work.means.db)),
        Duty("search.settle", timedelta(seconds=2), partial(_settle, work)),
    ]


async def _compare(work: Work) -> None:
    """Polls compare everything once a day; this is for accounts that are polled more seldom."""
    async with work.means.db.unbound() as conn:
        await overdue.compare_again(conn, FULL_EVERY)


async def _seal(work: Work) -> None:
    """Every tenant's log. One that cannot be sealed does not keep the others from it."""
    db, after, broken = work.means.db, 0, list[ChainBroken]()
    while tenants := await _tenants(db, after):
        for tenant in tenants:
            try:
                await seal(db, work.vault.signer, tenant)
            except ChainBroken as error:
                broken.append(error)
            after = tenant
    if broken:
        raise broken[0]


async def _tenants(db: Database, after: int) -> list[TenantId]:
    async with db.unbound() as conn:
        return await people.tenants(conn, after, STEP)


async def _clean(work: Work) -> None:
    gone = STEP
    while gone == STEP:
        async with work.means.db.unbound() as conn:
            gone = await queue.clean(conn, KEEP, STEP)


async def _sweep(db: Database) -> None:
    """Connections of processes that are gone: they count for nothing, and nobody asks for their accounts."""
    async with db.single() as conn:
        await connections.sweep(conn)


async def _forget_deliveries(db: Database) -> None:
    async with db.single() as conn:
        await webhooks.clean(conn, DELIVERIES, DELIVERED)


async def _settle(work: Work) -> None:
    """Words move into the index in small steps, between which others come to write."""
    db = work.means.db
    tenants = [TenantId(0)]
    while tenants:
        async with db.unbound() as conn:
            tenants = await search.unsettled(conn, 1)
        for tenant in tenants:
            async with db.transaction(tenant) as conn:
                await search.settle(conn, tenant, SETTLED)
