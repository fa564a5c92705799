"""Polls and glances of watched accounts, so many at once: one account's trouble is not the others'."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence

from postroom.providers.target import Key

LANES = 16  # polls at once, beside those that executors take
GLANCES = 8  # of the lanes may be taken by glances
AT_ONCE = 25  # accounts in one glance
SLICE = 20.0  # seconds, after which a poll, or a glance, leaves its lane to others
LONG = 16  # that may do so at once


class Lanes:
    """Accounts that are to be polled now, or glanced at, each once."""

    def __init__(
        self, poll: Callable[[Key], Awaitable[None]], glance: Callable[[Sequence[Key]], Awaitable[None]]
    ) -> None:
        self._poll, self._glance = poll, glance
        self._due: OrderedDict[Key, None] = OrderedDict()
        self._calm: OrderedDict[Key, None] = OrderedDict()
        self._wake = asyncio.Event()
        self._free = asyncio.Semaphore(LANES)
        self._glances = 0  # lanes that they have
        self._slow = 0  # that have left their lanes

    @property
    def has_room(self) -> bool:
        """Whether nobody waits."""
        return not (self._due or self._calm)

    def put(self, key: Key, *, first: bool = False) -> None:
        """It is to be polled."""
        self._calm.pop(key, None)
        self._due[key] = None
        if first:
            self._due.move_to_end(key, last=False)
        self._wake.set()

    def put_calm(self, key: Key) -> None:
        """Probably nothing is new of it, but somebody has to look."""
        if key not in self._due:
            self._calm[key] = None
            self._wake.set()

    def drop(self, key: Key) -> None:
        self._due.pop(key, None)
        self._calm.pop(key, None)

    async def work(self) -> None:
        """For ever."""
        async with asyncio.TaskGroup() as group:
            while True:
                await self._free.acquire()
                while (work := self._next()) is None:
                    self._wake.clear()
                    await self._wake.wait()
                group.create_task(self._in_lane(work))

    def _next(self) -> Awaitable[None] | None:
        if self._due:
            key, _ = self._due.popitem(last=False)
            return self._poll(key)
        if self._calm and self._glances < GLANCES:
            self._glances += 1
            keys = [self._calm.popitem(last=False)[0] for _ in range(min(AT_ONCE, len(self._calm)))]
            return self._glancing(keys)
        return None

    async def _glancing(self, keys: Sequence[Key]) -> None:
        try:
            await self._glance(keys)
        finally:
            self._glances -= 1
            self._wake.set()

    async def _in_lane(self, work: Awaitable[None]) -> None:
        """What takes long leaves its lane to others, unless too much does."""
        has_left = False

        def leave() -> None:
            nonlocal has_left
            if self._slow < LONG:
                self._slow, has_left = self._slow + 1, True
                self._free.release()

        timer = asyncio.get_running_loop().call_later(SLICE, leave)
        try:
            await work
        finally:
            timer.cancel()
            if has_left:
                self._slow -= 1
            else:
                self._free.release()
