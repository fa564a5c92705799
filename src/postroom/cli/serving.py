"""The API inside a command; open requests end soon after the stop."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import uvicorn
from fastapi import FastAPI

from postroom.api.app import create_app
from postroom.api.live import live
from postroom.cli.installation import Installation
from postroom.cli.outward import PROVIDERS, SEEKER, Seeking
from postroom.cli.settled import settled
from postroom.cli.starting import loading
from postroom.db.beside import beside
from postroom.http.ws import LARGEST
from postroom.people.tokens import open_issuers

GRACE_SECONDS = 1


class _Server(uvicorn.Server):
    """Leaves signals to `up`."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def answering(house: Installation, listener: socket.socket) -> AsyncIterator[None]:
    """The API of an installation, while the block runs."""
    async with live(house.database, house.hints) as news, open_issuers(house.settings.issuers) as issuers:
        seek = Seeking(house.allowed, ispdb=house.settings.autoconfig_ispdb)
        app = create_app(
            house.database, house.settings, house.vault, house.providers, news, house.oauth, seek, issuers
        )
        with settled():
            async with serving(app, listener), loading(PROVIDERS, SEEKER):
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
