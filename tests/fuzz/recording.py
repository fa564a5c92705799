"""Record what a server says in a session, and say it again up to any byte.

    client <-> recorder <-> lab server          client <-> player: N bytes, then reset, close or silence

Commands are handed on one at a time, so that every answer is known by its command. The client's tag is new in
each session; in a recording TAG stands for it, of the same length.
"""

import asyncio
import re
import socket
import struct
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum

from postroom.imap.framing import Framer

TAG = b"TAG_"
ALL = frozenset[bytes]()
UNASKED = re.compile(rb"\[CAPABILITY [^\]]*\] ")
OFFER = re.compile(rb"^\* CAPABILITY [^\r]*", re.MULTILINE)
LINGER = struct.pack("ii", 1, 0)  # no farewell: the kernel sends a reset


class Cut(StrEnum):
    """How a connection ends."""

    RESET = "reset"
    CLOSE = "close"
    STALL = "stall"  # it does not: nothing comes any more


@dataclass(frozen=True, slots=True)
class Exchange:
    """A command without its tag, and all that the server says to it. The greeting answers to nothing.

    A line that the server has invited is a command here, too.
    """

    command: bytes
    answer: bytes


Recording = Sequence[Exchange]


def size(recording: Recording) -> int:
    """Bytes that the server says."""
    return sum(len(exchange.answer) for exchange in recording)


@asynccontextmanager
async def listening(serve: Callable[[StreamReader, StreamWriter], Awaitable[None]]) -> AsyncIterator[int]:
    """The port of a server on the loopback. In the end it waits until every client has left."""
    tasks = set[asyncio.Task[None]]()

    async def begin(reader: StreamReader, writer: StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await serve(reader, writer)
        finally:
            tasks.discard(task)

    async with await asyncio.start_server(begin, "127.0.0.1", 0) as server:
        port: int = server.sockets[0].getsockname()[1]
        yield port
        await asyncio.gather(*tasks)


@asynccontextmanager
async def recording(port: int, without: frozenset[bytes] = ALL) -> AsyncIterator[tuple[int, list[Exchange]]]:
    """A port that leads to `port`, and what was said there so far. What is in `without` is not offered."""
    heard: list[Exchange] = []

    async def serve(reader: StreamReader, writer: StreamWriter) -> None:
        far, out = await asyncio.open_connection("127.0.0.1", port)
        tag, line = b"*", b""
        try:
            while answer := poorer(await answered(far, tag), without):
                heard.append(Exchange(line, answer.replace(tag[:4], TAG) if line else answer))
                writer.write(answer)
                if not (line := await reader.readline()):
                    break
                out.write(line)
                if not is_invitation(answer):
                    tag, _, line = line.partition(b" ")
        finally:
            writer.close()
            out.close()

    async with listening(serve) as mine:
        yield mine, heard


async def answered(far: StreamReader, tag: bytes) -> bytes:
    """Everything up to the line with this tag, or an invitation; nothing once the server has left."""
    framer, raw = Framer(), b""
    while piece := await far.readline():
        raw += piece
        if any(frame.text.startswith((tag + b" ", b"+")) for frame in framer.feed(piece)):
            break
    return raw


def is_invitation(answer: bytes) -> bool:
    return answer.startswith(b"+")


def poorer(answer: bytes, without: frozenset[bytes]) -> bytes:
    """The answer of a server that offers less, and tells only who asks."""
    if not without:
        return answer
    answer = UNASKED.sub(b"", answer)
    return OFFER.sub(
        lambda line: b" ".join(word for word in line[0].split(b" ") if word not in without), answer
    )


class Player:
    """Says a recording, but no more than `limit` bytes of it. `strange` is what no recording answers."""

    def __init__(self, recording: Recording, limit: int, cut: Cut) -> None:
        self._recording, self._left, self._cut = recording, limit, cut
        self.strange: bytes | None = None

    async def serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        try:
            await self._play(reader, writer)
            if self._cut is Cut.STALL:
                await reader.read()
            if self._cut is Cut.RESET:
                hang_up(writer)
        except ConnectionError:
            pass  # the client has left
        finally:
            writer.close()

    async def _play(self, reader: StreamReader, writer: StreamWriter) -> None:
        tag, invited = TAG, False
        for exchange in self._recording:
            if not self._left:
                return
            if exchange.command:
                if not (line := await reader.readline()):
                    return
                if not invited:
                    tag, _, line = line.partition(b" ")
                if line != exchange.command:
                    self.strange = line
                    return
            invited = is_invitation(exchange.answer)
            said = exchange.answer.replace(TAG, tag[:4])[: self._left]
            self._left -= len(said)
            writer.write(said)
            await writer.drain()


def hang_up(writer: StreamWriter) -> None:
    """End the connection by a reset."""
    sock: socket.socket = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
    writer.transport.abort()
