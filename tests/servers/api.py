"""The whole application in this process, and clients that call it."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import TypeAlias

import httpx2
import pytest
from fastapi import FastAPI

from postroom.accounts.seeker import Seeker
from postroom.api.app import create_app
from postroom.api.live import live
from postroom.db.listen import open_hints
from postroom.db.pool import Database
from postroom.http.caller import Scope
from postroom.ids import TenantId
from postroom.net.egress import Egress
from postroom.people import keys
from postroom.providers.registry import Registry
from postroom.settings import Settings
from postroom.vault.seal import Key, Vault

from .bearing import OAUTH
from .document import document_of
from .tenants import ONE

ORIGIN = "https://page.example"
Client = httpx2.AsyncClient
Connect: TypeAlias = Callable[[str | None], Client]


@pytest.fixture(scope="session")
def vault() -> Vault:
    return Vault([Key.derived(b"a secret of this installation")])


@pytest.fixture
async def app(db: Database, vault: Vault) -> AsyncIterator[FastAPI]:
    providers = Registry(Egress(private_allowed=True))
    async with open_hints(db) as hints, live(db, hints) as news:
        seek = Seeker(providers.allowed)
        yield create_app(db, Settings(cors_origins=[ORIGIN]), vault, providers, news, OAUTH, seek)


@pytest.fixture
async def connect(app: FastAPI) -> AsyncIterator[Callable[[str | None], Client]]:
    """A client that shows the given key, or none; it takes no answer that the document does not know."""
    async with AsyncExitStack() as stack:

        def opened(key: str | None) -> Client:
            headers = {"Authorization": f"Bearer {key}"} if key else {}
            transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
            client = Client(
                transport=transport,
                base_url="http://postroom.test",
                headers=headers,
                event_hooks={"response": [document_of(app).check]},
            )
            stack.push_async_callback(client.aclose)
            return client

        yield opened


@pytest.fixture
def stranger(connect: Callable[[str | None], Client]) -> Client:
    """A client without a key."""
    return connect(None)


@pytest.fixture
async def api(
    db: Database,
    tenants: None,  # noqa: ARG001  # they must be there first
    connect: Callable[[str | None], Client],
) -> Client:
    """A client with a key of tenant ONE that may do everything."""
    return connect(await key_of(db, ONE))


async def key_of(db: Database, tenant: TenantId, *scopes: Scope) -> str:
    """A new key; without scopes, one that may do everything."""
    _, text = await keys.create(db, tenant, "test", frozenset(scopes) or keys.EVERYTHING)
    return text
