"""A real Redis on loopback for tests: a free port, nothing written to disk."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from servers.fetch import CannotFetch, Prefix
from servers.fetch import redis as fetch_redis

START_LIMIT = timedelta(seconds=20)


class CannotStart(Exception):
    """Redis did not come up; the text holds what it said."""


@dataclass(frozen=True, slots=True)
class Redis:
    """A running server."""

    port: int

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def ask(self, *words: str) -> bytes:
        """Send one command; the answer's first piece, as it comes."""
        with socket.create_connection(("127.0.0.1", self.port), 5) as connection:
            parts = [f"${len(word.encode())}\r\n{word}\r\n" for word in words]
            connection.sendall(f"*{len(words)}\r\n{''.join(parts)}".encode())
            return connection.recv(4096)


@contextmanager
def running() -> Iterator[Redis]:
    """A Redis for the length of a `with` block. Raises CannotFetch or CannotStart."""
    prefix = fetch_redis()
    with socket.create_server(("127.0.0.1", 0)) as free:
        server = Redis(int(free.getsockname()[1]))
    with tempfile.TemporaryDirectory(prefix="redis-") as folder, _process(prefix, server, Path(folder)):
        yield server


@contextmanager
def _process(prefix: Prefix, server: Redis, home: Path) -> Iterator[None]:
    options = {
        "bind": "127.0.0.1",
        "port": str(server.port),
        "dir": str(home),
        "save": "",
        "appendonly": "no",
    }
    command = [str(prefix.program("redis-server"))]
    command += [word for name, value in options.items() for word in (f"--{name}", value)]
    if shutil.which("setpriv"):  # a test run that is killed takes its server along
        command = ["setpriv", "--pdeathsig", "TERM", *command]
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=prefix.environment()
        )
    try:
        _wait(process, server, home / "log")
        yield
    finally:
        process.terminate()
        process.wait(timeout=10)


def _wait(process: subprocess.Popen[bytes], server: Redis, log: Path) -> None:
    end = time.monotonic() + START_LIMIT.total_seconds()
    while time.monotonic() < end and process.poll() is None:
        try:
            if server.ask("PING").startswith(b"+PONG"):
                return
        except OSError:
            time.sleep(0.02)
    raise CannotStart(f"no answer within {START_LIMIT}: {log.read_text(errors='replace')[-2000:]}")


@pytest.fixture(scope="session")
def redis() -> Iterator[Redis]:
    """One Redis for the whole run."""
    with ExitStack() as stack:
        try:
            server = stack.enter_context(running())
        except (CannotFetch, CannotStart) as error:
            if os.environ.get("CI") == "true":
                pytest.fail(f"No Redis, and with CI=true a skip is a failure: {error}")
            pytest.skip(f"no Redis here: {error}")
        yield server
