"""A TCP proxy on loopback that stands between us and a mail server, and breaks connections at a chosen byte.

RESET   both ends see a reset
CLOSE   both ends see an orderly end, in mid-sentence
STALL   not a byte more for a while, and then a reset
PAUSE   not a byte more for a while; then it goes on

Any of them comes before the n-th byte that the server says on a connection.
"""

import asyncio
import socket
import struct
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum

PIECE = 1 << 16


class Break(Enum):
    RESET = "reset"
    CLOSE = "close"
    STALL = "stall"
    PAUSE = "pause"


@dataclass(frozen=True, slots=True)
class Plan:
    """What happens to the next connection, before byte `at` of what the server says."""

    how: Break
    at: int
    seconds: float = 0.05  # that it stands still


class Lost(Exception):
    """This connection was broken on purpose."""


@dataclass(slots=True)
class Proxy:
    """`plan` is used up by the next connection; `said` is how many bytes the server said on the last one."""

    host: str
    to_port: int
    port: int = 0
    plan: Plan | None = None
    said: int = 0
    broken: int = 0
    when_said: Callable[[int], None] | None = None
    _tasks: set["asyncio.Task[None]"] = field(default_factory=set)
    _flowing: set[asyncio.Event] = field(default_factory=set)
    _writers: set[StreamWriter] = field(default_factory=set)

    def hold_all(self) -> None:
        """Not a byte more comes to the client on any connection that there is, and none of them ends."""
        for flowing in self._flowing:
            flowing.clear()

    def reset_all(self) -> int:
        """Break every connection now; returns how many there were."""
        writers = list(self._writers)
        for writer in writers:
            _reset(writer)
        return len(writers) // 2

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        plan, self.plan = self.plan, None
        try:
            await self._between(reader, writer, plan)
        except OSError:
            writer.close()  # there is no server: it is being restarted
        except asyncio.CancelledError:
            pass  # the streams of Python 3.11 would log a task that ends as cancelled
        finally:
            self._tasks.discard(task)

    async def _between(self, reader: StreamReader, writer: StreamWriter, plan: Plan | None) -> None:
        there, out = await asyncio.open_connection(self.host, self.to_port)
        ends = {writer, out}
        self._writers |= ends
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_carry(reader, out))
                group.create_task(self._carry_back(there, writer, plan))
        except* Lost:
            self.broken += 1
            for end in ends:
                if plan is not None and plan.how is Break.CLOSE:
                    end.close()
                else:
                    _reset(end)
        except* OSError:
            pass
        finally:
            self._writers -= ends
            for end in ends:
                end.close()

    async def _carry_back(self, reader: StreamReader, writer: StreamWriter, plan: Plan | None) -> None:
        self.said, flowing = 0, asyncio.Event()
        flowing.set()
        self._flowing.add(flowing)
        while piece := await reader.read(PIECE):
            await flowing.wait()
            if plan is not None and self.said + len(piece) > plan.at:
                keep = max(0, plan.at - self.said)
                writer.write(piece[:keep])
                await writer.drain()
                await self._break(plan)
                piece, plan = piece[keep:], None
            self.said += len(piece)
            writer.write(piece)
            await writer.drain()
            if self.when_said is not None:
                self.when_said(self.said)
        with suppress(OSError):
            writer.write_eof()

    async def _break(self, plan: Plan) -> None:
        match plan.how:
            case Break.STALL:
                await asyncio.sleep(plan.seconds)
                raise Lost
            case Break.PAUSE:
                self.broken += 1
                await asyncio.sleep(plan.seconds)
            case Break.RESET | Break.CLOSE:
                raise Lost


async def _carry(reader: StreamReader, writer: StreamWriter) -> None:
    while piece := await reader.read(PIECE):
        writer.write(piece)
        await writer.drain()
    with suppress(OSError):
        writer.write_eof()


def _reset(writer: StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    if sock is not None and sock.fileno() != -1:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@asynccontextmanager
async def proxy(host: str, port: int) -> AsyncIterator[Proxy]:
    """Stand before this server until the block ends."""
    standing = Proxy(host, port)
    listener = await asyncio.start_server(standing._serve, host)
    standing.port = int(listener.sockets[0].getsockname()[1])
    try:
        yield standing
    finally:
        listener.close()
        tasks = list(standing._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
