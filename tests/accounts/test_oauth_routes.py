"""A mailbox that is connected by a consent which somebody gives in a browser."""

import asyncio
import re
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID, uuid4

import asyncpg
import pytest
from accounts.conftest import ACCOUNTS, AUTH_URL, BACK, CALLBACK, RETURN, Beside, consented, told
from servers.bearing import PROVIDERS
from servers.tenants import ONE, TWO

from postroom.accounts import store
from postroom.accounts.model import Account
from postroom.accounts.store import consents
from postroom.events import log
from postroom.events.model import stream_of
from postroom.http.caller import Scope
from postroom.people import keys
from postroom.sync.perform import Means, Outcome, perform
from postroom.vault.seal import Vault

BARE = "http://app.example/connected?from=postroom"


async def the_account(office: Beside) -> Account:
    async with office.db.transaction(ONE) as conn:
        found = await store.find(conn, ONE, office.address)
    assert found is not None
    return found


async def synced(office: Beside, vault: Vault) -> Outcome:
    oauth = office.app.state.desk.oauth
    means = Means(office.db, vault, PROVIDERS, oauth=oauth)
    async with office.db.transaction(ONE) as conn:
        await conn.execute("UPDATE accounts_account SET login_after = NULL")
    return await perform(means, await the_account(office), every=means.manner.pause)


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
    account = await the_account(office)

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
    account = await the_account(office)
    shown = (await person.get(f"{ACCOUNTS}/{account.public_id}")).json()
    async with office.db.transaction(ONE) as conn:
        entries = await log.read(conn, ONE, stream_of(account.id), limit=10)

    assert shown["scope"] == {"folders": "INBOX", "since": "2020-01-02", "largest": None}
    assert (shown["poll_every_minutes"], shown["daily_bytes"]) == (5, 1 << 30)
    assert account.settings["watch_folders"] == "Lists/*"
    assert (account.settings["compress"], account.settings["connections"]) == ("always", 2)
    assert [entry.kind for entry in entries] == ["accounts.connected"]


async def test_nothing_in_the_database_lets_its_reader_go_on(office: Beside, dsn: str) -> None:
    url = await office.begun(await office.person(), **BACK, address=office.address)
    state = parse_qs(urlsplit(url).query)["state"][0]
    conn = await asyncpg.connect(dsn)
    rows = "\n".join(str(row) for row in await conn.fetch("SELECT c::text FROM postroom.accounts_consent c"))
    await conn.close()

    assert rows
    assert not [text for text in (state, office.mail.user, RETURN, "theirs", "verifier") if text in rows]


async def test_a_state_is_good_once_however_many_come_at_once(office: Beside) -> None:
    person = await office.person()
    back = await consented(await office.begun(person))
    answers = await asyncio.gather(*(office.back(person, back) for _ in range(6)))
    later = await office.back(person, back)

    assert sorted(answer.status_code for answer in answers) == [200] + [400] * 5
    assert (later.status_code, "begin again" in later.text) == (400, True)
    assert office.tokens.asked.count("/token") == 1
    assert await office.addresses(person) == ["ann@example.org", office.address]


@pytest.mark.parametrize(
    "query",
    [
        "",
        "code=x",
        "state=pc_" + "x" * 43 + "&code=x",
        "state=%00&code=x",
        "state=" + "x" * 9000 + "&code=x",
        "state={state}",
        "state={state}&code=x&error=access_denied",
        "state={state}&state={state}&code=x",
        "state={state}&code=x&code=y",
        "state={state}&code=",
    ],
)
async def test_what_no_provider_sends_leads_nowhere(office: Beside, query: str) -> None:
    person = await office.person()
    state = parse_qs(urlsplit(await office.begun(person)).query)["state"][0]
    answer = await office.back(person, f"{CALLBACK}/mail?{query.format(state=state)}")

    assert answer.status_code == 400
    assert office.tokens.asked == []


async def test_a_state_is_good_for_a_while(office: Beside, dsn: str) -> None:
    person = await office.person()
    back = await consented(await office.begun(person))
    conn = await asyncpg.connect(dsn)
    await conn.execute("UPDATE postroom.accounts_consent SET expires_at = now()")
    await conn.close()

    assert (await office.back(person, back)).status_code == 400
    assert "/token" not in office.tokens.asked


async def test_consents_that_nobody_came_back_from_are_forgotten(office: Beside, dsn: str) -> None:
    person, conn = await office.person(), await asyncpg.connect(dsn)
    for _ in range(3):
        await office.begun(person)
        await conn.execute("UPDATE postroom.accounts_consent SET expires_at = now()")
    left = await conn.fetchval("SELECT count(*) FROM postroom.accounts_consent")
    await conn.close()

    assert left == 1


async def test_of_very_many_consents_the_oldest_are_forgotten(
    office: Beside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consents, "MOST", 2)
    person = await office.person()
    first, *others = [await consented(await office.begun(person)) for _ in range(3)]

    assert (await office.back(person, first)).status_code == 400
    assert (await office.back(person, others[0])).status_code == 200


