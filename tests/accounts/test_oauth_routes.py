"""A mailbox that is connected by a consent which somebody gives in a browser."""

import asyncio
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from accounts.conftest import ACCOUNTS, AUTH_URL, BACK, CALLBACK, RETURN, Beside, consented, told
from servers.bearing import PROVIDERS
from servers.tenants import ONE

from postroom.events import log
from postroom.events.model import stream_of
from postroom.sync.perform import Means, Outcome, perform
from postroom.vault.seal import Vault


async def synced(office: Beside, vault: Vault) -> Outcome:
    oauth = office.app.state.desk.oauth
    means = Means(office.db, vault, PROVIDERS, oauth=oauth)
    async with office.db.transaction(ONE) as conn:
        await conn.execute("UPDATE accounts_account SET login_after = NULL")
    return await perform(means, await office.account(), every=means.manner.pause)


async def test_a_person_connects_their_mailbox_in_a_browser(office: Beside, vault: Vault) -> None:
    person = await office.person()
    page = await office.through(person)
    account = (await person.get(ACCOUNTS)).json()["items"][-1]

    assert page.status_code == 200, page.text
    assert f"{office.address} is being copied" in page.text
    assert (account["address"], account["auth"], account["state"]) == (office.address, "oauth2", "active")
    assert (await synced(office, vault)).status == "success"
    office.tokens.expire()
    async with office.db.transaction(ONE) as conn:
        await conn.execute("UPDATE accounts_token SET refresh_at = now(), expires_at = now()")
    assert (await synced(office, vault)).status == "success"
    assert office.tokens.refreshes == 1


async def test_a_consent_that_was_cut_off_before_its_end_left_nothing_and_is_given_again(
    office: Beside,
) -> None:
    """As by a kill: the provider has given its tokens, and nobody is there any more to take them."""
    person, given = await office.person(), asyncio.Event()
    never = asyncio.Event()

    async def hold() -> None:
        given.set()
        await never.wait()

    office.tokens.spending = hold
    back = await consented(await office.begun(person))
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        ending = group.create_task(office.back(person, back))
        await given.wait()
        ending.cancel()
    never.set()  # for the provider's sake
    office.tokens.spending = nothing
    reloaded = await office.back(person, back)

    assert (reloaded.status_code, "begin again" in reloaded.text) == (400, True)
    assert await office.addresses(person) == ["ann@example.org"]
    assert (await office.through(person)).status_code == 200
    assert await office.addresses(person) == ["ann@example.org", office.address]


@pytest.mark.parametrize("office", [{"request_seconds": 0.4}], indirect=True)
async def test_a_consent_has_as_long_as_servers_may_take_whatever_other_requests_have(office: Beside) -> None:
    async def slow() -> None:
        await asyncio.sleep(1.5)  # what changes something has three times 0.4

    office.tokens.spending = slow
    page = await office.through(await office.person())
    office.tokens.spending = nothing

    assert (page.status_code, "The mailbox is connected" in page.text) == (200, True)


async def nothing() -> None: ...


async def test_who_loads_the_last_page_again_is_not_told_that_nothing_was_connected(office: Beside) -> None:
    person = await office.person()
    back = await consented(await office.begun(person))
    page, again = await office.back(person, back), await office.back(person, back)

    assert "The mailbox is connected" in page.text
    assert (again.status_code, "This consent is over" in again.text) == (400, True)
    assert "not connected</h1>" not in again.text


async def test_the_person_is_asked_for_what_the_client_says_and_for_their_mailbox(office: Beside) -> None:
    url = urlsplit(await office.begun(await office.person(), address=office.address))
    asked = {name: values[0] for name, values in parse_qs(url.query).items()}
    secrets = [asked.pop(name) for name in ("state", "nonce", "code_challenge")]

    assert asked == {
        "response_type": "code",
        "client_id": office.tokens.client_id,
        "redirect_uri": f"{CALLBACK}/mail",
        "scope": "imap openid email",
        "code_challenge_method": "S256",
        "access_type": "offline",
        "login_hint": office.address,
    }
    assert len(set(secrets)) == 3
    assert min(map(len, secrets)) >= 43


