"""Keys that are made, listed and ended over HTTP."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from people.conftest import House
from servers.api import Client, key_of
from servers.tenants import ANNS, ONE, TWO

from postroom.db.pool import Database
from postroom.http.caller import Scope
from postroom.ids import TenantId
from postroom.people import keys, store

KEYS = "/v1/people/keys"

pytestmark = pytest.mark.usefixtures("tenants")


async def made(client: Client, **more: Any) -> dict[str, Any]:
    answer = await client.post(KEYS, json={"name": "crm", "scopes": ["read"], **more})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_a_key_is_shown_once_and_opens_what_its_scopes_say(house: House, db: Database) -> None:
    admin = house.client(await key_of(db, ONE))
    key = await made(admin, scopes=["read", "sync"])
    text = key.pop("key")
    caller = await keys.find(db, text)

    assert caller is not None
    assert (caller.tenant, caller.scopes) == (ONE, frozenset({Scope.READ, Scope.SYNC}))
    assert not caller.may_approve
    listed = await admin.get(KEYS)
    assert key["id"] in [each["id"] for each in listed.json()["keys"]]
    assert text not in listed.text
    assert text[: keys.SHOWN] in listed.text


async def test_a_person_makes_keys_for_their_tenant(house: House, db: Database) -> None:
    ann = house.client(house.issuer.token())
    key = await made(ann)
    me = (await house.client(key["key"]).get("/v1/people/me")).json()

    assert me["tenant"] == (await ann.get("/v1/people/me")).json()["tenant"]
    assert (me["person"], me["may_approve"], me["scopes"]) == (None, False, ["read"])
    assert len((await ann.get(KEYS)).json()["keys"]) == 1
    assert len((await house.client(await key_of(db, ONE)).get(KEYS)).json()["keys"]) == 1


async def test_a_revoked_key_is_over_at_once_and_not_listed(house: House, db: Database) -> None:
    admin = house.client(await key_of(db, ONE))
    key = await made(admin)

    assert (await admin.delete(f"{KEYS}/{key['id']}")).status_code == 204
    assert await keys.find(db, key["key"]) is None
    assert key["id"] not in (await admin.get(KEYS)).text


async def test_a_tenant_has_so_many_keys_and_remembers_so_many_that_are_over(
    house: House, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "MOST_KEYS", 3)
    admin, other = house.client(await key_of(db, ONE)), house.client(await key_of(db, TWO))
    body = {"name": "crm", "scopes": ["read"]}
    for _ in range(10):
        made = await admin.post(KEYS, json=body)
        assert (await admin.delete(f"{KEYS}/{made.json()['id']}")).status_code == 204
    answers = [await admin.post(KEYS, json=body) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [201, 201, 409]
    assert answers[2].json()["code"] == "people.too_many_keys"
    assert (await other.post(KEYS, json=body)).status_code == 201
    kept = await keys.listed(db, ONE)
    assert (len(kept), len([key for key in kept if key.revoked_at])) == (6, 3)


async def test_the_first_key_is_made_however_many_there_are(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "MOST_KEYS", 0)

    assert (await keys.first_key(db, ONE, tmp_path)).is_new


async def test_the_key_of_another_tenant_is_as_none(house: House, db: Database) -> None:
    one, two = house.client(await key_of(db, ONE)), house.client(await key_of(db, TWO))
    theirs = await made(two)
    answers = [
        await one.delete(f"{KEYS}/{id}") for id in (theirs["id"], "01970000-0000-7000-8000-000000000000")
    ]

    assert [answer.status_code for answer in answers] == [404, 404]
    assert answers[0].content == answers[1].content
    assert await keys.find(db, theirs["key"])
    assert theirs["id"] not in (await one.get(KEYS)).text


async def test_only_an_admin_has_to_do_with_keys(house: House, db: Database) -> None:
    lesser = house.client(await key_of(db, ONE, Scope.READ, Scope.SYNC, Scope.PROPOSE))
    answers = [
        await lesser.get(KEYS),
        await lesser.post(KEYS, json={"name": "more", "scopes": ["admin"]}),
        await lesser.delete(f"{KEYS}/01970000-0000-7000-8000-000000000000"),
    ]

    assert [answer.json()["code"] for answer in answers] == ["http.missing_scope"] * 3


async def test_a_key_ends_when_it_was_to(house: House, db: Database) -> None:
    admin = house.client(await key_of(db, ONE))
    soon = datetime.now(UTC) + timedelta(hours=1)
    key = await made(admin, expires_at=soon.isoformat())
    past = {"name": "x", "scopes": ["read"], "expires_at": "2020-01-01"}

    assert datetime.fromisoformat(key["expires_at"]) == soon
    refused = await admin.post(KEYS, json=past)
    assert (refused.status_code, refused.json()["code"]) == (400, "people.already_over")


async def account_of(db: Database, tenant: TenantId) -> str:
    async with db.transaction(tenant) as conn:
        return str(await conn.fetchval("SELECT public_id FROM accounts_account"))


async def test_a_key_is_limited_to_accounts_of_its_tenant(house: House, db: Database) -> None:
    admin = house.client(await key_of(db, ONE))
    ours, theirs = await account_of(db, ONE), await account_of(db, TWO)
    key = await made(admin, accounts=[ours, ours])
    caller = await keys.find(db, key["key"])

    assert caller is not None
    assert caller.accounts == frozenset({ANNS})
    assert key["accounts"] == [ours]
    assert [each["accounts"] for each in (await admin.get(KEYS)).json()["keys"]] == [None, [ours]]
    before = (await admin.get(KEYS)).json()
    refused = [
        await admin.post(KEYS, json={"name": "x", "scopes": ["read"], "accounts": [ours, account]})
        for account in (theirs, "01970000-0000-7000-8000-000000000000")
    ]
    assert [answer.status_code for answer in refused] == [404, 404]
    assert refused[0].content == refused[1].content
    assert (await admin.get(KEYS)).json()["keys"][:2] == before["keys"][:2]
    assert len((await admin.get(KEYS)).json()["keys"]) == 2


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": "", "scopes": ["read"]},
        {"name": "x" * 201, "scopes": ["read"]},
        {"name": "a\0b", "scopes": ["read"]},
        {"name": "x", "scopes": []},
        {"name": "x", "scopes": ["approve"]},
        {"name": "x", "scopes": ["read"] * 50},
        {"name": "x", "scopes": ["read"], "expires_at": 7},
        {"name": "x", "scopes": ["read"], "account": "all"},
        {"name": "x", "scopes": ["read"], "accounts": []},
        {"name": "x", "scopes": ["read"], "accounts": ["all"]},
        {"name": "x", "scopes": ["read"], "accounts": ["01970000-0000-7000-8000-000000000000"] * 101},
    ],
    ids=str,
)
async def test_a_key_that_makes_no_sense_is_refused(body: dict[str, Any], house: House, db: Database) -> None:
    admin = house.client(await key_of(db, ONE))

    assert (await admin.post(KEYS, json=body)).status_code == 422
    assert len((await admin.get(KEYS)).json()["keys"]) == 1
