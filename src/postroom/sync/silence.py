"""Sessions that listen and have said nothing for long: each is asked whether it still does."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from datetime import timedelta
from time import monotonic

from postroom.providers.listening import Key

from . import pace

AT_ONCE = 200  # that are asked
TICK = 0.5  # seconds


class Silence:
    """Since when each session has said nothing. `ask` asks one."""

    def __init__(self, ask: Callable[[Key], Awaitable[None]]) -> None:
        self._ask = ask
        self._since: OrderedDict[Key, float] = OrderedDict()  # the longest first

    def begin(self, key: Key) -> None:
        """It listens."""
        self._since[key] = monotonic()
        self._since.move_to_end(key)

    def heard(self, key: Key) -> None:
        """It has said something, or is asked now."""
        if key in self._since:
            self.begin(key)

    def end(self, key: Key) -> None:
        self._since.pop(key, None)

    async def ask(self) -> None:
        """Those that were silent for long, `AT_ONCE`: one that is dead takes its time. For ever."""
        places = asyncio.Semaphore(AT_ONCE)
        async with asyncio.TaskGroup() as group:
            while True:
                await asyncio.sleep(TICK)
                while (key := self._silent_for(pace.probe(len(self._since)))) is not None:
                    self.heard(key)
                    await places.acquire()
                    group.create_task(self._asked(key)).add_done_callback(lambda _: places.release())

    async def _asked(self, key: Key) -> None:
        await self._ask(key)

    def _silent_for(self, long: timedelta) -> Key | None:
        key, since = next(iter(self._since.items()), (None, 0.0))
        return key if since <= monotonic() - long.total_seconds() else None