async def test_an_application_gets_its_users_browser_back_with_the_account_and_no_token(
    office: Beside,
) -> None:
    application, browser = await office.application(), office.browser()
    answer = await office.back(browser, await consented(await office.begun(application, **BACK)))
    said = told(answer)
    account = await office.account()

    assert answer.status_code == 303
    assert said == {"from": "postroom", "account": str(account.public_id), "state": "theirs"}
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert (await application.get(f"{ACCOUNTS}/{said['account']}")).json()["state"] == "active"
    shown = str(answer.headers) + answer.text
    assert not [code for code in office.tokens.codes if code in shown]


async def test_it_is_connected_as_by_any_other_grant(office: Beside) -> None:
    wanted = {"folders": "INBOX", "since": "2020-01-02", "poll_every_minutes": 5, "daily_bytes": 1 << 30}
    person = await office.person()
    await office.through(person, **wanted, watch_folders="Lists/*", compress="always", connections=2)
    account = await office.account()
    shown = (await person.get(f"{ACCOUNTS}/{account.public_id}")).json()
    async with office.db.transaction(ONE) as conn:
        entries = await log.read(conn, ONE, stream_of(account.id), limit=10)

    assert shown["scope"] == {"folders": "INBOX", "since": "2020-01-02", "largest": None}
    assert (shown["poll_every_minutes"], shown["daily_bytes"]) == (5, 1 << 30)
    assert account.settings["watch_folders"] == "Lists/*"
    assert (account.settings["compress"], account.settings["connections"]) == ("always", 2)
    assert [entry.kind for entry in entries] == ["accounts.connected"]


async def test_two_consents_may_be_under_way_in_one_browser(office: Beside) -> None:
    person = await office.person()
    first, second = [await consented(await office.begun(person)) for _ in range(2)]

    assert (await office.back(person, first)).status_code == 200
    refused = await office.back(person, second)
    assert (refused.status_code, "is connected already" in refused.text) == (409, True)


async def test_an_application_that_is_told_names_a_state_to_know_whom_it_sent(office: Beside) -> None:
    answer = await (await office.application()).post(AUTH_URL, json={"client": "mail", "return_to": RETURN})

    assert (answer.status_code, answer.json()["code"]) == (422, "http.invalid_request")


async def test_a_refusal_is_told_and_no_word_of_the_provider_is_shown(office: Beside) -> None:
    office.tokens.signed_in = None
    person, application = await office.person(), await office.application()
    page, sent = await office.through(person), await office.through(application, **BACK)

    assert (page.status_code, "The consent was not given" in page.text) == (422, True)
    assert "alert" not in page.text
    assert told(sent) == {"from": "postroom", "error": "accounts.consent_denied", "state": "theirs"}


async def test_whoever_signs_in_is_the_one_whose_mailbox_was_asked_for(office: Beside) -> None:
    office.tokens.signed_in = "somebody"
    application = await office.application()
    answer = await office.through(application, **BACK, address=office.address)

    assert told(answer)["error"] == "accounts.other_mailbox"
    assert "somebody" not in answer.headers["Location"]
    assert await office.addresses(application) == ["ann@example.org"]


@pytest.mark.parametrize("claims", [{"email": None}, {"email_verified": False}])
async def test_an_address_that_nobody_vouches_for_is_asked_for(
    office: Beside, claims: dict[str, Any]
) -> None:
    office.tokens.claims = claims
    application = await office.application()

    assert told(await office.through(application, **BACK))["error"] == "accounts.no_address"
    assert "account" in told(await office.through(application, **BACK, address=office.address))


