"""A link of limited speed on loopback: `python -m servers.link HOST PORT --megabits 100 --delay 0.01`.

A process of its own between clients and a server. Each direction is a token bucket that all connections
share: bytes go on as quickly as the link allows, and arrive after the delay of one way. What is on it is
bounded, so that senders wait as they would for a real one. The first line printed is the port; every line on
standard input is answered with the bytes that came over since it began: to the clients, and to the server.
"""

import argparse
import asyncio
import subprocess
import sys
from asyncio import StreamReader, StreamWriter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

PIECE = 1 << 14  # bytes that go on at once
BURST = 0.004  # seconds that may be caught up with, as timers are not exact
QUEUED = 0.05  # seconds of bytes that wait for their turn, beside those that are on their way
HOST = "127.0.0.1"
Queue = asyncio.Queue[tuple[float, bytes]]


class Direction:
    """One direction: when the next bytes may go on, and how many did."""

    def __init__(self, rate: float, delay: float) -> None:
        self.rate, self.delay, self.carried = rate, delay, 0
        self.room = max(round((QUEUED + delay) * rate / PIECE), 4)  # pieces
        self._free = 0.0

    def arrival(self, size: int, now: float) -> float:
        """When the last of `size` bytes arrives that want to leave now."""
        self._free = max(self._free, now - BURST) + size / self.rate
        return self._free + self.delay

    async def carry(self, reader: StreamReader, writer: StreamWriter) -> None:
        """All bytes of one connection, until one side has had enough."""
        queue: Queue = asyncio.Queue(self.room)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._take(reader, queue))
                tasks.create_task(self._give(queue, writer))
        except* OSError:
            pass
        finally:
            writer.close()

    async def _take(self, reader: StreamReader, queue: Queue) -> None:
        loop, data = asyncio.get_running_loop(), b"-"
        while data:
            data = await reader.read(PIECE)
            await queue.put((self.arrival(len(data), loop.time()), data))

    async def _give(self, queue: Queue, writer: StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due, data = await queue.get()
            if not data:
                return
            if (wait := due - loop.time()) > 0:
                await asyncio.sleep(wait)
            writer.write(data)
            self.carried += len(data)
            await writer.drain()


@dataclass(frozen=True, slots=True)
class Link:
    """A running link; connect to its port."""

    port: int
    process: subprocess.Popen[str]

    def carried(self) -> tuple[int, int]:
        """Bytes since it began: to the clients, and to the server."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        down, up = self.process.stdout.readline().split()
        return int(down), int(up)


@contextmanager
def link(host: str, port: int, megabits: float = 100.0, delay: float = 0.0) -> Iterator[Link]:
    """A link to a server for the length of a `with` block. `delay` is that of one way, in seconds."""
    words = ["-m", "servers.link", host, str(port), "--megabits", str(megabits), "--delay", str(delay)]
    process = subprocess.Popen(
        [sys.executable, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield Link(int(process.stdout.readline()), process)
    finally:
        process.terminate()
        process.communicate()


async def serve(host: str, port: int, rate: float, delay: float) -> None:
    """Until standard input ends."""
    down, up = Direction(rate, delay), Direction(rate, delay)

    async def connected(reader: StreamReader, writer: StreamWriter) -> None:
        with suppress(OSError):
            far_reader, far_writer = await asyncio.open_connection(host, port)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(down.carry(far_reader, writer))
                tasks.create_task(up.carry(reader, far_writer))

    server = await asyncio.start_server(connected, HOST, 0, limit=PIECE)
    _say(server.sockets[0].getsockname()[1])
    loop = asyncio.get_running_loop()
    while await loop.run_in_executor(None, sys.stdin.readline):
        _say(down.carried, up.carried)


def _say(*numbers: int) -> None:
    sys.stdout.write(f"{' '.join(map(str, numbers))}\n")
    sys.stdout.flush()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("host")
    options.add_argument("port", type=int)
    options.add_argument("--megabits", type=float, default=100)
    options.add_argument("--delay", type=float, default=0.0, help="seconds of one way")
    chosen = options.parse_args()
    asyncio.run(serve(chosen.host, chosen.port, chosen.megabits * 125_000, chosen.delay))


if __name__ == "__main__":
    main()
