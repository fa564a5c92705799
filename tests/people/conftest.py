"""The application with an issuer that it believes, and a browser."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from servers.bearing import OAUTH
from servers.issuer import Issuer

from postroom.api.app import create_app
from postroom.api.live import live
from postroom.db.listen import open_hints
from postroom.db.pool import Database
from postroom.net.egress import Egress
from postroom.people.tokens import open_issuers
from postroom.providers.registry import Registry
from postroom.settings import Settings
from postroom.vault.seal import Vault

HERE = "http://postroom.test"


@dataclass
class House:
    """An installation, whoever asks it."""

    app: FastAPI
    issuer: Issuer
    clients: list[httpx2.AsyncClient] = field(default_factory=list)

    def client(self, token: str | None = None, base: str = HERE, **headers: str) -> httpx2.AsyncClient:
        """A browser, which keeps cookies; or an application, which shows a token."""
        shown = {"Authorization": f"Bearer {token}"} if token else {}
        transport = httpx2.ASGITransport(self.app, raise_app_exceptions=False)
        client = httpx2.AsyncClient(transport=transport, base_url=base, headers=shown | headers)
        self.clients.append(client)
        return client

    async def me(self, **claims: Any) -> dict[str, Any]:
        """What somebody with these claims is told of themselves."""
        answer = await self.client(self.issuer.token(**claims)).get("/v1/people/me")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found


@pytest.fixture
async def house(db: Database, vault: Vault) -> AsyncIterator[House]:
    async with Issuer().running() as issuer:
        settings = Settings(issuers=[issuer.settings()])
        providers = Registry(Egress(settings.private_allowed))
        async with (
            open_hints(db) as hints,
            live(db, hints) as news,
            open_issuers(settings.issuers) as issuers,
        ):
            made = House(create_app(db, settings, vault, providers, news, OAUTH, issuers=issuers), issuer)
            yield made
            for client in made.clients:
                await client.aclose()
