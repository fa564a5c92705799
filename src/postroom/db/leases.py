"""Leases with fencing: one holder at a time, and a late one cannot write.

    free --acquire--> held --renew--> held --release--> free
                       │ no renewal for `ttl`, or its process is seen to be dead
                       └--acquire by another--> held, token + 1

Time alone cannot make this safe: a holder that was paused believes that it still holds. So every
transaction that writes calls `fence`, which refuses an old token, and makes a takeover wait for the commit.
A row is never deleted, so tokens never start again. All times are the database's clock.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from weakref import WeakKeyDictionary

from postroom.db import process
from postroom.db.beside import beside
from postroom.db.model import Busy, Lease, LeaseHeld, LeaseLost, Unreachable
from postroom.db.pool import Connection, Database
from postroom.ids import TenantId

TTL = timedelta(seconds=12)
RENEWALS = 3  # in each period, so that two may fail

# The tokens of leases that could not be given back.
_kept: WeakKeyDictionary[Database, dict[tuple[TenantId, str], int]] = WeakKeyDictionary()

HELD = """
    SELECT holder, token
      FROM db_lease
     WHERE tenant_id = $1 AND name = $2 AND expires_at > clock_timestamp()
"""
TAKE = """
    UPDATE db_lease SET holder = $3, token = token + 1, expires_at = clock_timestamp() + $4::interval
     WHERE tenant_id = $1 AND name = $2 AND (expires_at <= clock_timestamp() OR token = $5)
    RETURNING token
"""
# Of several that are the first at once all but one do nothing. DO UPDATE would be for one unique key only,
# and the other one, which has the token, an error.
BEGIN = """
    INSERT INTO db_lease (tenant_id, name, holder, token, expires_at)
    VALUES ($1, $2, $3, 1, clock_timestamp() + $4::interval)
    ON CONFLICT DO NOTHING
    RETURNING token
"""
# A takeover waits for whoever has the row, but not for longer than a lease lasts: a process that is stopped
# in mid-transaction is cut off by then.
RENEW = """
    UPDATE db_lease SET expires_at = clock_timestamp() + $4::interval
     WHERE tenant_id = $1 AND name = $2 AND token = $3
    RETURNING token, set_config('idle_in_transaction_session_timeout', '12s', true)
"""
RELEASE = """
    UPDATE db_lease SET expires_at = clock_timestamp()
     WHERE tenant_id = $1 AND name = $2 AND token = $3
"""
FENCE = """
    SELECT token, set_config('idle_in_transaction_session_timeout', '12s', true)
      FROM db_lease
     WHERE tenant_id = $1 AND name = $2 AND token = $3
       FOR KEY SHARE
