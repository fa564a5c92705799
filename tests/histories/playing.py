"""A history played by dice: what `make soak` does for hours and the tests do for a moment."""

import asyncio
import random
from collections.abc import Awaitable, Callable

from histories.dying import Death, How
from histories.history import FLAGS, History
from histories.inside import Inside

CHANGES = {  # how often each is chosen
    "deliver": 30,
    "flag": 20,
    "expunge": 14,
    "move": 18,
    "copy": 8,
    "create": 4,
    "delete": 1,
    "rename": 3,
    "renumber": 2,
}
MOST = 1 << 16
LONGEST_PAUSE = 60  # turns of the event loop between two changes


class Player:
    """Decides what happens by its dice alone."""

    def __init__(self, history: History, seed: int) -> None:
        self._history, self.dice = history, random.Random(seed)

    async def change(self) -> None:
        """One thing that others do."""
        (kind,) = self.dice.choices(list(CHANGES), list(CHANGES.values()))
        one, two, three = (self.dice.randrange(MOST) for _ in range(3))
        flags = frozenset(self.dice.sample(FLAGS, self.dice.randrange(3)))
        history = self._history
        acts: dict[str, Callable[[], Awaitable[None]]] = {
            "deliver": lambda: history.deliver(one, two % 8, flags),
            "flag": lambda: history.flag(one, two, flags),
            "expunge": lambda: history.expunge(one, two),
            "move": lambda: history.move(one, two, three),
            "copy": lambda: history.copy(one, two, three),
            "create": lambda: history.create(one),
            "delete": lambda: history.delete(one),
            "rename": lambda: history.rename(one, two),
            "renumber": lambda: history.renumber(one),
        }
        await acts[kind]()

    async def changes(self) -> None:
        """Some changes, with room between them for what others do."""
        for _ in range(self.dice.randrange(8)):
            for _ in range(self.dice.randrange(LONGEST_PAUSE)):
                await asyncio.sleep(0)
            await self.change()

    async def moves(self) -> None:
        """Mail moves while somebody looks at one folder after the other, and may miss it in each."""
        for _ in range(self.dice.randrange(8)):
            for _ in range(self.dice.randrange(LONGEST_PAUSE)):
                await asyncio.sleep(0)
            await self._history.move(*(self.dice.randrange(MOST) for _ in range(3)))


async def play_round(history: Inside, player: Player, syncs: int) -> None:
    """Mail moves under a sync that lives; others die, with others at it; and then a quiet point."""
    await history.sync(None, player.moves)
    for _ in range(syncs):
        await player.changes()
        death = Death(player.dice.choice(list(How)), player.dice.random())
        is_alone, lives = player.dice.random() < 0.4, player.dice.random() < 0.2
        await history.sync(None if lives else death, None if is_alone else player.changes)
    await history.settle()
