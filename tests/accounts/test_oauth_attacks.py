"""What somebody tries who wants another's mailbox, or theirs in another's tenant (RFC 9700, 4)."""

import asyncio
import re
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID, uuid4

import asyncpg
import pytest
from accounts.conftest import ACCOUNTS, AUTH_URL, BACK, CALLBACK, RETURN, Beside, consented, told
from servers.tenants import ONE, TWO

from postroom.accounts.store import consents
from postroom.http.caller import Scope
from postroom.people import keys

BARE = "http://app.example/connected?from=postroom"


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


async def test_who_only_looks_at_a_link_uses_nothing_up(office: Beside) -> None:
    """A scanner of links, or a browser that wants to know, asks by HEAD."""
    person = await office.person()
    back = await consented(await office.begun(person))

    assert (await office.browser().head(back)).status_code == 405
    assert (await office.back(person, back)).status_code == 200


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
    account = str((await office.account()).public_id)
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


async def test_a_mail_server_that_refuses_the_token_leaves_nothing(office: Beside) -> None:
    """What the id token claims opens no mailbox."""
    office.tokens.signed_in, office.tokens.claims = "somebody", {"email": office.address}
    application = await office.application()

    assert told(await office.through(application, **BACK))["error"] == "providers.token_refused"
    assert await office.addresses(application) == ["ann@example.org"]


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


async def test_consents_are_asked_for_at_our_callback_only(office: Beside) -> None:
    """Registered letter by letter, whatever host a request names."""
    application = await office.application()
    answer = await application.post(AUTH_URL, json={"client": "mail"}, headers={"Host": "evil.example"})

    assert parse_qs(urlsplit(answer.json()["url"]).query)["redirect_uri"] == [f"{CALLBACK}/mail"]
