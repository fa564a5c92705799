"""Stand between a client and a server, and cut the first connection after so many bytes of the server's."""

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from fuzz.recording import Cut, hang_up, listening

PIECE = 1 << 16


class Between:
    """`cut_next` arms it for one connection; `passed` counts what the server said in the latest one."""

    def __init__(self, port: int) -> None:
        self.port = 0
        self.passed = 0
        self._far = port
        self._limit: int | None = None
        self._how = Cut.CLOSE

    def cut_next(self, limit: int, how: Cut) -> None:
        self._limit, self._how = limit, how

    async def serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        left, self._limit, self.passed = self._limit, None, 0
        far, out = await asyncio.open_connection("127.0.0.1", self._far)
        asking = asyncio.create_task(self._ask(reader, out))
        try:
            with suppress(ConnectionError):
                await self._tell(far, writer, left)
                if left is not None and self._how is Cut.STALL:
                    await asking
            if left is not None and self._how is Cut.RESET:
                hang_up(writer)
        finally:
            asking.cancel()
            out.close()
            writer.close()

    async def _ask(self, reader: StreamReader, out: StreamWriter) -> None:
        with suppress(ConnectionError):
            while piece := await reader.read(PIECE):
                out.write(piece)
        out.close()

    async def _tell(self, far: StreamReader, writer: StreamWriter, left: int | None) -> None:
        """Until the server ends, or that many bytes have passed."""
        while left is None or self.passed < left:
            most = PIECE if left is None else left - self.passed
            if not (piece := await far.read(most)):
                return
            self.passed += len(piece)
            writer.write(piece)
            await writer.drain()


@asynccontextmanager
async def between(port: int) -> AsyncIterator[Between]:
    """Leads to `port`."""
    standing = Between(port)
    async with listening(standing.serve) as standing.port:
        yield standing
