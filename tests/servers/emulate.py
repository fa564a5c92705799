"""The sign-in of Google, Microsoft and Clerk, as npm's `emulate` plays it, and a Dovecot that believes it."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from pydantic import SecretStr

from postroom.settings import OauthClientSettings

from .dovecot import Dovecot, free_port, running_or_skip
from .fetch import CannotFetch
from .fetch import emulate as fetch_emulate

USER = "grace@example.org"
CLIENT = {"client_id": "postroom-tests", "client_secret": "not a secret", "name": "tests"}
BACK = "http://127.0.0.1/back"
CALLBACK = "http://postroom.test/v1/accounts/oauth/callback/mail"


@dataclass(frozen=True, slots=True)
class Place:
    """Paths of a provider. `issuer`: as a client's setting has it, behind its URL."""

    authorize: str
    token: str
    userinfo: str
    revoke: str
    issuer: str = ""

    @property
    def sign_in(self) -> str:
        return f"{self.authorize}/callback"


PLACES = {
    "google": Place("/o/oauth2/v2/auth", "/oauth2/token", "/oauth2/v2/userinfo", "/oauth2/revoke"),
    "microsoft": Place(
        "/oauth2/v2.0/authorize",
        "/oauth2/v2.0/token",
        "/oidc/userinfo",
        "/oauth2/v2.0/revoke",
        "/{tenantid}/v2.0",
    ),
}


@dataclass(frozen=True, slots=True)
class Emulated:
    """A provider that runs, and its mail server."""

    service: str
    port: int
    dovecot: Dovecot

    @property
    def place(self) -> Place:
        return PLACES[self.service]

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    async def sign_in(self) -> dict[str, Any]:
        """What a person does in a browser, and an application after that: a token response."""
        asked = {"email": USER, "client_id": CLIENT["client_id"], "redirect_uri": BACK, "scope": "email"}
        async with httpx2.AsyncClient(trust_env=False) as browser:
            sent_back = await browser.post(self.url(self.place.sign_in), data=asked)
            code = parse_qs(urlsplit(sent_back.headers["Location"]).query)["code"][0]
            form = {"grant_type": "authorization_code", "code": code, "redirect_uri": BACK, **CLIENT}
            answer = await browser.post(self.url(self.place.token), data=form)
        said: dict[str, Any] = answer.json()
        return said

    async def consented(self, url: str) -> str:
        """What a person does who is sent to its page: they choose their account there, and are sent back."""
        async with httpx2.AsyncClient(trust_env=False) as browser:
            page = await browser.get(url)
            action = re.search(r'action="([^"]+)"', page.text)
            fields = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page.text))
            assert action is not None, page.text
            asked = {name: unescape(value) for name, value in fields.items()}
            sent_back = await browser.post(self.url(unescape(action[1])), data=asked)
        where: str = sent_back.headers["Location"]
        return where

    def client(self) -> OauthClientSettings:
        """As an operator writes it."""
        return OauthClientSettings(
            token_url=self.url(self.place.token),
            client_id=CLIENT["client_id"],
            client_secret=SecretStr(CLIENT["client_secret"]),
            revocation_url=self.url(self.place.revoke),
            authorization_url=self.url(self.place.authorize),
            scope="openid email",
            issuer=f"http://localhost:{self.port}{self.place.issuer}",
            server=f"imap://{self.dovecot.host}:{self.dovecot.port}",
            starttls="off",
        )

    async def revoke(self, token: str) -> None:
        async with httpx2.AsyncClient(trust_env=False) as browser:
            await browser.post(self.url(self.place.revoke), data={"token": token})

    def oauth(self, said: dict[str, Any], **more: Any) -> dict[str, Any]:
        """A grant from a token response."""
        who = {key: CLIENT[key] for key in ("client_id", "client_secret")}
        return {"token_url": self.url(self.place.token), **who, "refresh_token": said["refresh_token"]} | more


MAILBOXES = {
    "users": [{"email": USER, "name": "Grace"}],
    "oauth_clients": [CLIENT | {"redirect_uris": [BACK, CALLBACK]}],
}


@contextmanager
def playing(service: str, seed: dict[str, Any]) -> Iterator[int]:
    """A provider on loopback for the length of a `with` block; its port. Raises CannotFetch."""
    module, port = fetch_emulate(), free_port()
    script = Path(__file__).with_suffix(".mjs")
    process = subprocess.Popen(
        ["node", script, str(module), service, str(port), json.dumps(seed)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with process:
        assert process.stdout is not None
        assert process.stdin is not None
        if process.stdout.readline() != b"ready\n":
            raise CannotFetch(f"node cannot run emulate for {service}")
        yield port
        process.stdin.close()


@contextmanager
def playing_or_skip(service: str, seed: dict[str, Any]) -> Iterator[int]:
    """The same; tests skip where there is none."""
    with ExitStack() as stack:
        try:
            port = stack.enter_context(playing(service, seed))
        except CannotFetch as error:
            if os.environ.get("CI") == "true":
                pytest.fail(f"No emulate, and with CI=true a skip is a failure: {error}")
            pytest.skip(f"no emulate here: {error}")
        yield port


@contextmanager
def emulated(service: str) -> Iterator[Emulated]:
    """A provider, and a mail server that asks it whose a token is."""
    with ExitStack() as stack:
        port = stack.enter_context(playing_or_skip(service, MAILBOXES))
        url = f"http://127.0.0.1:{port}{PLACES[service].userinfo}"
        asking = f"introspection_mode = auth\nintrospection_url = {url}\nusername_attribute = email\n"
        yield Emulated(service, port, stack.enter_context(running_or_skip(bearing=asking)))


@pytest.fixture(scope="session", params=list(PLACES))
def provider(request: pytest.FixtureRequest) -> Iterator[Emulated]:
    """Google, then Microsoft."""
    with emulated(request.param) as running:
        yield running


@dataclass(frozen=True, slots=True)
class Clerk:
    """Clerk that runs, with Grace of the organisation Navy, and Bob, who is of none."""

    port: int

    @property
    def issuer(self) -> str:
        return f"http://localhost:{self.port}"

    async def sign_in(self, user: str, template: str = "") -> str:
        """What Clerk's page does once somebody has signed in: a session token. With a template: of no
        organisation."""
        headers = {"Authorization": "Bearer sk_test_emulated"}
        async with httpx2.AsyncClient(trust_env=False, base_url=self.issuer, headers=headers) as page:
            session = (await page.post("/v1/sessions", json={"user_id": user})).json()["id"]
            answer = await page.post(f"/v1/sessions/{session}/tokens{template}")
        token: str = answer.json()["jwt"]
        return token


@pytest.fixture(scope="session")
def clerk() -> Iterator[Clerk]:
    people = {"user_grace": "grace@example.org", "user_bob": "bob@example.org"}
    navy = {"name": "Navy", "slug": "navy", "members": [{"email": "grace@example.org", "role": "admin"}]}
    seed = {
        "users": [{"clerk_id": user, "email_addresses": [address]} for user, address in people.items()],
        "organizations": [{"clerk_id": "org_navy", **navy}],
    }
    with playing_or_skip("clerk", seed) as port:
        yield Clerk(port)
