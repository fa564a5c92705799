"""Uses the embedded PostgreSQL: connects to its keeper, starts one where there is none."""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import orjson

import postroom
from postroom.db import model
from postroom.db.beside import beside
from postroom.db.embedded.binaries import programs, runner
from postroom.db.embedded.folder import claim
from postroom.db.embedded.keeper import address
from postroom.db.embedded.server import SUPERUSER
from postroom.errors import Broken

LONGEST = 107 - len("/.s.PGSQL.5432")
RETRY_SECONDS = 0.01
LONGEST_ANSWER = 1 << 16
AGAIN_SECONDS = 1.0
FAILURES: dict[str, type[Broken]] = {
    kind.code: kind
    for kind in (
        *(model.DiskFull, model.NotOurFolder, model.NotWritable),
        *(model.OtherVersion, model.NoServer, model.NotStarted),
    )
}


@asynccontextmanager
async def running(data: Path, settings: Sequence[str] = ()) -> AsyncIterator[str]:
    """The URL of the PostgreSQL in this data folder, which runs at least as long as the block.

    `settings` (`fsync=off`) count only for whoever starts the server. Should the keeper be killed, another
    is started; connections are lost then, the URL stays. Raises `NotOurFolder`, `NotWritable`,
    `OtherVersion`, `DiskFull`, `NoServer` or `NotStarted`.
    """
    programs(runner())  # fails here rather than in the background
    home = claim(data)
    folder = os.open(home, os.O_RDONLY | os.O_DIRECTORY)
    hold = _Hold(home, folder, settings)
    try:
        await hold.join()
        async with beside(hold.keep()):
            yield _url(home, folder)
    finally:
        hold.close()
        os.close(folder)


def _url(home: Path, folder: int) -> str:
    """The socket's folder by its name, or through our descriptor where that is too long for a socket.

    A comma would separate two hosts.
    """
    place = os.fsencode(home / "cluster")
    if len(place) > LONGEST or b"," in place:
        place = b"/proc/%d/fd/%d/cluster" % (os.getpid(), folder)
    return f"postgresql://{SUPERUSER}@/postgres?host={quote(place, safe='/')}"


class _Hold:
    """Our connection to the keeper, whose existence is all that it says."""

    def __init__(self, home: Path, folder: int, settings: Sequence[str]) -> None:
        self._home, self._folder, self._settings = home, folder, settings
        self._socket = socket.socket(socket.AF_UNIX)

    async def keep(self) -> None:
        """Find the next keeper whenever the present one is lost."""
        while True:
            with suppress(ConnectionError):
                await asyncio.get_running_loop().sock_recv(self._socket, 1)
            await self.join()

    async def join(self) -> None:
        """Connect to a keeper, starting one where there is none; return when its server answers."""
        now = asyncio.get_running_loop().time
        started = now() - AGAIN_SECONDS
        while True:
            try:
                if await self._is_welcome():
                    return
            except (FileNotFoundError, ConnectionError):
                if now() - started >= AGAIN_SECONDS:
                    started = now()
                    await asyncio.to_thread(_start_keeper, self._home, self._settings)
            await asyncio.sleep(RETRY_SECONDS)

    async def _is_welcome(self) -> bool:
        """Whether there is a keeper that serves us; False when it was just leaving. Raises its error."""
        self._socket.close()
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(0)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(self._socket, address(self._folder))
        line = await loop.sock_recv(self._socket, LONGEST_ANSWER)
        answer: dict[str, str] = orjson.loads(line) if line else {}
        if "code" in answer:
            raise FAILURES.get(answer["code"], Broken)(answer["message"])
        return "ready" in answer

    def close(self) -> None:
        self._socket.close()


def _start_keeper(home: Path, settings: Sequence[str]) -> None:
    """Start a keeper out of the reach of our terminal's Ctrl-C."""
    packages = [str(Path(postroom.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-m", "postroom.db.embedded.keeper", str(home), *settings],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, packages))},
        cwd="/",
        start_new_session=True,
        check=False,
    )
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise model.NotStarted(
            f"The keeper of PostgreSQL does not start: {said[-1] if said else 'no reason'}"
        )
