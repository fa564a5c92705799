"""A PostgreSQL of one test that stops, dies and comes back when the test says so. Nobody else restarts it."""

import asyncio
import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

from postroom.db.embedded import server
from postroom.db.embedded.folder import claim

T = TypeVar("T")

SETTINGS = ["fsync=off", "full_page_writes=off", "autovacuum=off", "max_connections=100"]
"""The machine stays up, so what was committed outlives a kill without fsync."""


class Stopping:
    """`dsn` stays the same. What starts it runs in one thread, with whose end the server would go."""

    def __init__(self, data: Path) -> None:
        self._home = claim(data)
        self._log = server.open_log(self._home)
        self._thread = ThreadPoolExecutor(1)
        self._running: subprocess.Popen[bytes] | None = None
        self.dsn = f"postgresql://{server.SUPERUSER}@/postgres?host={self._home}/cluster"

    async def start(self) -> None:
        """Return once it answers."""
        await self._beside(self._start)

    async def stop(self) -> None:
        """In good order; whoever is connected is told to go."""
        running = self._running
        assert running is not None
        await self._beside(lambda: server.stop(running))

    async def kill(self) -> None:
        """Like `kill -9`; nobody is told anything."""
        running = self._running
        assert running is not None
        running.kill()
        await self._beside(running.wait)

    async def close(self) -> None:
        if self._running is not None:
            await self.stop()
        self._thread.shutdown()
        os.close(self._log)

    async def _beside(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _start(self) -> None:
        lock = os.open(self._home / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)  # the server's processes have it until the last of them is gone
            server.make(self._home, lock, self._log)
            self._running = server.start(self._home, lock, self._log, SETTINGS)
        finally:
            os.close(lock)


@asynccontextmanager
async def stopping() -> AsyncIterator[Stopping]:
    """It runs when the block begins."""
    folder = tempfile.mkdtemp(prefix="postroom-tests-")
    made = Stopping(Path(folder))
    try:
        await made.start()
        yield made
    finally:
        await made.close()
        shutil.rmtree(folder)
