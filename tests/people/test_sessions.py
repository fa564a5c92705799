"""Signing in without an issuer: a link, good once, and the cookie that it gives."""

import asyncio
from datetime import timedelta

import asyncpg
import pytest
from people.conftest import HERE, House
from servers.api import Client

from postroom.db.pool import Database
from postroom.ids import new_public_id
from postroom.people import keys, sessions
from postroom.people.model import BadLink, NoSuchSession

OURS = {"Origin": HERE}
LOGIN = "/v1/people/login"
ME = "/v1/people/me"


async def link(db: Database, good_for: timedelta = sessions.LINK) -> str:
    return (await sessions.new_link(db, await keys.our_tenant(db), good_for)).text


async def signed_in(house: House, db: Database) -> Client:
    browser = house.client()
    answer = await browser.post(LOGIN, params={"link": await link(db)}, headers=OURS)
    assert answer.status_code == 303
    return browser


async def test_a_link_signs_a_browser_in_as_the_operator(house: House, db: Database) -> None:
    browser = house.client()
    url = f"{LOGIN}?link={await link(db)}"
    page = await browser.get(url)
    entered = await browser.post(url, headers=OURS)
    me = (await browser.get(ME)).json()

    assert page.status_code == 200
    assert '<form method="post">' in page.text
    assert page.headers["Referrer-Policy"] == "same-origin"
    assert "set-cookie" not in page.headers
    assert entered.headers["Location"] == "../../docs"
    assert me["tenant"]["name"] == keys.OUR_TENANT
    assert (me["person"]["name"], me["person"]["role"], me["may_approve"]) == ("operator", "admin", True)


async def test_a_cookie_is_for_our_pages_only(house: House, db: Database) -> None:
    plain, secure = house.client(), house.client(base="https://postroom.test")
    for browser in (plain, secure):
        origin = {"Origin": str(browser.base_url).rstrip("/")}
        answer = await browser.post(LOGIN, params={"link": await link(db)}, headers=origin)
        name, *marks = answer.headers["set-cookie"].split("; ")
        assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(marks)
        assert not any(mark.startswith("Domain") for mark in marks)
        assert name.startswith("__Host-") == ("Secure" in marks) == (browser is secure)
        assert (await browser.get(ME)).status_code == 200


async def test_over_tls_a_cookie_of_plain_http_says_nothing(house: House, db: Database) -> None:
    browser = await signed_in(house, db)
    kept = browser.cookies["postroom_session"]
    headers = {"Cookie": f"postroom_session={kept}"}

    assert (await house.client(base="https://postroom.test").get(ME, headers=headers)).status_code == 401
    assert (await house.client().get(ME, headers=headers)).status_code == 200


async def test_a_key_in_a_cookie_opens_nothing(house: House, db: Database) -> None:
    _, text = await keys.create(db, await keys.our_tenant(db), "crm")

    answer = await house.client().get(ME, headers={"Cookie": f"postroom_session={text}"})

    assert answer.json()["code"] == "http.no_key"


async def test_a_link_is_good_once_however_many_come_at_once(house: House, db: Database) -> None:
    text = await link(db)
    answers = await asyncio.gather(
        *(house.client().post(LOGIN, params={"link": text}, headers=OURS) for _ in range(10))
    )

    assert sorted(answer.status_code for answer in answers) == [303] + [401] * 9
    refused = next(answer for answer in answers if answer.status_code == 401)
    assert "people.bad_link" in refused.text
    assert len(await sessions.listed(db, await keys.our_tenant(db))) == 1


@pytest.mark.parametrize("text", ["", "pl_", "pl_" + "x" * 43, "ps_" + "x" * 43, "pl_\0"])
async def test_what_is_no_link_signs_nobody_in(db: Database, text: str) -> None:
    with pytest.raises(BadLink):
        await sessions.open_session(db, text)


async def test_a_link_is_good_for_a_while(db: Database) -> None:
    with pytest.raises(BadLink):
        await sessions.open_session(db, await link(db, timedelta(0)))


async def test_a_session_ends(db: Database, dsn: str) -> None:
    text = await sessions.open_session(db, await link(db))
    assert await sessions.find(db, text)
    conn = await asyncpg.connect(dsn)
    await conn.execute("UPDATE postroom.people_session SET expires_at = now()")
    await conn.close()

    assert await sessions.find(db, text) is None
    assert await sessions.listed(db, await keys.our_tenant(db)) == []


async def test_use_is_noted_once_a_minute(db: Database) -> None:
    text, seen = await sessions.open_session(db, await link(db)), []
    for _ in range(3):
        await sessions.find(db, text)
        seen += [session.last_used_at for session in await sessions.listed(db, await keys.our_tenant(db))]

    assert seen[0] is not None
    assert len(set(seen)) == 1


async def test_a_copy_of_the_database_lets_nobody_in(db: Database, dsn: str) -> None:
    unused, used = await link(db), await link(db)
    session = await sessions.open_session(db, used)
    conn = await asyncpg.connect(dsn)
    stored = str(await conn.fetch("SELECT * FROM postroom.people_link"))
    stored += str(await conn.fetch("SELECT * FROM postroom.people_session"))
    await conn.close()

    for text in (unused, used, session):
        assert text[3:] not in stored


