"""Who gets the next connection of a pool."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from random import Random

from postroom.db.places import Places
from postroom.db.pool import open_pool
from postroom.ids import TenantId

ANN, BOB, CID = TenantId(1), TenantId(2), TenantId(3)


@dataclass
class Holder:
    """Somebody who takes a place and keeps it until told to leave."""

    places: Places
    tenant: TenantId | None
    has_it: asyncio.Event = field(default_factory=asyncio.Event)
    leaves: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        async with self.places.one(self.tenant):
            self.has_it.set()
            await self.leaves.wait()


async def settled() -> None:
    """Everybody who can go on has done so."""
    for _ in range(5):
        await asyncio.sleep(0)


@asynccontextmanager
async def hall(size: int) -> AsyncIterator[Callable[[TenantId | None], Holder]]:
    """Places, and a way to have somebody come in; all leave at the end."""
    places, holders = Places(size), list[Holder]()
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:

        def come(tenant: TenantId | None) -> Holder:
            holders.append(Holder(places, tenant))
            group.create_task(holders[-1].run())
            return holders[-1]

        yield come
        for holder in holders:
            holder.leaves.set()


async def test_a_tenant_leaves_a_quarter_to_others() -> None:
    async with hall(4) as come:
        anns = [come(ANN) for _ in range(10)]
        await settled()
        assert [ann.has_it.is_set() for ann in anns] == [True] * 3 + [False] * 7

        bob = come(BOB)
        await bob.has_it.wait()
        bob.leaves.set()
        await settled()
        assert not anns[3].has_it.is_set()  # what is free is not for her

        anns[0].leaves.set()
        await anns[3].has_it.wait()
        assert not anns[4].has_it.is_set()


async def test_whose_tenant_has_the_fewest_comes_first_and_then_who_has_waited_the_longest() -> None:
    async with hall(8) as come:
        first = [come(ANN) for _ in range(6)] + [come(BOB) for _ in range(2)]
        await settled()
        waiting = [come(BOB), come(CID), come(CID), come(None), come(BOB)]
        await settled()
        order = []
        for leaver in first[:5]:
            leaver.leaves.set()
            await settled()
            order.append(next(n for n, each in enumerate(waiting) if each.has_it.is_set() and n not in order))

    assert order == [1, 3, 2, 0, 4]  # CID and nobody have none; CID has one; BOB has two, and then three


async def test_small_pools_have_nothing_to_reserve() -> None:
    for size in (1, 2, 3):
        async with hall(size) as come:
            for _ in range(size):
                await come(ANN).has_it.wait()


async def test_what_belongs_to_nobody_can_have_all_places() -> None:
    async with hall(4) as come:
        for _ in range(4):
            await come(None).has_it.wait()


async def test_who_gives_up_while_waiting_costs_no_place() -> None:
    places = Places(1)
    async with asyncio.timeout(10), places.one(ANN):
        waiting = [asyncio.create_task(Holder(places, tenant).run()) for tenant in (ANN, BOB)]
        last = Holder(places, ANN)
        waiting.append(asyncio.create_task(last.run()))
        await settled()
        waiting[0].cancel()  # while it waits
    waiting[1].cancel()  # when its turn has just come
    async with asyncio.timeout(10):
        await last.has_it.wait()
        last.leaves.set()
        assert [type(end) for end in await asyncio.gather(*waiting, return_exceptions=True)] == [
            asyncio.CancelledError,
            asyncio.CancelledError,
            type(None),
        ]
        async with places.one(ANN):
            pass


async def test_places_are_never_more_nor_lost_however_they_are_taken_and_given_up() -> None:
    random, size = Random(1), 5
    places, held, most = Places(size), 0, 0

    async def use(tenant: TenantId | None, steps: int) -> None:
        nonlocal held, most
        async with places.one(tenant):
            held += 1
            most = max(most, held)
            try:
                for _ in range(steps):
                    await asyncio.sleep(0)
            finally:
                held -= 1

    async with asyncio.timeout(10):
        for _ in range(50):
            users = [
                asyncio.create_task(use(random.choice([None, ANN, BOB, CID]), random.randrange(4)))
                for _ in range(20)
            ]
            for _ in range(random.randrange(8)):
                await asyncio.sleep(0)
            for user in random.sample(users, 7):
                user.cancel()
            await asyncio.gather(*users, return_exceptions=True)
        async with AsyncExitStack() as stack:
            for _ in range(size):
                await stack.enter_async_context(places.one(None))

    assert most == size


async def test_slow_statements_of_one_tenant_keep_no_other_from_the_database(dsn: str) -> None:
    async with asyncio.timeout(30), open_pool(dsn, size=4) as db:

        async def sleep() -> None:
            async with db.transaction(ANN) as conn:
                await conn.execute("SELECT pg_sleep(600)")

        slow = [asyncio.create_task(sleep()) for _ in range(20)]
        await settled()
        for _ in range(10):
            async with db.transaction(BOB) as conn:
                assert await conn.fetchval("SELECT 1") == 1
            async with db.single() as conn:
                assert await conn.fetchval("SELECT 1") == 1
        for each in slow:
            each.cancel()
        await asyncio.gather(*slow, return_exceptions=True)
