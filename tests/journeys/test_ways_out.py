"""Through no door of an installation for strangers do they get into the network that it stands in."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx2
import pytest
from net.forms import FORMS, NAMES, in_url, records
from servers.api import key_of
from servers.canary import Canary, canary
from servers.issuer import Issuer
from servers.names import NameServer, asking, name_server
from servers.tenants import ONE

from postroom.accounts.connect import Wish, examine
from postroom.accounts.grant import Grant, OauthClient
from postroom.accounts.oauth import Oauth
from postroom.accounts.seeker import Seeker
from postroom.api.app import create_app
from postroom.api.live import live
from postroom.db.listen import open_hints
from postroom.db.pool import Database
from postroom.errors import PostroomError
from postroom.net.client import Client
from postroom.net.egress import Egress
from postroom.people.jwks import Jwks
from postroom.people.model import IssuerAway
from postroom.providers.registry import Registry
from postroom.settings import Settings
from postroom.vault.model import Secret
from postroom.vault.seal import Vault

PUBLIC_ONLY = Egress(private_allowed=False)
PREFIXES = ("", "imap.", "mail.", "autoconfig.")
GRANT = {"client_id": "me", "refresh_token": "r"}


@dataclass(frozen=True, slots=True)
class House:
    """An installation for strangers, one of them, and the name server of this machine."""

    stranger: httpx2.AsyncClient
    names: NameServer
    canary: Canary
    issuer: Issuer

    async def refused(self, path: str = "/v1/accounts", **wanted: object) -> None:
        answer = await self.stranger.post(path, json={"address": "ann@mail.example", **wanted})
        assert 400 <= answer.status_code < 600, answer.text
        assert answer.json()["code"] not in {"http.unexpected", "http.invalid_request"}, (wanted, answer.text)


@pytest.fixture
async def house(
    db: Database,
    dsn: str,
    vault: Vault,
    tenants: None,  # noqa: ARG001
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[House]:
    providers, oauth = Registry(PUBLIC_ONLY), Oauth(Client(PUBLIC_ONLY))
    async with (
        open_hints(db) as hints,
        live(db, hints) as news,
        name_server() as names,
        Issuer().running() as issuer,
    ):
        for (name, kind), texts in records().items():
            names.zone |= {(f"{prefix}{name}", kind): texts for prefix in PREFIXES}
        seek = Seeker(PUBLIC_ONLY, names.names)
        app = create_app(db, Settings(rate_limit_per_minute=0), vault, providers, news, oauth, seek)
        headers = {"Authorization": f"Bearer {await key_of(db, ONE)}"}
        transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
        async with httpx2.AsyncClient(
            transport=transport, base_url="http://postroom.test", headers=headers
        ) as stranger:
            with canary() as watching:
                watching.known |= {urlsplit(dsn).port or 0, issuer.port}
                asking(monkeypatch, names)
                yield House(stranger, names, watching, issuer)


async def imaps(house: House, host: str) -> None:
    await house.refused(password="x", server=f"imaps://{in_url(host)}:{house.canary.port}")


async def imap(house: House, host: str) -> None:
    server = f"imap://{in_url(host)}:{house.canary.port}"
    await house.refused(password="x", server=server, starttls="off")


async def estimate(house: House, host: str) -> None:
    server = f"imaps://{in_url(host)}:{house.canary.port}"
    await house.refused("/v1/accounts/estimate", password="x", server=server)


async def token_url(house: House, host: str) -> None:
    """Over TLS, and in the clear, which is for the operator's own machine."""
    for scheme in ("https", "http"):
        url = f"{scheme}://{in_url(host)}:{house.canary.port}/token"
        await house.refused(server="imaps://8.8.8.8", oauth={**GRANT, "token_url": url})


async def revocation_url(house: House, host: str) -> None:
    url = f"https://{in_url(host)}:{house.canary.port}/revoke"
    grant = Grant(Secret("r"), OauthClient("https://login.example/token", "me", revocation_url=url))
    with pytest.raises(PostroomError):
        await Oauth(Client(PUBLIC_ONLY)).revoke(grant, Secret("r"))


async def domain(house: House, host: str) -> None:
    """Of an address whose server is looked for: its DNS, its autoconfig documents, the usual names."""
    await house.refused(address=f"ann@{host}", password="x")


async def srv(house: House, host: str) -> None:
    """What the DNS of a domain names as its server."""
    with suppress(UnicodeError):
        target = host.encode("idna").decode()
        house.names.zone["_imaps._tcp.evil.example", "SRV"] = [
            f"0 0 {house.canary.port} {target.rstrip('.')}."
        ]
    seek = Seeker(PUBLIC_ONLY, house.names.names)
    with pytest.raises(PostroomError):
        await examine(Registry(PUBLIC_ONLY), Wish("ann@evil.example", "x"), seek=seek)


async def keys_of_an_issuer(house: House, host: str) -> None:
    """The operator named the issuer, which may be anywhere; not what it says of itself."""
    house.issuer.configuration = {"jwks_uri": f"http://{in_url(host)}:{house.canary.port}/jwks"}
    with pytest.raises(IssuerAway):
        await Jwks(house.issuer.settings(jwks_url=None)).key("one", "RS256")


DOORS: dict[Callable[[House, str], Awaitable[None]], list[str]] = {
    imaps: FORMS,
    imap: FORMS,
    estimate: FORMS,
    token_url: FORMS,
    revocation_url: FORMS,
    domain: [form for form in FORMS if "%" not in form],
    srv: list(NAMES),
    keys_of_an_issuer: FORMS,
}


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
async def test_no_door_leads_inside(house: House, door: Callable[[House, str], Awaitable[None]]) -> None:
    for host in DOORS[door]:
        async with asyncio.timeout(30):
            await door(house, host)
        assert house.canary.is_silent, (host, house.canary.begun)


async def test_who_is_refused_learns_nothing_of_who_answers_there(house: House) -> None:
    """One port listens and the other does not; both answers are the same."""
    told = []
    for port in (house.canary.port, 1):
        wanted = {"address": "ann@mail.example", "password": "x", "server": f"imaps://127.0.0.1:{port}"}
        told.append((await house.stranger.post("/v1/accounts", json=wanted)).json())

    assert told[0] == told[1]
    assert told[0]["code"] == "net.egress_refused"
