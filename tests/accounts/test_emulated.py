"""Grants of Google, which keeps a refresh token, and of Microsoft, which gives another one each time."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest
from accounts.conftest import BACK, Office, installation, told
from servers.bearing import OAUTH, PROVIDERS, VAULT
from servers.emulate import USER, Emulated
from servers.tenants import ONE

from postroom.accounts import credentials
from postroom.accounts import store as accounts
from postroom.accounts.connect import Wish, connect
from postroom.accounts.grant import BadGrant, GrantGone, given
from postroom.accounts.model import Account, AccountState
from postroom.api.live import live
from postroom.db.listen import open_hints
from postroom.db.pool import Database
from postroom.sync import halt
from postroom.sync.halt import begin_anew
from postroom.sync.perform import Means, Outcome, perform
from postroom.sync.run import Manner

EXPIRED = "UPDATE accounts_token SET refresh_at = now(), expires_at = now()"


@pytest.fixture
async def account(db: Database, provider: Emulated, tenants: None) -> Account:  # noqa: ARG001
    """Connected by a grant; a mail has come."""
    provider.dovecot.append(USER, "INBOX", [b"Subject: hello\r\n\r\nhello\r\n"])
    said = await provider.sign_in()
    revocation = {"revocation_url": provider.url(provider.place.revoke)}
    return await made(db, provider.oauth(said, **revocation), provider)


async def made(db: Database, oauth: dict[str, str], provider: Emulated) -> Account:
    server = provider.dovecot
    settings = {"host": server.host, "port": server.port, "security": "plain"}
    grant, granted = given(oauth)
    wish = Wish(USER, settings=settings, grant=grant, granted=granted)
    return (await connect(db, VAULT, PROVIDERS, ONE, wish, begin_anew, OAUTH)).account


def means(db: Database) -> Means:
    return Means(db, VAULT, PROVIDERS, manner=Manner(grace=timedelta(), pause=timedelta()), oauth=OAUTH)


async def synced(db: Database, account: Account) -> Outcome:
    async with db.transaction(ONE) as conn:
        today = await accounts.get_by_id(conn, ONE, account.id)
    return await perform(means(db), today, every=timedelta(hours=1))


async def test_a_mailbox_is_copied_over_many_tokens(db: Database, account: Account) -> None:
    for _ in range(3):
        outcome = await synced(db, account)
        assert outcome.status == "success", outcome.error
        async with db.transaction(ONE) as conn:
            await conn.execute(EXPIRED)

    assert (await synced(db, account)).status == "success"


async def test_a_consent_that_is_withdrawn_needs_the_owner(
    db: Database, provider: Emulated, account: Account
) -> None:
    async with db.transaction(ONE) as conn:
        sealed = await accounts.secret(conn, ONE, account.id)
        token = await conn.fetchval("SELECT secret FROM accounts_token")
        await conn.execute(EXPIRED)
    grant = credentials.unseal_grant(VAULT, account, sealed)
    latest = credentials.unseal_token(VAULT, account, token).refresh_token or grant.refresh_token
    await provider.revoke(latest.reveal())

    outcome = await synced(db, account)

    assert isinstance(outcome.error, GrantGone)
    async with db.transaction(ONE) as conn:
        stopped = await accounts.get_by_id(conn, ONE, account.id)
    assert stopped.state is AccountState.REAUTH_REQUIRED


async def test_a_removal_withdraws_the_consent(db: Database, provider: Emulated, account: Account) -> None:
    async with db.transaction(ONE) as conn:
        sealed = await accounts.secret(conn, ONE, account.id)
    first = credentials.unseal_grant(VAULT, account, sealed).refresh_token.reveal()
    assert await halt.remove(db, account, means(db).tokens.revoke) is None

    with pytest.raises(GrantGone):
        await made(db, provider.oauth({"refresh_token": first}), provider)


async def test_a_wrong_client_is_told_before_anything_is_stored(
    db: Database,
    provider: Emulated,
    tenants: None,  # noqa: ARG001
) -> None:
    said = await provider.sign_in()

    with pytest.raises(BadGrant, match="does not accept the client"):
        await made(db, provider.oauth(said, client_secret="another"), provider)
    async with db.transaction(ONE) as conn:
        assert await accounts.find(conn, ONE, USER) is None


@pytest.fixture
async def sign_in(
    db: Database,
    provider: Emulated,
    tenants: None,  # noqa: ARG001
) -> AsyncIterator[Office]:
    """An installation with a client at the provider."""
    provider.dovecot.append(USER, "INBOX", [b"Subject: hello\r\n\r\nhello\r\n"])
    async with open_hints(db) as hints, live(db, hints) as news:
        app = installation(db, VAULT, news, {"mail": provider.client()})
        made = Office(db, app, USER)
        yield made
        for each in made.clients:
            await each.aclose()


async def test_a_person_consents_on_the_providers_page(
    db: Database, provider: Emulated, sign_in: Office
) -> None:
    application = await sign_in.application()
    url = await sign_in.begun(application, **BACK)
    said = told(await sign_in.back(sign_in.browser(), await provider.consented(url)))
    async with db.transaction(ONE) as conn:
        account = await accounts.find(conn, ONE, USER)
    assert account is not None

    assert said["account"] == str(account.public_id), said
    assert account.settings["identity"]["issuer"].startswith("http://localhost:")
    oauth = sign_in.app.state.desk.oauth
    for _ in range(2):
        outcome = await perform(replace(means(db), oauth=oauth), account, every=timedelta(hours=1))
        assert outcome.status == "success", outcome.error
        async with db.transaction(ONE) as conn:
            await conn.execute(EXPIRED)
            account = await accounts.get_by_id(conn, ONE, account.id)