async def test_a_provider_that_gives_no_refresh_token_says_so(office: Beside) -> None:
    office.tokens.offline = False
    page = await office.through(await office.person())

    assert (page.status_code, "no refresh token" in page.text) == (422, True)


async def stopped(office: Beside, vault: Vault) -> str:
    """A mailbox whose consent was withdrawn; its path."""
    await office.through(await office.person())
    for consent in office.tokens.consents:
        consent.is_revoked = True
    office.tokens.expire()
    async with office.db.transaction(ONE) as conn:
        await conn.execute("UPDATE accounts_token SET refresh_at = now(), expires_at = now()")
    await synced(office, vault)
    return f"{ACCOUNTS}/{(await office.account()).public_id}"


@pytest.mark.parametrize("by", ["account", "address"])
async def test_an_account_that_waits_for_its_owner_goes_on_after_another_consent(
    office: Beside, vault: Vault, by: str
) -> None:
    path = await stopped(office, vault)
    application = await office.application()
    before = (await application.get(path)).json()
    which = path.rpartition("/")[2] if by == "account" else office.address
    said = told(await office.through(application, **BACK, **{by: which}))
    await synced(office, vault)
    after = (await application.get(path)).json()

    assert before["state"] == "reauth_required"
    assert said["account"] == before["id"]
    assert (after["state"], after["last_sync_status"]) == ("active", "success")
    assert await office.addresses(application) == ["ann@example.org", office.address]


@pytest.mark.parametrize("by", ["account", "address"])
async def test_somebody_else_does_not_take_an_account_over(office: Beside, vault: Vault, by: str) -> None:
    """Not even who has got the same address since."""
    path = await stopped(office, vault)
    application = await office.application()
    office.tokens.claims = {"sub": "somebody else"}
    which = path.rpartition("/")[2] if by == "account" else office.address
    said = told(await office.through(application, **BACK, **{by: which}))

    assert said["error"] == "accounts.other_mailbox"
    assert (await application.get(path)).json()["state"] == "reauth_required"


async def test_an_account_keeps_what_was_chosen_of_it(office: Beside, vault: Vault) -> None:
    path = await stopped(office, vault)
    application = await office.application()
    await application.patch(path, json={"daily_bytes": 1 << 30, "watch_folders": "Lists/*"})
    before = (await office.account()).settings
    await office.through(application, **BACK, account=path.rpartition("/")[2])

    assert (await office.account()).settings == before


async def test_an_account_at_another_server_gets_no_token_of_this_client(
    office: Beside, vault: Vault
) -> None:
    path = await stopped(office, vault)
    application = await office.application()
    async with office.db.transaction(ONE) as conn:
        await conn.execute(
            """UPDATE accounts_account SET settings = settings || '{"host": "mail.evil.example"}'"""
        )
    asked = {"client": "mail", "account": path.rpartition("/")[2]}
    answer = await application.post(AUTH_URL, json=asked)

    assert (answer.status_code, answer.json()["code"]) == (409, "accounts.other_server")


async def test_what_is_connected_or_paused_is_told_before_anybody_is_asked(office: Beside) -> None:
    application = await office.application()
    await office.through(application, **BACK)
    account = str((await office.account()).public_id)
    again = await application.post(AUTH_URL, json={"client": "mail", "address": office.address})
    await application.patch(f"{ACCOUNTS}/{account}", json={"paused": True})
    asleep = await application.post(AUTH_URL, json={"client": "mail", "account": account})

    assert (again.status_code, again.json()["code"]) == (409, "accounts.already_connected")
    assert (asleep.status_code, asleep.json()["code"]) == (409, "accounts.is_paused")


@pytest.mark.parametrize("client", ["nobody", "", "../mail", "mail/../mail"])
async def test_a_client_that_is_none_says_so(office: Beside, client: str) -> None:
    answer = await (await office.application()).post(AUTH_URL, json={"client": client})

    assert answer.status_code in {400, 422}
    assert answer.json()["code"] in {"accounts.no_such_client", "http.invalid_request"}
