"""What follows the fetching: batches are read, then stored, in order, while the next are being fetched.

    fetch ──> read (workshop) ──> store ──> fetch ...
               at most MOST batches here; the server waits when they are full

A folder's cursor moves through here as well, behind the batches that it covers.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures.process import BrokenProcessPool
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from typing import Any

from postroom.db.beside import beside
from postroom.mail.model import Folder

from .allowance import Allowance
from .model import NOT_READABLE
from .prepare import Batch, raw_of
from .workshop import Work
from .write import Writer

MOST = 2
REASON = "Reading it ended the process that reads mail."

Step = Callable[[], Awaitable[None]]


class Pipeline:
    def __init__(self, writer: Writer, allowance: Allowance) -> None:
        self.writer, self.allowance = writer, allowance
        self._steps: asyncio.Queue[Step] = asyncio.Queue(maxsize=MOST)
        self._under_way: set[Work[Any]] = set()
        self._last: Folder | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Carry out steps for as long as the block runs. A step's failure cancels the block and is raised."""
        try:
            async with beside(self._carry_out()):
                yield
        finally:
            for work in self._under_way:
                work.close()

    async def store(
        self, folder: Folder, validity: int, batch: Batch, *, many: bool, old: datetime | None
    ) -> None:
        """Begin to read a batch, to be stored in its turn. Waits when enough is under way.

        Mail from before `old` is not news.
        """
        self._last = folder
        work = self.writer.workshop.prepare(self.writer.tenant, folder, batch, many=many)
        self._under_way.add(work)
        await self._steps.put(partial(self._store, folder, validity, batch, work, old))

    async def then(self, step: Step) -> None:
        """Do this when everything before it is stored."""
        await self._steps.put(step)

    async def drain(self) -> None:
        """Wait until everything is stored."""
        await self._steps.join()

    async def settled(self, folder: Folder) -> None:
        """Wait until everything from other folders is stored."""
        if self._last is not None and self._last.id != folder.id:
            await self.drain()

    async def _carry_out(self) -> None:
        while True:
            step = await self._steps.get()
            await step()
            self._steps.task_done()

    async def _store(
        self, folder: Folder, validity: int, batch: Batch, work: Work[Any], old: datetime | None
    ) -> None:
        writer, fatal = self.writer, list[int]()
        try:
            try:
                prepared = await work.done()
            except BrokenProcessPool:
                prepared, fatal = await writer.workshop.prepare_singly(writer.tenant, folder, batch)
            for message, item in batch:
                if message.uid in fatal:
                    raw = await asyncio.to_thread(raw_of, message, item)
                    await writer.park(folder, validity, message.uid, NOT_READABLE, REASON, raw=raw)
            if prepared:
                await writer.messages(folder, validity, prepared, old=old)
        finally:
            self._under_way.remove(work)
            work.close()
            for message, _ in batch:
                if not isinstance(message.content, bytes):
                    message.content.close()
