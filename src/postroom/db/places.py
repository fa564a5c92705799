"""Who gets the next connection of a pool: no tenant all of them, and the one that holds the fewest first.

    one is free, and the tenant below its share    at once
    otherwise                                      when somebody leaves: whose tenant holds the fewest, and of
                                                   several whoever has waited the longest

A tenant's share is three quarters of the pool, so the slow statements of one leave others some; several such
tenants take turns with everybody else. What belongs to no tenant has no share, only its turn.
"""

import asyncio
from collections import Counter, deque
from itertools import count
from typing import NamedTuple

from postroom.ids import TenantId


class _Turn(NamedTuple):
    tenant: TenantId | None
    number: int  # in the order of coming
    come: "asyncio.Future[None]"


class Places:
    """Counts who holds how many. For the tasks of one event loop."""

    def __init__(self, size: int) -> None:
        self._free = size
        self._share = size - size // 4
        self._held: Counter[TenantId | None] = Counter()
        self._waiting: dict[TenantId | None, deque[_Turn]] = {}
        self._numbers = count()

    def one(self, tenant: TenantId | None) -> "_Place":
        """A place while the block runs: `async with places.one(tenant):`."""
        return _Place(self, tenant)

    async def take(self, tenant: TenantId | None) -> None:
        """Wait for a place; whoever has one must `leave` it."""
        if self._free and not self._has_its_share(tenant):
            self._give(tenant)
        else:
            await self._wait(tenant)

    async def _wait(self, tenant: TenantId | None) -> None:
        turn = _Turn(tenant, next(self._numbers), asyncio.get_running_loop().create_future())
        self._waiting.setdefault(tenant, deque()).append(turn)
        try:
            await turn.come
        except asyncio.CancelledError:
            if turn.come.cancelled():
                self._drop(turn)
            else:
                self.leave(tenant)  # it had come just then
            raise

    def _has_its_share(self, tenant: TenantId | None) -> bool:
        return tenant is not None and self._held[tenant] >= self._share

    def _give(self, tenant: TenantId | None) -> None:
        self._free -= 1
        self._held[tenant] += 1

    def leave(self, tenant: TenantId | None) -> None:
        """Give a place back, to whoever comes next."""
        self._free += 1
        self._held[tenant] -= 1
        if not self._held[tenant]:
            del self._held[tenant]
        while self._free and (turn := self._next()) is not None:
            self._drop(turn)
            if not turn.come.done():  # else somebody has given up, and has not run since
                self._give(turn.tenant)
                turn.come.set_result(None)

    def _next(self) -> _Turn | None:
        turns = [queue[0] for tenant, queue in self._waiting.items() if not self._has_its_share(tenant)]
        return min(turns, key=lambda turn: (self._held[turn.tenant], turn.number), default=None)

    def _drop(self, turn: _Turn) -> None:
        queue = self._waiting.get(turn.tenant)
        if queue is not None and turn in queue:
            queue.remove(turn)
            if not queue:
                del self._waiting[turn.tenant]


class _Place:
    """A class and no generator: every transaction has one, and it takes a fifth of the time."""

    __slots__ = ("_places", "_tenant")

    def __init__(self, places: Places, tenant: TenantId | None) -> None:
        self._places, self._tenant = places, tenant

    async def __aenter__(self) -> None:
        await self._places.take(self._tenant)

    async def __aexit__(self, *_: object) -> None:
        self._places.leave(self._tenant)
