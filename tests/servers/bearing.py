"""A Dovecot that asks the tests' token server about access tokens, and accounts that log in by a grant."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from postroom.accounts.connect import Connected, Wish, connect
from postroom.accounts.grant import given
from postroom.accounts.oauth import Oauth
from postroom.db.pool import Database
from postroom.net.client import Client
from postroom.net.egress import Egress
from postroom.providers.registry import Registry
from postroom.sync.halt import begin_anew
from postroom.vault.seal import Key, Vault

from .dovecot import Dovecot, free_port, running_or_skip
from .oauth import MAILSERVER, Consent, TokenServer, token_server
from .tenants import ONE

VAULT = Vault([Key.derived(b"a key that is only for tests")])
OAUTH = Oauth(Client(Egress(private_allowed=True)))
PROVIDERS = Registry(Egress(private_allowed=True))


@pytest.fixture(scope="session")
def bearing() -> Iterator[tuple[Dovecot, int]]:
    """A Dovecot, and the port on which it will ask."""
    port = free_port()
    asking = f"""
introspection_mode = post
introspection_url = http://{":".join(MAILSERVER)}@127.0.0.1:{port}/introspect
username_attribute = username
active_attribute = active
active_value = true
"""
    with running_or_skip(bearing=asking) as server:
        yield server, port


@dataclass(frozen=True, slots=True)
class Mail:
    """A mailbox, and who gives tokens for it."""

    dovecot: Dovecot
    tokens: TokenServer
    user: str
    consent: Consent

    def oauth(self, **more: Any) -> dict[str, Any]:
        return self.tokens.oauth(self.consent, **more)

    def wish(self, **more: Any) -> Wish:
        grant, granted = given(self.oauth(**more))
        settings = {"host": self.dovecot.host, "port": self.dovecot.port, "security": "plain"}
        address = f"{self.user}@example.org"
        return Wish(address, settings=settings, username=self.user, grant=grant, granted=granted)

    async def connected(self, db: Database, **more: Any) -> Connected:
        return await connect(db, VAULT, PROVIDERS, ONE, self.wish(**more), begin_anew, OAUTH)


@pytest.fixture
async def mail(bearing: tuple[Dovecot, int], tenants: None) -> AsyncIterator[Mail]:  # noqa: ARG001
    """Somebody's mailbox with three messages, and their consent to have it read."""
    dovecot, port = bearing
    user = dovecot.user()
    dovecot.append(user, "INBOX", [b"Subject: %d\r\n\r\nhello\r\n" % n for n in range(3)])
    async with token_server(port) as tokens:
        yield Mail(dovecot, tokens, user, tokens.consent(user))
