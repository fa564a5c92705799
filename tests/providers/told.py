"""Somebody who is told of changes, and waits for what must come."""

import asyncio

from postroom.providers.model import Changed, Ended, Notice

LIMIT = 20


class Ear:
    """Keeps what is told."""

    def __init__(self) -> None:
        self.heard: list[Notice] = []
        self._news = asyncio.Event()

    def __call__(self, notice: Notice) -> None:
        self.heard.append(notice)
        self._news.set()

    async def next(self, count: int = 1) -> list[Notice]:
        """The next so many notices, once they have come; they are forgotten then."""
        async with asyncio.timeout(LIMIT):
            while len(self.heard) < count:
                self._news.clear()
                await self._news.wait()
        told, self.heard = self.heard[:count], self.heard[count:]
        return told

    async def changed(self, folder: bytes | None) -> Changed:
        """The next notice of this folder; those of others before it are forgotten."""
        while True:
            (told,) = await self.next()
            if isinstance(told, Changed) and told.folder == folder:
                return told

    async def ended(self) -> Ended:
        while True:
            (told,) = await self.next()
            if isinstance(told, Ended):
                return told
