"""Polls of watched accounts, so many at once: one account's trouble is not the others'."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from postroom.providers.target import Key

LANES = 16  # polls at once, beside those that executors take
SLICE = 20.0  # seconds, after which a poll leaves its lane to others
LONG = 16  # that may do so at once


class Lanes:
    """Accounts that are to be polled now, each once."""

    def __init__(self, poll: Callable[[Key], Awaitable[None]]) -> None:
        self._poll = poll
        self._due: OrderedDict[Key, None] = OrderedDict()
        self._wake = asyncio.Event()
        self._free = asyncio.Semaphore(LANES)
        self._slow = 0  # polls that have left their lanes

    @property
    def has_room(self) -> bool:
        """Whether nobody waits."""
        return not self._due

    def put(self, key: Key, *, first: bool = False) -> None:
        self._due[key] = None
        if first:
            self._due.move_to_end(key, last=False)
        self._wake.set()

    def drop(self, key: Key) -> None:
        self._due.pop(key, None)

    async def work(self) -> None:
        """For ever."""
        async with asyncio.TaskGroup() as group:
            while True:
                await self._free.acquire()
                while not self._due:
                    self._wake.clear()
                    await self._wake.wait()
                key, _ = self._due.popitem(last=False)
                group.create_task(self._in_lane(key))

    async def _in_lane(self, key: Key) -> None:
        """What takes long leaves its lane to others, unless too much does."""
        has_left = False

        def leave() -> None:
            nonlocal has_left
            if self._slow < LONG:
                self._slow, has_left = self._slow + 1, True
                self._free.release()

        timer = asyncio.get_running_loop().call_later(SLICE, leave)
        try:
            await self._poll(key)
        finally:
            timer.cancel()
            if has_left:
                self._slow -= 1
            else:
                self._free.release()
