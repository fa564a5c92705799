"""Our own commands, as a benchmark starts and asks them."""

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from servers.dovecot import Dovecot

HOST = "127.0.0.1"
COMMAND = (sys.executable, "-m", "postroom.cli")
PATIENCE = 60.0  # seconds until the embedded PostgreSQL has ended


@dataclass(frozen=True, slots=True)
class Started:
    port: int
    home: Path
    began: float  # when its process was started, by `perf_counter`


@dataclass(slots=True)
class Client:
    """One connection to the API. A whole HTTP client would take as long as what is measured."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    key: str

    @classmethod
    async def opened(cls, up: Started) -> Self:
        """Connect as soon as somebody listens; who has just started answers when it can."""
        while True:
            try:
                reader, writer = await asyncio.open_connection(HOST, up.port)
            except ConnectionError:
                await asyncio.sleep(0.001)
                continue
            client = cls(reader, writer, "")
            await client.ask("GET", "/health")
            client.key = (up.home / "api.key").read_text().strip()
            return client

    async def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> tuple[int, Any]:
        """The status and the document of the answer."""
        data = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {self.key}\r\n"
        more = f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
        self.writer.write((head + more).encode("ascii") + data)
        answer = (await self.reader.readuntil(b"\r\n\r\n")).decode("ascii").lower()
        length = int(answer.partition("content-length: ")[2].partition("\r\n")[0])
        return int(answer.split(" ")[1]), json.loads(await self.reader.readexactly(length))

    def close(self) -> None:
        self.writer.close()


@asynccontextmanager
async def started(command: str, home: Path) -> AsyncIterator[Started]:
    """`postroom up` or `serve` on this data folder, from its start, before it answers, to its very end.

    However often it is asked, it answers.
    """
    port = _free_port()
    began = time.perf_counter()
    words = [*COMMAND, command, "--data", str(home), "--port", str(port)]
    environment = os.environ | {"POSTROOM_RATE_LIMIT_PER_MINUTE": "0"}
    process = await asyncio.create_subprocess_exec(*words, env=environment, stdout=asyncio.subprocess.DEVNULL)
    try:
        yield Started(port, home, began)
    finally:
        process.terminate()
        await process.wait()
        await asyncio.to_thread(ended, home)


def ended(home: Path) -> None:
    """Wait until the embedded PostgreSQL of a data folder has ended, too."""
    until = time.monotonic() + PATIENCE
    while any(home.rglob("postmaster.pid")):
        assert time.monotonic() < until, "PostgreSQL does not end"
        time.sleep(0.01)


def copied(server: Dovecot, user: str, home: Path) -> None:
    """Let this data folder hold the copy of a mailbox, made by whole commands."""
    connected(server, user, home)
    _command(home, ["sync"])
    ended(home)


def connected(server: Dovecot, user: str, home: Path) -> None:
    """Connect a mailbox, and copy nothing."""
    where = ["--server", f"imap://{server.host}:{server.port}", "--starttls", "off"]
    secret = ["--username", user, "--password-file", "-"]
    _command(home, ["connect", f"{user}@example.org", *secret, *where], server.password)


def _command(home: Path, words: Sequence[str], password: str = "") -> None:
    subprocess.run(
        [*COMMAND, *words, "--json"],
        input=password,
        env=os.environ | {"POSTROOM_DATA": str(home)},
        text=True,
        check=True,
        capture_output=True,
    )


def _free_port() -> int:
    with socket.create_server((HOST, 0)) as listener:
        return int(listener.getsockname()[1])