async def test_signing_out_ends_this_session_and_no_other(house: House, db: Database) -> None:
    one, two = await signed_in(house, db), await signed_in(house, db)
    kept = one.cookies["postroom_session"]
    answer = await one.delete("/v1/people/session", headers=OURS)

    assert answer.status_code == 204
    assert "postroom_session" not in one.cookies
    again = await house.client().get(ME, headers={"Cookie": f"postroom_session={kept}"})
    assert (again.status_code, again.json()["code"]) == (401, "http.unknown_key")
    assert (await two.get(ME)).status_code == 200


async def test_signing_in_again_ends_what_this_browser_had_and_no_other(house: House, db: Database) -> None:
    browser, other = await signed_in(house, db), await signed_in(house, db)
    former = browser.cookies["postroom_session"]
    failed = await browser.post(LOGIN, params={"link": "pl_" + "x" * 43}, headers=OURS)
    still = await sessions.find(db, former)
    await browser.post(LOGIN, params={"link": await link(db)}, headers=OURS)

    assert (failed.status_code, still is not None) == (401, True)
    assert browser.cookies["postroom_session"] != former
    assert await sessions.find(db, former) is None
    assert [(await each.get(ME)).status_code for each in (browser, other)] == [200, 200]


@pytest.mark.parametrize("query", ["", "?link=pl_x"])
async def test_who_comes_with_a_link_that_is_not_good_sees_a_page(house: House, query: str) -> None:
    answer = await house.client().post(LOGIN + query, headers=OURS)

    assert (answer.status_code, answer.headers["content-type"]) == (401, "text/html; charset=utf-8")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert "<code>postroom login</code> prints a new one" in answer.text


async def test_only_a_session_of_ours_is_signed_out(house: House, db: Database) -> None:
    _, key = await keys.create(db, await keys.our_tenant(db), "crm")
    for shown in (key, house.issuer.token()):
        answer = await house.client(shown).delete("/v1/people/session")

        assert (answer.status_code, answer.json()["code"]) == (403, "people.no_session")


async def test_a_session_is_listed_and_ended_from_elsewhere(house: House, db: Database) -> None:
    browser = await signed_in(house, db)
    mine = (await browser.get(ME)).json()["person"]
    _, key = await keys.create(db, await keys.our_tenant(db), "crm")
    admin, stranger = house.client(key), house.client(house.issuer.token())
    (listed,) = (await admin.get("/v1/people/sessions")).json()["sessions"]

    assert (listed["id"], listed["person"]) == (mine["session"], mine["id"])
    assert (await stranger.get("/v1/people/sessions")).json() == {"sessions": []}
    theirs = await stranger.delete(f"/v1/people/sessions/{listed['id']}")
    nobodys = await stranger.delete(f"/v1/people/sessions/{new_public_id()}")
    assert (theirs.status_code, theirs.content) == (404, nobodys.content)
    assert (await browser.get(ME)).status_code == 200
    assert (await admin.delete(f"/v1/people/sessions/{listed['id']}")).status_code == 204
    assert (await browser.get(ME)).status_code == 401
    with pytest.raises(NoSuchSession):
        await sessions.revoke(db, await keys.our_tenant(db), new_public_id())


@pytest.mark.parametrize(
    ("headers", "may"),
    [
        ({"Origin": HERE}, True),
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "null"}, True),
        ({}, False),
        ({"Origin": "null"}, False),
        ({"Origin": ""}, False),
        ({"Origin": "https://evil.example"}, False),
        ({"Origin": "http://postroom.test.evil.example"}, False),
        ({"Origin": "http://postroom.test:81"}, False),
        ({"Origin": "http://[postroom.test"}, False),
        ({"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}, False),
        ({"Origin": HERE, "Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "none"}, False),
        ({"Referer": HERE + "/docs"}, False),
    ],
    ids=str,
)
async def test_what_changes_something_by_cookie_comes_from_our_page(
    headers: dict[str, str], may: bool, house: House, db: Database
) -> None:
    """On every such route, before anything else is looked at."""
    browser, text = await signed_in(house, db), await link(db)
    body = {"name": "made", "scopes": ["read"]}
    made = await browser.post("/v1/people/keys", json=body, headers=headers)
    entered = await house.client().post(LOGIN, params={"link": text}, headers=headers)

    assert (made.status_code, entered.status_code) == ((201, 303) if may else (403, 403))
    assert (await browser.get(ME)).status_code == 200
    if not may:
        assert made.json()["code"] == "http.cross_site"
        assert "http.cross_site" in entered.text
        for path, operations in house.app.openapi()["paths"].items():
            for method in operations.keys() & {"post", "put", "patch", "delete"}:
                answer = await browser.request(
                    method, path.replace("{id}", str(new_public_id())), headers=headers, json={}
                )
                assert answer.json()["code"] == "http.cross_site", (method, path)


async def test_who_shows_a_key_needs_no_page(house: House, db: Database) -> None:
    """What a browser does not send by itself no other site can make it send."""
    browser = await signed_in(house, db)
    _, key = await keys.create(db, await keys.our_tenant(db), "crm")
    shown = {"Authorization": f"Bearer {key}", "Sec-Fetch-Site": "cross-site"}

    answer = await browser.post("/v1/people/keys", json={"name": "a", "scopes": ["read"]}, headers=shown)

    assert answer.status_code == 201
