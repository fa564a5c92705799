"""Sessions that have said nothing for long are asked whether they still listen: one may die unnoticed.

begins ─> silent for so long ─> asked ─┬─ answers in time ─> silent anew
            ^                          └─ does not ─> whoever asks gives it up
            └─ heard of
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Iterator
from datetime import timedelta
from time import monotonic

from postroom.providers.target import Key

from .pace import TICK, Pace


class Silent:
    """Those of one process. `ask` asks, which takes a dead one its time."""

    def __init__(self, pace: Pace, ask: Callable[[Key], Coroutine[None, None, None]]) -> None:
        self._pace, self._ask = pace, ask
        self._since: OrderedDict[Key, float] = OrderedDict()  # the longest first

    def begin(self, key: Key) -> None:
        self._since[key] = monotonic()
        self._since.move_to_end(key)

    def heard(self, key: Key) -> None:
        if key in self._since:
            self.begin(key)

    def end(self, key: Key) -> None:
        self._since.pop(key, None)

    async def work(self, accounts: Callable[[], int]) -> None:
        """For ever; `accounts` is how many there are, silent or not.

        How many are asked at a time follows from how many there are. Were it a fixed number, a few hundred
        that are dead would keep all others waiting.
        """
        async with asyncio.TaskGroup() as group:
            while True:
                await asyncio.sleep(TICK.total_seconds())
                for _, key in zip(range(self._pace.probes(accounts())), self._due(), strict=False):
                    group.create_task(self._ask(key))

    def _due(self) -> Iterator[Key]:
        """Those that were silent for too long, each of them once."""
        long = self._pace.probe(len(self._since))
        while (key := self._silent_for(long)) is not None:
            self.begin(key)
            yield key

    def _silent_for(self, long: timedelta) -> Key | None:
        key, since = next(iter(self._since.items()), (None, 0.0))
        return key if since <= monotonic() - long.total_seconds() else None
