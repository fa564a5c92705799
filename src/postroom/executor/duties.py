"""What recurs in an installation: one line a duty."""

from collections.abc import Sequence
from datetime import timedelta

from postroom.accounts import store as accounts
from postroom.accounts.stale import tell_stale
from postroom.db.pool import Database
from postroom.events.model import ChainBroken
from postroom.events.seal import seal
from postroom.ids import TenantId
from postroom.jobs.duties import Duty
from postroom.jobs.store import queue
from postroom.people import store as people
from postroom.search import store as search
from postroom.sync.perform import FULL_EVERY
from postroom.vault.sign import Signer

from .handlers import Work

KEEP = timedelta(days=30)  # jobs that are over
STEP = 1000
SETTLED = 500  # mails whose words move in one transaction, so that a poll that falls due does not wait long


def duties(work: Work) -> Sequence[Duty]:
    db = work.means.db

    async def compare() -> None:
        """Polls compare everything once a day; this is for accounts that are polled more seldom."""
        async with db.unbound() as conn:
            await accounts.compare_again(conn, FULL_EVERY)

    async def stale() -> None:
        await tell_stale(db, work.every)

    async def seals() -> None:
        """A log that cannot be sealed does not keep others from it."""
        after, broken = 0, list[ChainBroken]()
        while tenants := await _tenants(db, after):
            for tenant in tenants:
                broken += await _sealed(db, work.vault.signer, tenant)
                after = tenant
        if broken:
            raise broken[0]

    async def clean() -> None:
        gone = STEP
        while gone == STEP:
            async with db.unbound() as conn:
                gone = await queue.clean(conn, KEEP, STEP)

    async def settle() -> None:
        """Words move into the index in small steps, between which others come to write."""
        while await _settle(db):
            pass

    return [
        Duty("sync.compare", timedelta(minutes=10), compare),
        Duty("accounts.stale", timedelta(minutes=1), stale),
        Duty("events.seal", timedelta(hours=1), seals),
        Duty("jobs.clean", timedelta(minutes=10), clean),
        Duty("search.settle", timedelta(seconds=2), settle),
    ]


async def _tenants(db: Database, after: int) -> list[TenantId]:
    async with db.unbound() as conn:
        return await people.tenants(conn, after, STEP)


async def _sealed(db: Database, signer: Signer, tenant: TenantId) -> list[ChainBroken]:
    try:
        await seal(db, signer, tenant)
    except ChainBroken as error:
        return [error]
    return []


async def _settle(db: Database) -> bool:
    async with db.unbound() as conn:
        tenants = await search.unsettled(conn, 1)
    for tenant in tenants:
        async with db.transaction(tenant) as conn:
            await search.settle(conn, tenant, SETTLED)
    return bool(tenants)
