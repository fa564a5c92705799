"""What recurs in an installation: one line a duty."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from functools import partial

from postroom.accounts.stale import tell_stale
from postroom.accounts.store import overdue
from postroom.alerts import store as alerts
from postroom.alerts.read import look
from postroom.alerts.tell import tell
from postroom.db.pool import Database
from postroom.events.model import ChainBroken
from postroom.events.remove import mark, sweep
from postroom.events.seal import seal
from postroom.events.seal import tell as tell_seal
from postroom.events.store import removed
from postroom.ids import TenantId
from postroom.jobs.duties import Duty
from postroom.jobs.store import queue
from postroom.people import store as people
from postroom.providers.slots import store as connections
from postroom.search import store as search
from postroom.sync.lapsed import tell_lapsed
from postroom.sync.perform import FULL_EVERY
from postroom.webhooks import store as webhooks

from .handlers import Work

KEEP = timedelta(days=30)  # jobs and alerts that are over
DELIVERIES = timedelta(days=7)  # what was tried to deliver
DELIVERED = 100  # the latest of each webhook that succeeded
STEP = 1000
SETTLED = 500  # mails whose words move in one transaction, so that a poll that falls due does not wait long


def duties(work: Work, *, polls: bool) -> Sequence[Duty]:
    """`polls`: whether accounts are kept up to date; no copy is stale that nobody promised to renew."""
    stale = Duty("accounts.stale", timedelta(minutes=1), partial(tell_stale, work.means.db, work.every))
    lapsed = Duty("sync.lapsed", timedelta(minutes=1), partial(tell_lapsed, work.means.db))
    return [
        Duty("alerts.look", timedelta(seconds=5), partial(_alert, work)),
        Duty("alerts.clean", timedelta(hours=1), partial(_clean_alerts, work.means.db)),
        Duty("sync.compare", timedelta(minutes=10), partial(_compare, work)),
        *([stale, lapsed] if polls else []),
        Duty("events.seal", timedelta(hours=1), partial(_seal, work)),
        Duty("events.remove", timedelta(hours=6), partial(_remove, work)),
        Duty("jobs.clean", timedelta(minutes=10), partial(_clean, work)),
        Duty("providers.sweep", timedelta(minutes=1), partial(_sweep, work.means.db)),
        Duty("webhooks.clean", timedelta(minutes=10), partial(_forget_deliveries, work.means.db)),
        Duty("search.settle", timedelta(seconds=2), partial(_settle, work)),
    ]


async def _alert(work: Work) -> None:
    """What the log says of trouble, kept and told to the operator."""
    db, ways = work.means.db, work.operator
    await look(db, [way.channel for way in ways])
    await tell(db, ways)


async def _clean_alerts(db: Database) -> None:
    gone = STEP
    while gone == STEP:
        async with db.unbound() as conn:
            gone = await alerts.clean(conn, KEEP, STEP)


async def _compare(work: Work) -> None:
    """Polls compare everything once a day; this is for accounts that are polled more seldom."""
    async with work.means.db.unbound() as conn:
        await overdue.compare_again(conn, FULL_EVERY)


async def _seal(work: Work) -> None:
    await _each_log(work.means.db, partial(_seal_of, work))


async def _seal_of(work: Work, tenant: TenantId) -> None:
    db, vault = work.means.db, work.vault
    try:
        await seal(db, vault.signer, tenant, vault.public_keys)
    except ChainBroken:
        await _tell_seal(db, tenant, is_refused=True)
        raise
    await _tell_seal(db, tenant, is_refused=False)


async def _tell_seal(db: Database, tenant: TenantId, *, is_refused: bool) -> None:
    async with db.transaction(tenant) as conn:
        found = await people.tenant_of(conn, tenant)
        await tell_seal(conn, tenant, found.public_id, is_refused=is_refused)


async def _remove(work: Work) -> None:
    """What an earlier round has marked is deleted, also where the log is kept for ever since."""
    await _each_log(work.means.db, partial(_remove_of, work))


async def _remove_of(work: Work, tenant: TenantId) -> None:
    db, vault, keep = work.means.db, work.vault, work.keep_events
    await sweep(db, vault.signer, tenant, vault.public_keys)
    if keep is not None:
        async with db.transaction(tenant) as conn:
            before = await removed.ago(conn, keep)
        while await mark(db, vault.signer, tenant, before, vault.public_keys):
            pass


async def _each_log(db: Database, do: Callable[[TenantId], Awaitable[object]]) -> None:
    """Every tenant's log. One that cannot be sealed does not keep the others from it."""
    after, broken = 0, list[ChainBroken]()
    while tenants := await _tenants(db, after):
        for tenant in tenants:
            try:
                await do(tenant)
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