"""


async def acquire(
    db: Database, tenant: TenantId, name: str, holder: str, ttl: timedelta = TTL
) -> Lease | None:
    """The lease, or None when somebody else holds it.

    `holder` is a `process.identity()`. A holder on this machine whose process is gone loses the lease at
    once, so that whoever starts again after a kill -9 need not wait; and so does one of this process that
    could not give it back, because the database was away.
    """
    async with db.transaction(tenant) as conn:
        return await _acquired(db, conn, tenant, name, holder, ttl)


async def take(db: Database, conn: Connection, tenant: TenantId, name: str) -> Lease:
    """The lease, in a transaction that does more; then `hold` it at once. Raises `LeaseHeld`."""
    lease = await _acquired(db, conn, tenant, name, process.identity(), TTL)
    if lease is None:
        raise _held(name, TTL)
    return lease


async def _acquired(
    db: Database, conn: Connection, tenant: TenantId, name: str, holder: str, ttl: timedelta
) -> Lease | None:
    token = await conn.fetchval(TAKE, tenant, name, holder, ttl, None)
    if token is None:
        holding, held = await conn.fetchrow(HELD, tenant, name) or (None, None)
        is_ours = held is not None and held == _kept.get(db, {}).get((tenant, name))
        if holding is not None and not is_ours and not process.is_dead(holding):
            return None
        if held is not None:
            token = await conn.fetchval(TAKE, tenant, name, holder, ttl, held)
        if token is None:
            token = await conn.fetchval(BEGIN, tenant, name, holder, ttl)
    return None if token is None else Lease(tenant, name, token)


async def renew(db: Database, lease: Lease, ttl: timedelta = TTL) -> None:
    """Hold it for another `ttl`. Raises `LeaseLost` when somebody else has it."""
    async with db.transaction(lease.tenant) as conn:
        if await conn.fetchval(RENEW, lease.tenant, lease.name, lease.token, ttl) is None:
            raise _lost(lease)


async def release(db: Database, lease: Lease) -> None:
    """Give it back. One that was lost is left to its new holder."""
    async with db.transaction(lease.tenant) as conn:
        await conn.execute(RELEASE, lease.tenant, lease.name, lease.token)


async def is_held(conn: Connection, tenant: TenantId, name: str) -> bool:
    """Whether anybody holds it now, or died holding it a moment ago."""
    return await conn.fetchrow(HELD, tenant, name) is not None


async def fence(conn: Connection, lease: Lease) -> None:
    """Let this transaction write only while the lease is ours: until it ends, nobody can take over.

    Call it first in every transaction that writes under the lease. Raises `LeaseLost`.
    """
    if await conn.fetchval(FENCE, lease.tenant, lease.name, lease.token) is None:
        raise _lost(lease)


@asynccontextmanager
async def holding(db: Database, tenant: TenantId, name: str, *, ttl: timedelta = TTL) -> AsyncIterator[Lease]:
    """Hold a lease for as long as the block runs, renewed in the background.

    Raises `LeaseHeld` when somebody else has it. When it is lost, the block is cancelled and `LeaseLost`
    raised; the block's own errors come through as they are.
    """
    lease = await acquire(db, tenant, name, process.identity(), ttl)
    if lease is None:
        raise _held(name, ttl)
    async with hold(db, lease, ttl=ttl):
        yield lease


class Hold:
    """A lease that is held, until its last transaction or the end of the block."""

    def __init__(self, db: Database, lease: Lease) -> None:
        self.db, self.lease, self.is_over = db, lease, False
        self.renewing = asyncio.Lock()  # who renews what has been given back would hold it for nobody

    @asynccontextmanager
    async def last(self) -> AsyncIterator[Connection]:
        """The last transaction under the lease, which gives it back: both, or neither. Raises `LeaseLost`."""
        lease = self.lease
        async with self.renewing:
            async with self.db.transaction(lease.tenant, lasting_plans=True) as conn:
                if await conn.execute(RELEASE, lease.tenant, lease.name, lease.token) != "UPDATE 1":
                    raise _lost(lease)
                yield conn
            self.is_over = True


@asynccontextmanager
async def hold(db: Database, lease: Lease, *, ttl: timedelta = TTL) -> AsyncIterator[Hold]:
    """Hold a lease that was taken, as `holding` does."""
    held = Hold(db, lease)
    try:
        async with beside(_keep(held, ttl)):
            yield held
    finally:
        if not held.is_over:
            try:
                async with asyncio.timeout(2):
                    await release(db, lease)
            except (Unreachable, Busy, TimeoutError):  # then it runs out by itself, or we take it again
                _kept.setdefault(db, {})[lease.tenant, lease.name] = lease.token


async def _keep(held: Hold, ttl: timedelta) -> None:
    """Renew for ever. Raises `LeaseLost` when it is, or when nobody could be asked for a whole `ttl`."""
    now, lease = asyncio.get_running_loop().time, held.lease
    ends = now() + ttl.total_seconds()
    while True:
        await asyncio.sleep(ttl.total_seconds() / RENEWALS)
        asked = now()
        try:
            async with asyncio.timeout_at(ends), held.renewing:
                if held.is_over:
                    return
                await renew(held.db, lease, ttl)
            ends = asked + ttl.total_seconds()
        except (Unreachable, Busy, TimeoutError) as error:
            if now() >= ends:
                raise _lost(lease) from error


def _held(name: str, ttl: timedelta) -> LeaseHeld:
    return LeaseHeld(f"Another process is at work on {name}; try again later.", wait=ttl, name=name)


def _lost(lease: Lease) -> LeaseLost:
    return LeaseLost(
        f"Another process has taken over {lease.name}; it goes on with the work.", name=lease.name
    )
