"""Tell of accounts whose copies grow old: each once, until it is up to date again."""

from datetime import timedelta

from postroom.accounts import change, store
from postroom.accounts.store import overdue
from postroom.db.model import Refused, Unreachable
from postroom.db.pool import Database
from postroom.ids import AccountId, TenantId
from postroom.jobs.guard import failure_of

AGE = timedelta(hours=1)  # or three intervals, where those are longer
MOST = 1000


async def tell_stale(db: Database, every: timedelta) -> None:
    """`every`: the interval of accounts without their own.

    One that cannot be told of does not keep the others from it; the first failure is raised at the end.
    """
    async with db.unbound() as conn:
        found = await overdue.gone_stale(conn, AGE, every, MOST)
    failures = []
    for tenant, number in found:
        failure = await failure_of(_tell(db, tenant, number))
        if isinstance(failure, Unreachable | Refused):
            raise failure
        failures += [failure] if failure else []
    if failures:
        raise failures[0]


async def _tell(db: Database, tenant: TenantId, number: AccountId) -> None:
    async with db.transaction(tenant) as conn:
        if await overdue.mark_stale(conn, tenant, number):
            account = await store.get_by_id(conn, tenant, number)
            await change.tell(conn, account, "accounts.stale")
