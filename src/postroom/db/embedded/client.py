"""Uses the embedded PostgreSQL: connects to its keeper, starts one where there is none."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
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
AGAIN_SECONDS = 1.0
FAILURES = {
    kind.code: kind
    for kind in (
        *(model.DiskFull, model.NotOurFolder, model.NotWritable),
        *(model.OtherVersion, model.NoServer, model.NotStarted),
    )
}

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


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
    try:
        streams = await _join(home, folder, settings)
        async with beside(_stay(streams, home, folder, settings)):
            yield _url(home, folder)
    finally:
        os.close(folder)


def _url(home: Path, folder: int) -> str:
    """The socket's folder by its name, or, where that is too long for a socket, through our descriptor."""
    place = os.fsencode(home / "cluster")
    if len(place) > LONGEST:
        place = b"/proc/%d/fd/%d/cluster" % (os.getpid(), folder)
    return f"postgresql://{SUPERUSER}@/postgres?host={quote(place, safe='/')}"


async def _stay(streams: Streams, home: Path, folder: int, settings: Sequence[str]) -> None:
    """Hold the connection to the keeper; find the next one when it is lost."""
    while True:
        reader, writer = streams
        try:
            await reader.read()
        except ConnectionError:
            pass
        finally:
            writer.transport.abort()
        streams = await _join(home, folder, settings)


async def _join(home: Path, folder: int, settings: Sequence[str]) -> Streams:
    """Connect to the keeper and wait until it says that the server answers."""
    loop = asyncio.get_running_loop()
    started = -AGAIN_SECONDS
    while True:
        try:
            streams = await asyncio.open_unix_connection(address(folder))
        except (FileNotFoundError, ConnectionRefusedError):
            if loop.time() - started >= AGAIN_SECONDS:
                started = loop.time()
                await asyncio.to_thread(_start_keeper, home, settings)
            await asyncio.sleep(RETRY_SECONDS)
            continue
        if await _is_welcome(streams):
            return streams


async def _is_welcome(streams: Streams) -> bool:
    """Whether this keeper serves us; False when it was just leaving. Raises what it failed with."""
    reader, writer = streams
    answer = {}
    try:
        line = await reader.readline()
        answer = orjson.loads(line) if line else {}
    except ConnectionError:
        pass
    finally:
        if "ready" not in answer:
            writer.transport.abort()
    if "code" in answer:
        raise FAILURES.get(answer["code"], Broken)(answer["message"])
    return "ready" in answer


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
