"""The API inside `up`: the port is taken first, open requests end soon after the stop."""

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import uvicorn
from fastapi import FastAPI

from postroom.api.app import create_app
from postroom.api.live import live
from postroom.cli.installation import Installation
from postroom.cli.settled import settled
from postroom.db.beside import beside
from postroom.errors import Broken
from postroom.http.ws import LARGEST
from postroom.people.tokens import open_issuers

GRACE_SECONDS = 1
BACKLOG = 512
UNREAD = 30_000
"""Milliseconds that a client may leave untaken what was sent, before the kernel cuts it off. An answer that
was given up still lies in its connection's buffer, and a client that never reads would keep it for ever."""
REASONS = {
    errno.EADDRINUSE: "is taken, perhaps by another `postroom up`; stop that one, or choose another port "
    "with --port or POSTROOM_PORT",
    errno.EACCES: "may only be used by root; choose one above 1023 with --port or POSTROOM_PORT",
    errno.EADDRNOTAVAIL: "cannot be used, as that is no address of this machine; choose one with --host",
}


class PortNotFree(Broken):
    """The API cannot listen where it should."""

    code = "cli.port_not_free"


class _Server(uvicorn.Server):
    """Leaves signals to `up`."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens there and nowhere else. Raises `PortNotFree`."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        listener = socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except socket.gaierror as error:
        raise PortNotFree(f"There is no address {host} to listen on; choose another with --host.") from error
    except OSError as error:
        why = REASONS.get(error.errno or 0, f"cannot be used: {error.strerror}")
        raise PortNotFree(f"Port {port} of {host} {why}.", host=host, port=port) from error
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # what is accepted inherits it
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD)
    return listener


def address(host: str, listener: socket.socket) -> str:
    """Where somebody on this machine finds what listens there."""
    shown = "127.0.0.1" if host == "0.0.0.0" else f"[{host}]" if ":" in host else host
    return f"http://{shown}:{listener.getsockname()[1]}"


@asynccontextmanager
async def answering(house: Installation, listener: socket.socket) -> AsyncIterator[None]:
    """The API of an installation, while the block runs."""
    async with live(house.database, house.hints) as news, open_issuers(house.settings.issuers) as issuers:
        app = create_app(
            house.database, house.settings, house.vault, house.providers, news, house.oauth, issuers
        )
        with settled():
            async with serving(app, listener):
                yield


@asynccontextmanager
async def serving(app: FastAPI, listener: socket.socket) -> AsyncIterator[None]:
    """Answer requests on the socket while the block runs."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
        timeout_keep_alive=30,
        ws="websockets-sansio",
        ws_max_size=LARGEST,
        ws_per_message_deflate=False,  # a compressor for each connection has many times an event's 300 bytes
    )
    server, ended = _Server(config), asyncio.Event()

    async def serve() -> None:
        try:
            await server.serve(sockets=[listener])
        finally:
            ended.set()

    async with beside(serve()):
        try:
            yield
        finally:
            app.state.door.streams.end()  # nobody else does, and the server would wait for them
            server.should_exit = True
            await ended.wait()
