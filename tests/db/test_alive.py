"""Whoever is lost without a word is noticed, over whatever the connection leads."""

import asyncio
import random
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from postroom.db import alive
from postroom.db.embedded.client import running
from postroom.db.pool import connect

NAMES = [setting.split()[1] for setting in alive.THEIRS]
ALL = "SELECT name, setting, reset_val FROM pg_settings WHERE name = ANY($1)"
OPTIONS = [socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT]


@asynccontextmanager
async def over_tcp(folder: Path) -> AsyncIterator[str]:
    """The URL of a server that listens on an address that no other uses."""
    host = ".".join(["127", *(str(random.randint(1, 254)) for _ in range(3))])
    async with running(folder, ["fsync=off", f"listen_addresses={host}"]):
        yield f"postgresql://postroom@{host}:5432/postgres"


@pytest.mark.parametrize("is_tcp", [True, False], ids=["TCP", "a socket of the machine"])
async def test_both_ends_ask_whether_the_other_is_there(tmp_path: Path, dsn: str, is_tcp: bool) -> None:
    async with over_tcp(tmp_path) as remote:
        conn = await connect(remote if is_tcp else dsn)
        theirs = {row["name"]: row["setting"] for row in await conn.fetch(ALL, NAMES)}
        line = conn._transport.get_extra_info("socket")  # type: ignore[attr-defined]
        ours = [line.getsockopt(socket.IPPROTO_TCP, option) for option in OPTIONS] if is_tcp else []
        await conn.close()

    assert theirs.pop("client_connection_check_interval") == "2000"
    if is_tcp:
        assert ours == [alive.IDLE, alive.INTERVAL, alive.COUNT, alive.UNACKNOWLEDGED * 1000]
        assert [int(theirs[name]) for name in NAMES[:-1]] == ours


class Fussy:
    """Stands before a server, and refuses to hear of a setting: at the beginning, or when it is set."""

    def __init__(self, dsn: str, unknown: str) -> None:
        self._socket = f"{parse_qs(urlsplit(dsn).query)['host'][0]}/.s.PGSQL.5432"
        self._unknown = unknown.encode()
        self.was_asked = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind, onward = await asyncio.open_unix_connection(self._socket)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._there(reader, onward))
            group.create_task(self._back(behind, writer))

    async def _there(self, reader: asyncio.StreamReader, onward: asyncio.StreamWriter) -> None:
        (length,) = struct.unpack("!I", first := await reader.readexactly(4))
        hello = await reader.readexactly(length - 4)
        assert self._unknown not in hello
        onward.write(first + hello)
        while kind := await reader.read(1):
            (length,) = struct.unpack("!I", size := await reader.readexactly(4))
            said = await reader.readexactly(length - 4)
            if kind == b"Q" and self._unknown in said:
                self.was_asked = True
                said = said.replace(self._unknown, b"x" * len(self._unknown))
            onward.write(kind + size + said)
        onward.close()

    async def _back(self, behind: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await behind.read(1 << 16):
            writer.write(data)
        writer.close()


@pytest.mark.parametrize("name", NAMES)
async def test_a_server_or_pooler_that_does_not_know_a_setting_gets_the_others(dsn: str, name: str) -> None:
    fussy = Fussy(dsn, name)
    server = await asyncio.start_server(fussy.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    path = urlsplit(dsn).path
    conn = await connect(f"postgresql://postroom@127.0.0.1:{port}{path}?sslmode=disable")
    theirs = {row["name"]: row for row in await conn.fetch(ALL, NAMES)}
    await conn.close()
    server.close()
    await server.wait_closed()

    assert fussy.was_asked
    if name != "client_connection_check_interval":  # the only one that a socket of the machine can show
        assert theirs["client_connection_check_interval"]["setting"] == "2000"
