"""Processes that are killed by the dozen. A new interpreter would import for longer than most of them live.

test ── a line of JSON ──▶ python -m MODULE, which has imported all ── fork ──▶ one that does what is asked
     ◀─── its number ─────
"""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import structlog

LONGEST = 60  # seconds until one that is waited for is over


@dataclass
class Nursery:
    process: Process

    async def begin(self, **asked: object) -> int:
        """The number of a new process, which does what is asked of it."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(asked).encode() + b"\n")
        return int(await self.process.stdout.readline())

    async def life(self, **asked: object) -> None:
        """Such a process, from its beginning to its end."""
        await over(await self.begin(**asked))


@asynccontextmanager
async def nursery(module: str) -> AsyncIterator[Nursery]:
    """A module whose program is `forking`."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module),
        stdin=PIPE,
        stdout=PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        yield Nursery(process)
    finally:
        process.kill()
        await process.wait()


async def kill(number: int) -> None:
    """With -9, and wait until nothing is left of it."""
    os.kill(number, signal.SIGKILL)
    await over(number)


async def over(number: int) -> None:
    """Wait until nothing is left of it."""
    try:
        process = os.pidfd_open(number)
    except ProcessLookupError:
        return
    gone = asyncio.Event()
    asyncio.get_running_loop().add_reader(process, gone.set)
    try:
        async with asyncio.timeout(LONGEST):
            await gone.wait()
    finally:
        asyncio.get_running_loop().remove_reader(process)
        os.close(process)


def forking(do: Callable[..., Coroutine[Any, Any, object]]) -> None:
    """For each line of JSON on standard input fork a process that does it, and print its number."""
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody has to wait for them
    for line in sys.stdin:
        number = os.fork()
        if number == 0:
            asyncio.run(do(**json.loads(line)))
            os._exit(0)
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()
