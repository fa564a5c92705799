"""Connecting by a grant over HTTP, and giving an account another one."""

from typing import Any

import pytest
from servers.api import Client
from servers.bearing import OAUTH, PROVIDERS, Mail
from servers.tenants import ONE

from postroom.accounts import store
from postroom.accounts.model import AccountState
from postroom.db.pool import Database
from postroom.events import log
from postroom.events.model import stream_of
from postroom.sync.perform import Means, perform
from postroom.vault.seal import Vault

ACCOUNTS = "/v1/accounts"
NO_CLIENT = {"token_url": None, "client_id": None, "client_secret": None}


def wish(mail: Mail, **more: Any) -> dict[str, Any]:
    server = f"imap://{mail.dovecot.host}:{mail.dovecot.port}"
    address = f"{mail.user}@example.org"
    return {"address": address, "username": mail.user, "server": server, "starttls": "off"} | more


async def test_a_mailbox_is_connected_by_a_grant_and_no_answer_shows_it(api: Client, mail: Mail) -> None:
    first = mail.consent.current
    answer = await api.post(ACCOUNTS, json=wish(mail, oauth=mail.oauth()))
    account = answer.json()["account"]
    shown = answer.text + (await api.get(f"{ACCOUNTS}/{account['id']}")).text

    assert answer.status_code == 201, answer.text
    assert (account["auth"], account["state"]) == ("oauth2", "active")
    assert answer.json()["estimate"]["messages"] == 3
    secrets = [first, mail.consent.current, mail.tokens.client_secret or "", *mail.consent.access]
    assert not [secret for secret in secrets if secret in shown]


async def test_a_token_response_is_taken_whole_so_that_nothing_is_spent_to_connect(
    api: Client, mail: Mail
) -> None:
    mail.consent.access.add("access-that-came-with-it")
    oauth = mail.oauth(access_token="access-that-came-with-it", expires_in=3600)

    answer = await api.post(ACCOUNTS, json=wish(mail, oauth=oauth))

    assert answer.status_code == 201, answer.text
    assert mail.tokens.asked == ["/introspect"]


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"refresh_token": "canary"}, 422, "accounts.grant_gone"),
        ({"client_secret": "canary"}, 400, "accounts.bad_grant"),
        ({"scope": "more than allowed"}, 400, "accounts.bad_grant"),
        ({"client_auth": "canary"}, 422, "http.invalid_request"),
        (
            {"client": "canary", "token_url": None, "client_id": None, "client_secret": None},
            400,
            "accounts.bad_grant",
        ),
        ({"client": "ours"}, 400, "accounts.bad_grant"),
        ({"token_url": "http://example.org/token"}, 400, "accounts.bad_grant"),
        ({"token_url": "https://127.0.0.1:1/token"}, 503, "accounts.tokens_away"),
        ({"password": "canary"}, 422, "http.invalid_request"),
        ({"refresh_token": None}, 422, "http.invalid_request"),
    ],
    ids=str,
)
async def test_what_is_no_good_grant_says_why_and_leaves_nothing(
    api: Client, mail: Mail, change: dict[str, Any], status: int, code: str
) -> None:
    before = (await api.get(ACCOUNTS)).json()
    answer = await api.post(ACCOUNTS, json=wish(mail, oauth=mail.oauth(**change)))

    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert "canary" not in answer.text
    assert (await api.get(ACCOUNTS)).json() == before


@pytest.mark.parametrize("both", [True, False])
async def test_one_connects_with_a_password_or_a_grant(api: Client, mail: Mail, both: bool) -> None:
    given = {"oauth": mail.oauth(), "password": "x"} if both else {}
    answer = await api.post(ACCOUNTS, json=wish(mail, **given))

    assert (answer.status_code, answer.json()["code"]) == (422, "http.invalid_request")
    assert mail.tokens.asked == []


async def test_a_grant_that_was_spent_in_vain_says_so(api: Client, mail: Mail) -> None:
    answer = await api.post(ACCOUNTS, json=wish(mail, oauth=mail.oauth(), folders="none-like-this"))

    assert answer.json()["code"] == "accounts.nothing_to_copy"
    assert answer.json()["data"]["is_grant_spent"] is True


