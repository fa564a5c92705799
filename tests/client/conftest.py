"""The application on a port, a proxy in front of it that breaks connections, and both clients."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from fastapi import FastAPI
from histories.proxy import Proxy, proxy
from servers.api import key_of
from servers.live import served
from servers.tenants import ONE

from postroom.client import AsyncClient, Client
from postroom.db.pool import Database


@dataclass(frozen=True, slots=True)
class Both:
    """One of the two clients, asked in one way. The one that waits does so in a thread."""

    client: Any
    proxy: Proxy
    waits: list[float]  # seconds that it waited before it asked again; it did not really

    async def ask(self, asking: Callable[[Any], Any]) -> Any:
        if isinstance(self.client, Client):
            return await asyncio.to_thread(asking, self.client)
        return await asking(self.client)

    async def some(self, listing: Callable[[Any], Any], most: int = 1000) -> list[Any]:
        """The first so many that are told."""
        if isinstance(self.client, Client):
            return await asyncio.to_thread(_first, listing(self.client), most)
        found, telling = [], listing(self.client)
        async for each in telling:
            found.append(each)
            if len(found) == most:
                break
        await telling.aclose()
        return found


def _first(telling: Any, most: int) -> list[Any]:
    found = []
    for each in telling:
        found.append(each)
        if len(found) == most:
            break
    telling.close()
    return found


Made = Callable[..., Both]


@pytest.fixture(params=["that waits", "that is awaited"])
async def make(
    request: pytest.FixtureRequest, app: FastAPI, db: Database, tenants: None
) -> AsyncIterator[Made]:
    """Makes one of the clients, with a key of tenant ONE that may do everything unless told otherwise."""
    del tenants
    key, made = await key_of(db, ONE), []
    async with served(app, None) as live:
        assert live.base_url.port is not None
        async with proxy("127.0.0.1", live.base_url.port) as between:

            def opened(**options: Any) -> Both:
                kind: Any = Client if request.param == "that waits" else AsyncClient
                here = f"http://127.0.0.1:{between.port}"
                client = kind(**{"url": here, "key": key, **options})
                made.append(client)
                waits: list[float] = []

                async def wait(seconds: float) -> None:
                    waits.append(seconds)

                client.conversation._wire.wait = wait
                return Both(client, between, waits)

            yield opened
            for client in made:
                if isinstance(client, Client):
                    client.close()
                else:
                    await client.close()


@pytest.fixture
def both(make: Made) -> Both:
    return make()
