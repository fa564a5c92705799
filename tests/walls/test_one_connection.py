"""Two tenants take turns on one connection, with every accident in between, and never see each other."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable

import asyncpg
import pytest
from servers.tenants import ONE, TWO

from postroom.db.model import Unreachable
from postroom.db.pool import Database, open_pool, savepoint
from postroom.ids import TenantId

TIMES = 10_000
TASKS = 4
SHOWN = """
    SELECT array_agg(DISTINCT tenant_id) FROM (
        SELECT tenant_id FROM db_lease UNION ALL SELECT tenant_id FROM accounts_account
        UNION ALL SELECT tenant_id FROM people_tenant) AS rows
"""
KEEP = """
    INSERT INTO db_lease (tenant_id, name, holder, token, expires_at) VALUES ($1, $2, 'me', 1, now())
    ON CONFLICT (tenant_id, name) DO UPDATE SET holder = excluded.holder
"""
END = "SELECT pg_terminate_backend($1, 5000)"


class Undone(Exception):
    """Rolls back."""


class Line:
    """Transactions of the one or the other tenant, or of none, each with an accident of its own."""

    def __init__(self, db: Database, owner: asyncpg.Connection, seed: int) -> None:
        self.db, self.owner, self.dice = db, owner, random.Random(seed)
        self.seen: Counter[str] = Counter()
        self.wrong: list[tuple[TenantId | None, object]] = []

    async def look(self, conn: asyncpg.Connection, tenant: TenantId | None) -> None:
        shown = await conn.fetchval(SHOWN)
        if shown != (None if tenant is None else [tenant]):
            self.wrong.append((tenant, shown))

    async def well(self, tenant: TenantId) -> None:
        async with self.db.transaction(tenant) as conn:
            await self.look(conn, tenant)
            await conn.execute(KEEP, tenant, f"lease {self.dice.randrange(5)}")

    async def of_none(self, _tenant: TenantId) -> None:
        async with self.db.unbound() as conn:
            await self.look(conn, None)

    async def single(self, _tenant: TenantId) -> None:
        async with self.db.single() as conn:
            await self.look(conn, None)

    async def undone(self, tenant: TenantId) -> None:
        async with self.db.transaction(tenant) as conn:
            await conn.execute(KEEP, tenant, "undone")
            raise Undone

    async def refused(self, tenant: TenantId) -> None:
        async with self.db.transaction(tenant) as conn:
            await conn.execute(KEEP, ONE if tenant == TWO else TWO, "not ours")

    async def failed(self, tenant: TenantId) -> None:
        async with self.db.transaction(tenant) as conn:
            await conn.execute("SELECT 1 / 0")

    async def hidden(self, tenant: TenantId) -> None:
        """A failed statement that somebody overlooks."""
        async with self.db.transaction(tenant) as conn:
            try:
                await conn.execute("SELECT 1 / 0")
            except asyncpg.DivisionByZeroError:
                return

    async def partly(self, tenant: TenantId) -> None:
        async with self.db.transaction(tenant) as conn:
            try:
                async with savepoint(conn):
                    await conn.execute("SELECT 1 / 0")
            except asyncpg.DivisionByZeroError:
                await self.look(conn, tenant)

    async def lost(self, tenant: TenantId) -> None:
        async with self.db.transaction(tenant) as conn:
            await self.owner.execute(END, conn.get_server_pid())
            await self.look(conn, tenant)

    async def cut_off(self, tenant: TenantId) -> None:
        """Cancelled at whatever it is doing then."""
        task = asyncio.create_task(self.well(tenant))
        for _ in range(self.dice.randrange(12)):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def too_slow(self, tenant: TenantId) -> None:
        async with asyncio.timeout(self.dice.random() / 1000), self.db.transaction(tenant) as conn:
            await conn.execute("SELECT pg_sleep(60)")

    async def go(self, times: int) -> None:
        """Accidents that cost a connection are rare: opening one takes as long as many transactions."""
        often: list[Callable[[TenantId], Awaitable[None]]] = [
            *[self.well] * 10,
            *(self.of_none, self.single, self.undone, self.refused, self.failed, self.hidden, self.partly),
        ]
        rare: list[Callable[[TenantId], Awaitable[None]]] = [self.lost, self.cut_off, self.too_slow]
        for _ in range(times):
            accident = self.dice.choice(rare if self.dice.random() < 0.03 else often)
            try:
                await accident(self.dice.choice((ONE, TWO)))
            except (Undone, TimeoutError, RuntimeError, Unreachable, asyncpg.PostgresError) as error:
                self.seen[type(error).__name__] += 1
            else:
                self.seen[accident.__name__] += 1


@pytest.mark.slow
@pytest.mark.usefixtures("tenants")
async def test_ten_thousand_transactions_on_one_connection_never_show_a_row_of_the_other(dsn: str) -> None:
    owner = await asyncpg.connect(dsn)
    async with open_pool(dsn, size=1) as db:
        lines = [Line(db, owner, seed) for seed in range(TASKS)]
        async with asyncio.timeout(240), asyncio.TaskGroup() as group:
            for line in lines:
                group.create_task(line.go(TIMES // TASKS))
    await owner.close()

    seen = sum((line.seen for line in lines), Counter[str]())
    assert [wrong for line in lines for wrong in line.wrong] == []
    assert seen.total() == TIMES
    assert seen["well"] > TIMES / 3
    assert all(seen[name] > 10 for name in ("TimeoutError", "Unreachable", "RuntimeError", "cut_off")), seen
    assert seen["InsufficientPrivilegeError"] > 100
