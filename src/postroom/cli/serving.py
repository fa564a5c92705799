"""The API inside a command; open requests end soon after the stop."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

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
IDLE_SECONDS = 30
"""How long a connection may be open without a request, and how long the head of one may take to come."""


class _Server(uvicorn.Server):
    """Leaves signals to `up`."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Impatient(H11Protocol):
    """Hangs up on who connects and asks nothing, or in pieces without end.

    The server itself knows a limit only from one answer to the next question, and none once that has begun.
    """

    _until: float | None = None  # the head of a request is waited for

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)  # which ends the wait, whatever it was that came
        self._expect()

    def _expect(self) -> None:
        is_asked = self.cycle is not None and not self.cycle.response_complete
        if is_asked or self.transport.is_closing() or self not in self.connections:  # or it is a WebSocket
            self._until = None
        elif self.timeout_keep_alive_task is None:
            loop = asyncio.get_running_loop()
            self._until = self._until or loop.time() + self.timeout_keep_alive
            self.timeout_keep_alive_task = loop.call_at(self._until, self.timeout_keep_alive_handler)


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
        timeout_keep_alive=IDLE_SECONDS,
        http=_Impatient,
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
