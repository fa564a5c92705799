"""A door before a mail server that counts who is inside, and may let words out slowly."""

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

PIECE = 1 << 16
TURNS = 5  # of the event loop, in which it hears of whoever had left before


@dataclass(slots=True)
class Door:
    host: str
    to_port: int
    delay: float = 0.0  # seconds for whatever the server says
    port: int = 0
    inside: int = 0
    most: int = 0
    came: int = 0
    _tasks: set["asyncio.Task[None]"] = field(default_factory=set)

    async def let_in(self, reader: StreamReader, writer: StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        there, back = await asyncio.open_connection(self.host, self.to_port)
        for _ in range(TURNS):
            await asyncio.sleep(0)
        self.came += 1
        self.inside += 1
        self.most = max(self.most, self.inside)
        pumps = [
            asyncio.ensure_future(pump(reader, back)),
            asyncio.ensure_future(pump(there, writer, self.delay)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.inside -= 1
            for one in pumps:
                one.cancel()
            writer.close()
            back.close()
            self._tasks.discard(task)

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def pump(reader: StreamReader, writer: StreamWriter, delay: float = 0.0) -> None:
    with suppress(OSError):
        while piece := await reader.read(PIECE):
            await asyncio.sleep(delay)
            writer.write(piece)
            await writer.drain()


@asynccontextmanager
async def door(host: str, port: int, *, delay: float = 0.0) -> AsyncIterator[Door]:
    one = Door(host, port, delay)
    server = await asyncio.start_server(one.let_in, host, 0)
    one.port = server.sockets[0].getsockname()[1]
    try:
        yield one
    finally:
        server.close()
        await one.close()
