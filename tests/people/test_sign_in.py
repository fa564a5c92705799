"""People who come with a token of an issuer."""

import asyncio
import time
from dataclasses import replace
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from people.conftest import House
from people.forging import FORGED
from servers.tenants import ONE, TWO

from postroom.db.pool import Database
from postroom.http.problems import MEDIA_TYPE
from postroom.http.rates import Rates
from postroom.people import keys, store
from postroom.people.model import Identity, Role

ORG: dict[str, Any] = {"o": {"id": "org_1", "rol": "admin", "slg": "acme"}}


COUNTS = """
    SELECT (SELECT count(*) FROM postroom.people_person) AS people,
           (SELECT count(*) FROM postroom.people_tenant) AS tenants,
           (SELECT count(*) FROM postroom.people_membership) AS memberships
"""


async def counted(dsn: str) -> tuple[int, int, int]:
    """People, tenants, memberships."""
    conn = await asyncpg.connect(dsn)
    row = await conn.fetchrow(COUNTS)
    await conn.close()
    assert row is not None
    return row["people"], row["tenants"], row["memberships"]


async def test_somebody_is_a_person_here_from_the_first_token_on(house: House) -> None:
    first = await house.me(name="Ann", email="ann@example.org")
    again = await house.me()

    assert first["tenant"]["name"] == "ann@example.org"
    assert (first["person"]["name"], first["person"]["role"]) == ("Ann", "admin")
    assert first["key"] is None
    assert first["scopes"] == ["admin", "propose", "read", "sync"]
    assert first["may_approve"] is True
    assert again["person"]["id"] == first["person"]["id"]
    assert again["tenant"] == first["tenant"]


async def test_an_organisation_is_a_tenant_and_nobody_alone_is_in_it(house: House) -> None:
    ann, bob = await house.me(**ORG), await house.me(sub="user_bob", o={"id": "org_1", "rol": "member"})
    alone, other = await house.me(), await house.me(o={"id": "org_2", "rol": "admin"})

    assert ann["tenant"] == bob["tenant"]
    assert ann["tenant"]["name"] == "acme"
    assert ann["person"]["id"] == alone["person"]["id"] == other["person"]["id"] != bob["person"]["id"]
    assert len({found["tenant"]["id"] for found in (ann, alone, other)}) == 3
    assert bob["scopes"] == ["propose", "read", "sync"]


async def test_no_name_that_a_stranger_chooses_leads_to_another_tenant(house: House, db: Database) -> None:
    ours = await keys.our_tenant(db)
    async with db.transaction(ours) as conn:
        default = await store.tenant_of(conn, ours)
    names = [
        await house.me(sub="default"),
        await house.me(o={"id": "default", "slg": "default", "rol": "admin"}),
        await house.me(sub="x", email="default"),
        await house.me(sub="y", o={"id": "user_ann", "slg": "user_ann", "rol": "admin"}),
        await house.me(sub="user_ann"),
        await house.me(sub="1"),
    ]

    ids = [found["tenant"]["id"] for found in names]
    assert len(set(ids)) == len(ids)
    assert str(default.public_id) not in ids
    assert await keys.our_tenant(db) == ours


async def test_two_issuers_with_the_same_subject_name_two_people(db: Database) -> None:
    async with db.unbound() as conn:
        one = await store.arrive(conn, Identity("https://one.example", "ann", "org", "acme"))
        two = await store.arrive(conn, Identity("https://two.example", "ann", "org", "acme"))

    assert one[0] != two[0]
    assert one[1] != two[1]


@pytest.mark.parametrize("claims", [{}, ORG], ids=["alone", "organisation"])
async def test_of_many_who_come_at_once_there_is_one(claims: dict[str, Any], house: House, dsn: str) -> None:
    found = await asyncio.gather(*(house.me(**claims) for _ in range(20)))

    assert len({(each["person"]["id"], each["tenant"]["id"]) for each in found}) == 1
    assert await counted(dsn) == (1, 1, 1)


async def test_processes_that_see_somebody_first_at_once_make_one(db: Database, dsn: str) -> None:
    """Each of them on a connection of its own, none remembering."""
    who = Identity("https://one.example", "ann", "org_1", "acme", Role.MEMBER)

    async def arrive() -> tuple[int, Any]:
        async with db.single() as conn:
            return await store.arrive(conn, who)

    assert len(set(await asyncio.gather(*(arrive() for _ in range(30))))) == 1
    assert await counted(dsn) == (1, 1, 1)


async def test_a_new_role_counts_at_once(house: House) -> None:
    token = house.issuer.token
    admin = house.client(token(**ORG))
    member = house.client(token(o={"id": "org_1", "rol": "member"}))
    reader = house.client(token(o={"id": "org_1", "rol": "billing"}))

    assert (await admin.get("/v1/people/keys")).status_code == 200
    refused = await member.get("/v1/people/keys")
    assert refused.status_code == 403
    assert refused.headers["WWW-Authenticate"] == (
        'Bearer realm="postroom", error="insufficient_scope", scope="admin"'
    )
    assert "The role 'member' lacks" in refused.json()["detail"]
    assert (await reader.get("/v1/accounts")).status_code == 200
    assert (await reader.get("/v1/people/me")).json()["scopes"] == ["read"]


