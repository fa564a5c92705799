"""The application with a client of its own at the tests' token server, and browsers that people sit at."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from fastapi import FastAPI
from pydantic import SecretStr
from servers.api import key_of
from servers.bearing import PROVIDERS, Mail
from servers.oauth import TokenServer
from servers.tenants import ONE

from postroom.accounts import store
from postroom.accounts.clients import clients_of
from postroom.accounts.model import Account
from postroom.accounts.oauth import Oauth
from postroom.api.app import create_app
from postroom.api.live import Live, live
from postroom.db.listen import open_hints
from postroom.db.pool import Database
from postroom.http.caller import Scope
from postroom.ids import TenantId
from postroom.net.client import Client
from postroom.net.egress import Egress
from postroom.people import sessions
from postroom.settings import OauthClientSettings, Settings
from postroom.vault.seal import Vault

HERE = "http://postroom.test"
RETURN = "https://app.example/connected?from=postroom"
AUTH_URL = "/v1/accounts/oauth/auth-url"
CALLBACK = f"{HERE}/v1/accounts/oauth/callback"
ACCOUNTS = "/v1/accounts"
BACK: dict[str, Any] = {"return_to": RETURN, "state": "theirs"}


def installation(
    db: Database, vault: Vault, news: Live, clients: dict[str, OauthClientSettings], **more: Any
) -> FastAPI:
    settings = Settings(**{"public_url": HERE, "oauth_return_urls": [RETURN], **more})
    oauth = Oauth(Client(Egress(private_allowed=True)), clients_of(clients))
    return create_app(db, settings, vault, PROVIDERS, news, oauth)


def client_of(mail: Mail) -> OauthClientSettings:
    """Our client at that provider."""
    tokens, dovecot = mail.tokens, mail.dovecot
    return OauthClientSettings(
        token_url=tokens.url(),
        client_id=tokens.client_id,
        client_secret=SecretStr(tokens.client_secret or ""),
        authorization_url=tokens.url("/authorize"),
        scope="imap openid email",
        issuer=tokens.url(""),
        parameters={"access_type": "offline"},
        server=f"imap://{dovecot.host}:{dovecot.port}",
        starttls="off",
        username="local_part",
    )


@dataclass
class Office:
    """An installation, and whoever asks it."""

    db: Database
    app: FastAPI
    address: str  # of a mailbox
    clients: list[httpx2.AsyncClient] = field(default_factory=list)

    def browser(self) -> httpx2.AsyncClient:
        transport = httpx2.ASGITransport(self.app, raise_app_exceptions=False)
        client = httpx2.AsyncClient(transport=transport, base_url=HERE)
        self.clients.append(client)
        return client

    async def application(self, tenant: TenantId = ONE, *scopes: Scope) -> httpx2.AsyncClient:
        """It shows a key."""
        client = self.browser()
        client.headers["Authorization"] = f"Bearer {await key_of(self.db, tenant, *scopes)}"
        return client

    async def person(self, tenant: TenantId = ONE) -> httpx2.AsyncClient:
        """A browser in which somebody has signed in, on a page of ours."""
        client = self.browser()
        link = (await sessions.new_link(self.db, tenant, timedelta(minutes=1))).text
        client.cookies.set("postroom_session", await sessions.open_session(self.db, link))
        client.headers["Sec-Fetch-Site"] = "same-origin"
        return client

    async def begun(self, who: httpx2.AsyncClient, **more: Any) -> str:
        """Where a person is to be sent."""
        answer = await who.post(AUTH_URL, json={"client": "mail", **more})
        assert answer.status_code == 201, answer.text
        url: str = answer.json()["url"]
        return url

    async def back(self, who: httpx2.AsyncClient, url: str) -> httpx2.Response:
        """A browser that comes from another site shows no cookie that is SameSite=Strict."""
        kept = who.cookies.get("postroom_session")
        if kept is not None:
            who.cookies.delete("postroom_session")
        try:
            return await who.get(url, headers={"Sec-Fetch-Site": "cross-site"})
        finally:
            if kept is not None:
                who.cookies.set("postroom_session", kept)

    async def addresses(self, who: httpx2.AsyncClient) -> list[str]:
        """What is connected."""
        return [each["address"] for each in (await who.get(ACCOUNTS)).json()["items"]]


@dataclass
class Beside(Office):
    """With the tests' own provider beside it."""

    mail: Mail = field(kw_only=True)

    @property
    def tokens(self) -> TokenServer:
        return self.mail.tokens

    async def account(self) -> Account:
        """That of the mailbox, once it is connected."""
        async with self.db.transaction(ONE) as conn:
            found = await store.find(conn, ONE, self.address)
        assert found is not None
        return found

    async def through(self, who: httpx2.AsyncClient, **more: Any) -> httpx2.Response:
        """All of it, in one browser."""
        return await self.back(who, await consented(await self.begun(who, **more)))


async def consented(url: str) -> str:
    """What a browser does at the provider: where it is sent back to."""
    async with httpx2.AsyncClient(trust_env=False) as there:
        where: str = (await there.get(url)).headers["Location"]
    return where


def told(answer: httpx2.Response) -> dict[str, str]:
    """What an application is told in the URL to which a browser is sent."""
    where = urlsplit(answer.headers["Location"])
    assert f"{where.scheme}://{where.netloc}{where.path}" == RETURN.partition("?")[0]
    return {name: values[0] for name, values in parse_qs(where.query).items()}


@pytest.fixture
async def office(
    db: Database, vault: Vault, mail: Mail, request: pytest.FixtureRequest
) -> AsyncIterator[Beside]:
    """With the client `mail` of the provider that `mail.tokens` is, and `other`, which is one of it, too.

    Parameters are further settings.
    """
    client = client_of(mail)
    mail.tokens.signed_in = mail.user
    mail.tokens.redirects |= {f"{CALLBACK}/mail", f"{CALLBACK}/other"}
    async with open_hints(db) as hints, live(db, hints) as news:
        app = installation(
            db, vault, news, {"mail": client, "other": client}, **getattr(request, "param", {})
        )
        made = Beside(db, app, f"{mail.user}@example.org", mail=mail)
        yield made
        for each in made.clients:
            await each.aclose()
