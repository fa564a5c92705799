"""Tell of accounts whose copies grow old: each once, until it is up to date again."""

from datetime import timedelta

from postroom.accounts import change, store
from postroom.db.pool import Database

AGE = timedelta(hours=1)  # or three intervals, where those are longer
MOST = 1000


async def tell_stale(db: Database, every: timedelta) -> None:
    """`every`: the interval of accounts without their own."""
    async with db.unbound() as conn:
        found = await store.gone_stale(conn, AGE, every, MOST)
    for tenant, number in found:
        async with db.transaction(tenant) as conn:
            if await store.mark_stale(conn, tenant, number):
                account = await store.get_by_id(conn, tenant, number)
                await change.tell(conn, account, "accounts.stale")
