"""Signing in by Clerk, as npm's `emulate` plays it."""

import pytest
from servers.emulate import Clerk

from postroom.db.pool import Database
from postroom.http.caller import Caller
from postroom.people import store
from postroom.people.entrance import Entrance
from postroom.people.jwks import Jwks
from postroom.people.model import BadToken
from postroom.people.tokens import Issuers
from postroom.settings import IssuerSettings


@pytest.fixture
def entrance(db: Database, clerk: Clerk) -> Entrance:
    trusted = IssuerSettings(issuer=clerk.issuer)
    return Entrance(db, Issuers({clerk.issuer: Jwks(trusted)}))


async def found(entrance: Entrance, token: str) -> Caller:
    caller = await entrance.find(token)
    assert caller is not None
    assert caller.person is not None
    return caller


async def test_a_member_of_an_organisation_comes_to_its_tenant(
    db: Database, clerk: Clerk, entrance: Entrance
) -> None:
    grace = await found(entrance, await clerk.sign_in("user_grace"))
    again = await found(entrance, await clerk.sign_in("user_grace"))

    assert grace == again
    assert grace.person is not None
    assert grace.person.role == "admin"
    assert grace.may_approve
    async with db.transaction(grace.tenant) as conn:
        assert (await store.tenant_of(conn, grace.tenant)).name == "navy"


async def test_somebody_alone_has_a_tenant_of_their_own(clerk: Clerk, entrance: Entrance) -> None:
    bob = await found(entrance, await clerk.sign_in("user_bob"))
    grace = await found(entrance, await clerk.sign_in("user_grace"))
    grace_alone = await found(entrance, await clerk.sign_in("user_grace", "/any"))

    assert len({bob.tenant, grace.tenant, grace_alone.tenant}) == 3
    assert grace.person is not None
    assert grace_alone.person is not None
    assert grace.person.id == grace_alone.person.id


async def test_a_token_of_clerk_is_not_for_who_trusts_another(db: Database, clerk: Clerk) -> None:
    """Nor where parties are named, as this one was made for nobody in particular."""
    token = await clerk.sign_in("user_grace")
    other = IssuerSettings(issuer="https://clerk.example.com")
    picky = IssuerSettings(issuer=clerk.issuer, authorized_parties=["https://app.example"])

    for trusted in (other, picky):
        with pytest.raises(BadToken):
            await Entrance(db, Issuers({trusted.issuer: Jwks(trusted)})).find(token)