async def test_another_browser_ends_no_persons_consent(office: Beside) -> None:
    """The attack: somebody's own code, in the link that ends a consent, for another one to click on."""
    attacker, nobody = await office.person(), office.browser()
    victim = await office.person()
    await office.begun(victim)  # it shows a mark, of a consent of its own
    for browser in (victim, nobody):
        answer = await office.back(browser, await consented(await office.begun(attacker)))
        assert (answer.status_code, "another browser" in answer.text) == (403, True)
    assert "/token" not in office.tokens.asked
    assert await office.addresses(victim) == ["ann@example.org"]


async def test_the_mark_of_a_browser_is_no_session_and_goes_to_no_script(office: Beside) -> None:
    person = await office.person()
    answer = await person.post(AUTH_URL, json={"client": "mail"})
    name, *marks = answer.headers["set-cookie"].split("; ")
    cookie = name.partition("=")[2]

    assert {"HttpOnly", "SameSite=lax", "Path=/", "Max-Age=600"} <= set(marks)
    headers = {"Cookie": f"postroom_session={cookie}"}
    assert (await office.browser().get("/v1/people/me", headers=headers)).status_code == 401


async def test_two_consents_may_be_under_way_in_one_browser(office: Beside) -> None:
    person = await office.person()
    first, second = [await consented(await office.begun(person)) for _ in range(2)]

    assert (await office.back(person, first)).status_code == 200
    refused = await office.back(person, second)
    assert (refused.status_code, "is connected already" in refused.text) == (409, True)


async def test_who_has_signed_out_or_lost_their_key_connects_nothing(office: Beside) -> None:
    person, application = await office.person(), await office.application()
    persons = await consented(await office.begun(person))
    applications = await consented(await office.begun(application, **BACK))
    await person.delete("/v1/people/session")
    key = (await application.get("/v1/people/me")).json()["key"]["id"]
    await keys.revoke(office.db, ONE, UUID(key))

    for browser, back in ((person, persons), (office.browser(), applications)):
        answer = await office.back(browser, back)
        assert (answer.status_code, "signed out meanwhile" in answer.text) == (403, True)
    assert "/token" not in office.tokens.asked


async def test_a_consent_belongs_to_the_tenant_that_asked_for_it(office: Beside) -> None:
    """Whoever comes back, and whatever they show."""
    one, two = await office.application(ONE), await office.application(TWO)
    visitor = await office.person(TWO)
    back = await consented(await office.begun(one, **BACK))

    assert "account" in told(await office.back(visitor, back))
    assert await office.addresses(one) == ["ann@example.org", office.address]
    assert await office.addresses(two) == ["bob@example.org"]


async def test_no_account_of_another_tenant_is_connected_anew(office: Beside) -> None:
    two = await office.application(TWO)
    await office.through(await office.person())
    account = str((await the_account(office)).public_id)
    foreign = await two.post(AUTH_URL, json={"client": "mail", "account": account})
    random = await two.post(AUTH_URL, json={"client": "mail", "account": str(uuid4())})

    assert foreign.status_code == 404
    assert foreign.content == random.content


async def test_only_who_may_connect_mailboxes_asks(office: Beside) -> None:
    reader = await office.application(ONE, Scope.READ, Scope.SYNC, Scope.PROPOSE)

    assert (await reader.post(AUTH_URL, json={"client": "mail"})).json()["code"] == "http.missing_scope"


async def test_another_providers_answer_is_not_taken(office: Beside) -> None:
    """RFC 9207, and where a provider does not name itself, by the callback that it was sent to."""
    person = await office.person()
    office.tokens.said = {"iss": "https://evil.example"}
    named = await office.through(person)
    office.tokens.said = {"iss": None}
    mixed = (await consented(await office.begun(person))).replace("/mail?", "/other?")
    answers = [named, await office.back(person, mixed)]

    assert [(answer.status_code, "not from the provider" in answer.text) for answer in answers] == [
        (403, True)
    ] * 2
    assert "/token" not in office.tokens.asked
    assert (await office.through(person)).status_code == 200


async def test_another_issuers_error_is_not_told_either(office: Beside) -> None:
    office.tokens.signed_in, office.tokens.said = None, {"iss": "https://evil.example"}
    answer = await office.through(await office.application(), **BACK)

    assert answer.status_code == 403
    assert "Location" not in answer.headers


