"""A mailbox that is connected by a grant, from a file and never from the command line."""

import asyncio
import json
from typing import Any

import pytest
from servers.bearing import Mail

from .conftest import Cli, Ended


async def run(cli: Cli, *words: str, **more: str) -> Ended:
    """The token server answers in this process meanwhile."""
    return await asyncio.to_thread(cli, *words, **more)


def words(mail: Mail, *more: str) -> tuple[str, ...]:
    server = f"imap://{mail.dovecot.host}:{mail.dovecot.port}"
    where = ("--server", server, "--starttls", "off", "--username", mail.user)
    return ("connect", f"{mail.user}@example.org", *where, *more)


async def test_a_mailbox_is_connected_by_a_grant_and_copied(cli: Cli, mail: Mail) -> None:
    grant = mail.oauth(revocation_url=mail.tokens.url("/revoke"))
    connected = await run(cli, *words(mail, "--oauth", "-", "--json"), stdin=json.dumps(grant))
    synced = await run(cli, "sync", "--json")
    log = (cli.data / "postroom.log").read_text()

    assert connected.status == 0, connected.err
    assert connected.json["estimate"]["messages"] == 3
    assert synced.json["accounts"][0]["added"] == 3
    shown = connected.out + connected.err + synced.out + synced.err + log
    secrets = [grant["refresh_token"], mail.consent.current, mail.tokens.client_secret, *mail.consent.access]
    assert not [secret for secret in secrets if secret in shown]


async def test_a_grant_may_name_a_client_of_the_installation(cli: Cli, mail: Mail) -> None:
    written = mail.oauth()
    grant = {"client": "ours", "refresh_token": written.pop("refresh_token"), "scope": written.pop("scope")}
    clients = json.dumps({"ours": written})
    stdin = json.dumps(grant)

    unknown = await run(cli, *words(mail, "--oauth", "-", "--json"), stdin=stdin)
    given = words(mail, "--oauth", "-", "--json")
    known = await run(cli, *given, stdin=stdin, POSTROOM_OAUTH_CLIENTS=clients)
    bad = await run(cli, "sync", "--json", POSTROOM_OAUTH_CLIENTS=clients.replace("http:", "ftp:"))

    assert unknown.json["error"]["code"] == "accounts.bad_grant"
    assert known.status == 0, known.err
    assert bad.json["error"]["code"] == "accounts.bad_client"
    assert "ours" in bad.json["error"]["message"]


@pytest.mark.parametrize(
    ("written", "code"),
    [
        ("not JSON: canary", "accounts.bad_grant"),
        ('["canary"]', "accounts.bad_grant"),
        ('{"refresh_token": "canary"}', "accounts.bad_grant"),
    ],
)
async def test_what_is_no_grant_says_so_and_is_not_shown(
    cli: Cli, mail: Mail, written: str, code: str
) -> None:
    done = await run(cli, *words(mail, "--oauth", "-", "--json"), stdin=written)

    assert (done.status, done.json["error"]["code"]) == (1, code)
    assert "canary" not in done.out + done.err
    assert mail.tokens.asked == []


@pytest.mark.slow
async def test_an_account_whose_grant_is_gone_is_connected_once_more(cli: Cli, mail: Mail) -> None:
    async def connect(given: dict[str, Any]) -> Ended:
        return await run(cli, *words(mail, "--oauth", "-", "--json"), stdin=json.dumps(given))

    assert (await connect(mail.oauth())).status == 0
    mail.consent.is_revoked = True
    mail.tokens.expire()
    failed = await run(cli, "sync", "--json")
    state = (await run(cli, "status", "--json")).json["accounts"][0]["state"]
    newer = Mail(mail.dovecot, mail.tokens, mail.user, mail.tokens.consent(mail.user))
    again = await connect(newer.oauth())
    synced = await run(cli, "sync", "--json")

    assert (failed.status, state) == (1, "reauth_required")
    assert again.status == 0, again.err
    assert synced.json["accounts"][0]["status"] == "success"