async def test_how_often_somebody_asks_counts_for_them_alone(house: House) -> None:
    house.app.state.door = replace(house.app.state.door, rates=Rates(2, lambda: 0.0))
    ann, again, bob = (house.client(house.issuer.token(sub=sub, **ORG)) for sub in ("ann", "ann", "bob"))
    asked = [(await client.get("/v1/people/me")).status_code for client in (ann, again, ann, again, bob)]

    assert asked == [200, 200, 429, 429, 200]


async def test_tenants_that_are_served_by_turns_never_see_each_other(house: House, db: Database) -> None:
    """Over a pool whose connections all of them share."""
    people = {sub: house.client(house.issuer.token(sub=sub)) for sub in ("ann", "bob", "cy")}
    made = {}
    for sub, client in people.items():
        answer = await client.post("/v1/people/keys", json={"name": f"of {sub}", "scopes": ["read"]})
        made[sub] = answer.json()["id"]

    async def look(sub: str) -> None:
        listed = (await people[sub].get("/v1/people/keys")).json()["keys"]
        assert [key["name"] for key in listed] == [f"of {sub}"]
        for other in set(people) - {sub}:
            theirs = await people[sub].delete(f"/v1/people/keys/{made[other]}")
            nobodys = await people[sub].delete(f"/v1/people/keys/{uuid4()}")
            assert (theirs.status_code, theirs.content) == (404, nobodys.content)

    await asyncio.gather(*(look(sub) for _ in range(30) for sub in people))
    assert len(await keys.listed(db, await keys.our_tenant(db))) == 0


async def test_a_member_is_one_of_their_tenant_only(db: Database, tenants: None) -> None:
    del tenants
    async with db.unbound() as conn:
        mine, person = await store.arrive(conn, Identity("https://one.example", "ann"))
    async with db.transaction(mine) as conn:
        assert await store.member(conn, mine, person)
    for tenant in (ONE, TWO):
        async with db.transaction(tenant) as conn:
            assert await store.member(conn, tenant, person) is None


async def test_a_forged_token_is_answered_by_what_is_wrong(house: House) -> None:
    stranger, cut_by_http = house.client(), {"a space in front", "a line end behind"}
    for name in FORGED.keys() - cut_by_http:
        token = FORGED[name](house.issuer)
        headers = [(b"Authorization", b"Bearer " + token.encode())]
        answer = await stranger.get("/v1/people/me", headers=headers)

        assert answer.status_code == 401, name
        assert answer.headers["content-type"] == MEDIA_TYPE
        assert answer.json()["code"] in {"people.bad_token", "people.token_expired"}
        assert answer.headers["WWW-Authenticate"].startswith(
            'Bearer realm="postroom", error="invalid_token", error_description="'
        )
        assert token not in answer.text


async def test_who_shows_nothing_is_told_of_no_error(house: House) -> None:
    answer = await house.client().get("/v1/people/me")

    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="postroom"'
    assert answer.json()["code"] == "http.no_key"


async def test_keys_open_beside_tokens(house: House, db: Database) -> None:
    _, text = await keys.create(db, await keys.our_tenant(db), "crm")
    me = (await house.client(text).get("/v1/people/me")).json()

    assert (me["person"], me["may_approve"]) == (None, False)
    unknown = await house.client("pr_" + "x" * 43).get("/v1/people/me")
    assert unknown.json()["code"] == "http.unknown_key"


async def test_nobody_approves_in_anothers_name(house: House) -> None:
    assert (await house.me(act={"sub": "support"}))["may_approve"] is False


async def test_an_issuer_that_is_away_is_no_reason_to_sign_out(house: House) -> None:
    house.issuer.instead = _cut
    token = house.issuer.token().split(".")
    unknown = "eyJhbGciOiJSUzI1NiIsImtpZCI6InR3byJ9." + ".".join(token[1:])
    answer = await house.client(unknown).get("/v1/people/me")

    assert (answer.status_code, answer.json()["code"]) == (503, "people.issuer_away")
    assert int(answer.headers["Retry-After"]) > 0


async def _cut(writer: Any) -> None:
    writer.transport.abort()


async def test_a_stranger_who_signed_in_cannot_lead_us_into_our_own_network(house: House) -> None:
    """As the operator's tenant may where nobody else signs in."""
    client = house.client(house.issuer.token())
    for server in ("imap://127.0.0.1", "imaps://10.0.0.1", "imaps://[::1]", "imaps://169.254.169.254"):
        wish = {"address": "ann@example.org", "password": "x", "server": server}
        answer = await client.post("/v1/accounts", json=wish)

        assert (answer.status_code, answer.json()["code"]) == (403, "net.egress_refused")


async def test_a_stream_ends_with_its_token(house: House) -> None:
    door = house.app.state.door
    now = int(time.time())
    good, over = house.issuer.token(), house.issuer.token(exp=now - 60, iat=now - 99, nbf=now - 99)
    caller = await door.caller_of(good)

    assert await door.welcome(caller, good)()
    assert not await door.welcome(caller, over)()