async def test_a_code_is_worth_nothing_in_another_consent(office: Beside) -> None:
    """Stolen before it was used, it lacks the verifier; after that, it is gone."""
    thief, victim = await office.application(), await office.person()
    theirs = await consented(await office.begun(victim))
    stolen = parse_qs(urlsplit(theirs).query)["code"][0]
    own = await consented(await office.begun(thief, **BACK))
    injected = re.sub(r"code=[^&]*", f"code={stolen}", own)
    answer = await office.back(office.browser(), injected)

    assert told(answer) == {"from": "postroom", "error": "accounts.grant_gone", "state": "theirs"}
    assert await office.addresses(victim) == ["ann@example.org"]
    assert (await office.back(victim, theirs)).status_code == 422  # the provider has seen it twice
    assert office.tokens.thefts == 1


@pytest.mark.parametrize(
    "return_to",
    [
        "//evil.example",
        "https://evil.example",
        "/docs",
        "javascript:alert(1)",
        BARE,
        RETURN + "/",
        RETURN + "&more",
        RETURN.upper(),
        RETURN.partition("?")[0],
        "https://app.example@evil.example/connected?from=postroom",
        f"{RETURN}#x",
        f" {RETURN}",
    ],
)
async def test_a_browser_is_sent_nowhere_but_where_the_settings_say(office: Beside, return_to: str) -> None:
    asked = {"client": "mail", "return_to": return_to, "state": "theirs"}
    answer = await (await office.application()).post(AUTH_URL, json=asked)

    assert (answer.status_code, answer.json()["code"]) == (400, "accounts.bad_return_url")


async def test_nothing_in_the_callback_says_where_the_browser_goes(office: Beside) -> None:
    person = await office.person()
    back = await consented(await office.begun(person))
    more = "".join(f"&{name}=//evil.example" for name in ("next", "return_to", "redirect_uri", "url"))
    answer = await office.back(person, back + more)

    assert answer.status_code == 200
    assert "Location" not in answer.headers
    assert "evil" not in answer.text


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


async def test_a_page_shows_what_strangers_wrote_as_text(office: Beside) -> None:
    office.tokens.said = {"code": None, "error": "<b>server_error</b>"}
    page = await office.through(await office.person())

    assert page.status_code == 422
    assert "&lt;b&gt;server_error&lt;/b&gt;" in page.text
    assert "<b>" not in page.text


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"iss": "https://evil.example"}, "another issuer"),
        ({"aud": "somebody-else"}, "another client"),
        ({"aud": ["postroom-tests", "somebody-else"]}, "another client"),
        ({"nonce": "of another consent"}, "another consent"),
        ({"nonce": None}, "another consent"),
        ({"exp": 1}, "expired"),
        ({"exp": None}, "expired"),
        ({"sub": None}, "who has signed in"),
        ({"sub": ""}, "who has signed in"),
    ],
)
async def test_an_id_token_is_of_this_consent_or_it_is_none(
    office: Beside, claims: dict[str, Any], why: str
) -> None:
    office.tokens.claims = claims
    person = await office.person()
    page = await office.through(person)

    assert (page.status_code, why in page.text) == (422, True), page.text
    assert await office.addresses(person) == ["ann@example.org"]


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


async def test_a_mail_server_that_refuses_the_token_leaves_nothing(office: Beside) -> None:
    """What the id token claims opens no mailbox."""
    office.tokens.signed_in, office.tokens.claims = "somebody", {"email": office.address}
    application = await office.application()

    assert told(await office.through(application, **BACK))["error"] == "providers.token_refused"
    assert await office.addresses(application) == ["ann@example.org"]


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
    return f"{ACCOUNTS}/{(await the_account(office)).public_id}"


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
    before = (await the_account(office)).settings
    await office.through(application, **BACK, account=path.rpartition("/")[2])

    assert (await the_account(office)).settings == before


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


async def test_a_grant_of_a_client_goes_to_its_server_whoever_brings_it(office: Beside) -> None:
    """Else a caller could have tokens sent to a server of their own that only this client gets."""
    application = await office.application()
    refresh = office.tokens.consent(office.mail.user).current
    grant = {"client": "mail", "refresh_token": refresh}
    asked = {"address": office.address, "oauth": grant, "username": office.mail.user}
    refused = await application.post(ACCOUNTS, json={**asked, "server": "imaps://127.0.0.1:1"})
    taken = await application.post(ACCOUNTS, json=asked)

    assert (refused.status_code, refused.json()["code"]) == (409, "accounts.other_server")
    assert taken.status_code == 201, taken.text
    assert taken.json()["server"] == f"imap://{office.mail.dovecot.host}:{office.mail.dovecot.port}"


async def test_what_is_connected_or_paused_is_told_before_anybody_is_asked(office: Beside) -> None:
    application = await office.application()
    await office.through(application, **BACK)
    account = str((await the_account(office)).public_id)
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


async def test_consents_are_asked_for_at_our_callback_only(office: Beside) -> None:
    """Registered letter by letter, whatever host a request names."""
    application = await office.application()
    answer = await application.post(AUTH_URL, json={"client": "mail"}, headers={"Host": "evil.example"})

    assert parse_qs(urlsplit(answer.json()["url"]).query)["redirect_uri"] == [f"{CALLBACK}/mail"]
