"""Remove what is older than the log is kept, at a seal, so that what is left can be checked as before.

    1 ─▶ 2 ─▶ 3 ─▶ 4 ─▶ 5 ─▶ 6      the seal says: of this stream all up to 3 was removed, and 3's hash
    removed     │  └ the chain begins here, from that hash

It is a beginning of the log in the order of feeds, never a part from its middle. First it is marked, together
with the seal that vouches for it: from then on no reader is given it, and whose cursor stands within is told
so. A later round deletes it, when no transaction is left that had begun to read it.
"""

from datetime import datetime

from postroom.db.pool import Database
from postroom.ids import TenantId
from postroom.vault.sign import Signer

from . import store
from .seal import seal_within
from .store import removed

AT_ONCE = 100_000
"""Entries that one seal removes."""
STEP = 5_000
"""Entries that one transaction deletes."""


async def mark(db: Database, signer: Signer, tenant: TenantId, before: datetime) -> bool:
    """Take away the oldest entries that were logged before; whether there were any. There may be more.

    Raises `ChainBroken` where the log cannot be sealed: nothing is removed then that could tell why.
    """
    async with db.transaction(tenant) as conn:
        await store.lock_seals(conn, tenant)
        horizon, gone = await store.horizon(conn, tenant)
        above = gone[0] if gone else 0
        below = await removed.below(conn, tenant, above, horizon, before, AT_ONCE)
        ends = await removed.ends(conn, tenant, above, below)
        if ends:
            await seal_within(conn, signer, tenant, ends)
            await removed.put(conn, tenant, ends)
    return bool(ends)


async def sweep(db: Database, tenant: TenantId) -> int:
    """Delete what earlier rounds have marked; how much that was."""
    deleted, gone = 0, STEP
    while gone == STEP:
        async with db.transaction(tenant) as conn:
            gone = await removed.sweep(conn, tenant, STEP)
        deleted += gone
    return deleted