async def test_an_estimate_spends_no_refresh_token(api: Client, mail: Mail) -> None:
    path = f"{ACCOUNTS}/estimate"
    mail.consent.access.add("access-that-came-with-it")
    oauth = mail.oauth(access_token="access-that-came-with-it")
    good = await api.post(path, json=wish(mail, oauth=oauth))
    without = await api.post(path, json=wish(mail, oauth=mail.oauth()))
    mail.tokens.expire()
    stale = await api.post(path, json=wish(mail, oauth=oauth))

    assert good.json()["estimate"]["messages"] == 3
    assert (without.status_code, without.json()["code"]) == (400, "accounts.bad_grant")
    assert (stale.status_code, stale.json()["code"]) == (422, "providers.token_refused")
    assert "/token" not in mail.tokens.asked


async def test_an_account_is_given_another_grant_or_a_password_and_keeps_its_server(
    api: Client, db: Database, vault: Vault, mail: Mail
) -> None:
    path = (await api.post(ACCOUNTS, json=wish(mail, oauth=mail.oauth()))).headers["Location"]
    mail.consent.is_revoked = True
    mail.tokens.expire()
    await synced(db, vault)
    gone = (await api.get(path)).json()

    refused = await api.patch(path, json={"oauth": mail.oauth()})
    newer = Mail(mail.dovecot, mail.tokens, mail.user, mail.tokens.consent(mail.user))
    renewed = await api.patch(path, json={"oauth": newer.oauth()})
    await synced(db, vault)
    in_order = (await api.get(path)).json()
    plain = (await api.patch(path, json={"password": mail.dovecot.password})).json()
    await synced(db, vault)

    assert (gone["state"], gone["auth"]) == ("reauth_required", "oauth2")
    assert (refused.status_code, refused.json()["code"]) == (422, "accounts.grant_gone")
    assert renewed.json()["state"] == "active"
    assert (in_order["last_sync_status"], in_order["auth"]) == ("success", "oauth2")
    assert plain["auth"] == "password"
    assert (await api.get(path)).json()["last_sync_status"] == "success"
    assert await kinds(db, mail) == [
        "accounts.connected",
        "accounts.reauth_required",
        "accounts.changed",
        "accounts.recovered",
        "accounts.changed",
    ]
    async with db.transaction(ONE) as conn:
        assert await conn.fetchval("SELECT count(*) FROM accounts_token") == 0


async def test_a_paused_account_is_given_nothing_new(api: Client, mail: Mail) -> None:
    path = (await api.post(ACCOUNTS, json=wish(mail, oauth=mail.oauth()))).headers["Location"]
    await api.patch(path, json={"paused": True})
    mail.tokens.asked.clear()

    answer = await api.patch(path, json={"oauth": mail.oauth()})

    assert (answer.status_code, answer.json()["code"]) == (409, "accounts.is_paused")
    assert mail.tokens.asked == []


async def test_a_removed_account_has_its_grant_revoked(api: Client, mail: Mail) -> None:
    oauth = mail.oauth(revocation_url=mail.tokens.url("/revoke"))
    path = (await api.post(ACCOUNTS, json=wish(mail, oauth=oauth))).headers["Location"]

    assert (await api.delete(path)).status_code == 204
    assert mail.consent.is_revoked


async def synced(db: Database, vault: Vault) -> None:
    means = Means(db, vault, PROVIDERS, oauth=OAUTH)
    async with db.transaction(ONE) as conn:
        account = (await store.list_after(conn, ONE))[-1]
        await conn.execute("UPDATE accounts_account SET login_after = NULL")
    assert account.state is not AccountState.PAUSED
    await perform(means, account, every=means.manner.pause)


async def kinds(db: Database, mail: Mail) -> list[str]:
    async with db.transaction(ONE) as conn:
        account = await store.find(conn, ONE, f"{mail.user}@example.org")
        assert account is not None
        entries = await log.read(conn, ONE, stream_of(account.id), limit=1000)
    return [entry.kind for entry in entries if entry.kind.startswith("accounts.")]
