"""T15: which tokens are believed."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from jwt.algorithms import RSAAlgorithm
from people.forging import EVIL, FORGED, HEADER
from servers.issuer import PARTY, Issuer, PrivateKey, jwk, key, signed

from postroom.people.jwks import Jwks
from postroom.people.model import BadToken, Expired, Identity, Role
from postroom.people.tokens import LONGEST, Issuers

SAYS = {
    "crit": "(crit)",
    "b64": "(crit)",
    "no alg": "(alg)",
    "alg ": "(alg)",
    "HS": "(alg)",
    "RS384": "(alg)",
    "PS256": "(alg)",
    "a typ": "(typ)",
    "aud of": "audience",
    "azp": "(azp)",
}
"""How names of forged tokens begin, and what their refusal says: it was ours, before anybody else looked."""


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with Issuer().running() as running:
        yield running


def trusting(*trusted: Jwks) -> Issuers:
    return Issuers({each.issuer.issuer: each for each in trusted})


@pytest.fixture
def issuers(issuer: Issuer) -> Issuers:
    return trusting(Jwks(issuer.settings()))


async def test_a_good_token_says_who_comes(issuer: Issuer, issuers: Issuers) -> None:
    who = await issuers.verified(issuer.token(name="Ann", email="ann@example.org"))

    assert who == Identity(issuer.name, "user_ann", name="Ann", email="ann@example.org")
    assert who.role is Role.ADMIN


@pytest.mark.parametrize("name", FORGED)
async def test_a_forged_token_is_not_believed(name: str, issuer: Issuer, issuers: Issuers) -> None:
    token = FORGED[name](issuer)
    assert await issuers.verified(issuer.token())
    issuer.asked.clear()

    with pytest.raises(BadToken) as refused:
        await issuers.verified(token)

    assert isinstance(refused.value, Expired) == (name in {"exp a minute ago", "exp before 1970"})
    assert set(issuer.asked) <= {"/jwks"}, "it followed what the token points at"
    for begins, says in SAYS.items():
        assert says in refused.value.message or not name.startswith(begins)


@pytest.mark.parametrize("kid", ["one", None])
async def test_a_key_in_the_header_changes_nothing(kid: str | None, issuer: Issuer, issuers: Issuers) -> None:
    """Such tokens are signed by some issuers; what they bring is not looked at."""
    header = {name: value for name, value in {**HEADER, "kid": kid}.items() if value}
    brought = {"jwk": jwk(EVIL), "jku": "https://evil.example", "x5u": "https://evil.example"}

    assert await issuers.verified(signed({**header, **brought}, issuer.claims(), key("one")))


async def test_an_issuer_signs_for_itself_only(issuer: Issuer) -> None:
    async with Issuer(keys={"one": key("another")}).running() as other:
        both = trusting(Jwks(issuer.settings()), Jwks(other.settings()))
        assert await both.verified(other.token())

        for name in (issuer.name, other.name):
            secret = other.keys["one"] if name == issuer.name else issuer.keys["one"]
            with pytest.raises(BadToken, match="signature is wrong"):
                await both.verified(signed(HEADER, issuer.claims(iss=name), secret))


async def test_a_key_signs_only_what_its_type_and_its_set_allow(issuer: Issuer) -> None:
    curve, edwards = ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey.generate()
    bound = key("bound")
    issuer.more = [
        jwk(curve, kid="curve"),
        jwk(edwards, kid="edwards"),
        jwk(bound, kid="bound", alg="RS512"),
    ]
    algorithms = ["RS256", "RS512", "ES256", "EdDSA"]
    issuers = trusting(Jwks(issuer.settings(algorithms=algorithms)))
    good: list[tuple[str, str, PrivateKey]] = [
        ("RS256", "one", key("one")),
        ("RS512", "one", key("one")),
        ("RS512", "bound", bound),
    ]
    good += [("ES256", "curve", curve), ("EdDSA", "edwards", edwards)]

    for algorithm, kid, secret in good:
        assert await issuers.verified(
            signed({"alg": algorithm, "kid": kid, "typ": "JWT"}, issuer.claims(), secret)
        )
    bad: list[tuple[str, str, PrivateKey]] = [("RS256", "bound", bound), ("RS256", "curve", key("one"))]
    bad += [("ES256", "one", curve), ("EdDSA", "curve", edwards)]
    for algorithm, kid, secret in bad:
        with pytest.raises(BadToken):
            await issuers.verified(signed({"alg": algorithm, "kid": kid}, issuer.claims(), secret))


@pytest.mark.parametrize(
    "unfit",
    [
        {"use": "enc"},
        {"key_ops": ["sign"]},
        {"key_ops": "verify"},
        {"alg": "RSA-OAEP"},
        {"kty": "oct", "k": "AAAA"},
        {"kty": "EC"},
        {"n": "AQAB"},
        {"n": 7},
        {"e": "AQAAAAE"},
        {"kid": 2},
    ],
    ids=str,
)
async def test_a_key_that_is_not_fit_to_verify_does_not(unfit: dict[str, object], issuer: Issuer) -> None:
    two = key("two")
    issuer.more = [jwk(two, kid="two") | unfit]
    issuers = trusting(Jwks(issuer.settings()))

    with pytest.raises(BadToken, match="not signed by a key"):
        await issuers.verified(signed({**HEADER, "kid": "two"}, issuer.claims(), two))
    issuer.more = [jwk(two, kid="two")]
    assert await trusting(Jwks(issuer.settings())).verified(
        signed({**HEADER, "kid": "two"}, issuer.claims(), two)
    )


async def test_a_private_key_that_was_made_public_does_not_verify(issuer: Issuer) -> None:
    two = key("two")
    issuer.more = [{**RSAAlgorithm.to_jwk(two, as_dict=True), "kid": "two", "key_ops": ["verify"]}]

    with pytest.raises(BadToken, match="not signed by a key"):
        await trusting(Jwks(issuer.settings())).verified(
            signed({**HEADER, "kid": "two"}, issuer.claims(), two)
        )


async def test_a_weak_key_does_not_verify(issuer: Issuer) -> None:
    weak = key("weak", bits=1024)
    issuer.more = [jwk(weak, kid="weak")]

    with pytest.raises(BadToken, match="not signed by a key"):
        await trusting(Jwks(issuer.settings())).verified(
            signed({**HEADER, "kid": "weak"}, issuer.claims(), weak)
        )


async def test_without_a_kid_the_only_key_is_meant_and_of_several_none(issuer: Issuer) -> None:
    token = signed({"alg": "RS256"}, issuer.claims(), key("one"))
    assert await trusting(Jwks(issuer.settings())).verified(token)

    issuer.keys["two"] = key("two")
    with pytest.raises(BadToken, match="not signed by a key"):
        await trusting(Jwks(issuer.settings())).verified(token)


async def test_clocks_may_differ_by_seconds(issuer: Issuer, issuers: Issuers) -> None:
    now = int(time.time())

    assert await issuers.verified(issuer.token(iat=now + 3, nbf=now + 3, exp=now + 60))
    assert await issuers.verified(issuer.token(iat=now - 60, nbf=now - 60, exp=now - 2))


async def test_without_parties_and_audience_only_tokens_for_nobody_in_particular_are_taken(
    issuer: Issuer,
) -> None:
    issuers = trusting(Jwks(issuer.settings(audience=[], authorized_parties=[])))

    assert await issuers.verified(issuer.token(aud=None, azp=None))
    assert await issuers.verified(issuer.token(aud=None, azp="https://anything.example"))
    with pytest.raises(BadToken, match="none is configured"):
        await issuers.verified(issuer.token())


async def test_one_of_several_audiences_and_parties_is_enough(issuer: Issuer) -> None:
    several = issuer.settings(audience=["x", "postroom"], authorized_parties=["y", PARTY])

    assert await trusting(Jwks(several)).verified(issuer.token(aud=["postroom", "other"]))


@pytest.mark.parametrize(
    ("claims", "organization", "name", "role"),
    [
        ({"o": {"id": "org_1", "rol": "admin", "slg": "acme"}, "v": 2}, "org_1", "acme", Role.ADMIN),
        ({"o": {"id": "org_1", "rol": "member", "slg": "acme"}, "v": 2}, "org_1", "acme", Role.MEMBER),
        ({"o": {"id": "org_1", "rol": "billing"}}, "org_1", None, Role.READER),
        ({"org_id": "org_2", "org_role": "org:admin", "org_slug": "zoo"}, "org_2", "zoo", Role.ADMIN),
        ({"org_id": "org_2", "org_role": "org:member"}, "org_2", None, Role.MEMBER),
        ({"org_id": "org_2"}, "org_2", None, Role.READER),
        ({"org_id": "org_2", "org_role": ["org:admin"]}, "org_2", None, Role.READER),
        ({"org_role": "org:admin"}, None, None, Role.ADMIN),
        ({}, None, None, Role.ADMIN),
    ],
    ids=str,
)
async def test_an_organisation_and_a_role_are_read_in_both_forms(
    claims: dict[str, object],
    organization: str | None,
    name: str | None,
    role: Role,
    issuer: Issuer,
    issuers: Issuers,
) -> None:
    who = await issuers.verified(issuer.token(**claims))

    assert (who.organization, who.organization_name, who.role) == (organization, name, role)


async def test_other_issuers_name_organisations_and_roles_as_the_settings_say(issuer: Issuer) -> None:
    named = issuer.settings(
        organization_claim="groups/tenant", role_claim="job", roles={"boss": "admin", "*": "member"}
    )
    issuers = trusting(Jwks(named))

    boss = await issuers.verified(issuer.token(**{"groups/tenant": "t1", "job": "boss", "org_id": "other"}))
    clerk = await issuers.verified(issuer.token(**{"groups/tenant": "t1", "job": "clerk"}))
    alone = await issuers.verified(issuer.token(org_id="other"))

    assert (boss.organization, boss.role) == ("t1", Role.ADMIN)
    assert clerk.role is Role.MEMBER
    assert alone.organization is None


async def test_a_name_is_shown_without_what_cannot_be_read(issuer: Issuer, issuers: Issuers) -> None:
    who = await issuers.verified(issuer.token(name="A\0nn\u202e" + "x" * 500, email=7))

    assert who.name is not None
    assert (who.name[:4], len(who.name), who.email) == ("Annx", 198, None)


async def test_somebody_in_anothers_name_is_told_apart(issuer: Issuer, issuers: Issuers) -> None:
    assert (await issuers.verified(issuer.token(act={"sub": "user_support"}))).is_impersonated


async def test_the_longest_token_is_read_in_no_time(issuer: Issuer, issuers: Issuers) -> None:
    room = LONGEST * 3 // 4 - len(issuer.token())
    token = issuer.token(more="x" * room)

    async with asyncio.timeout(5):
        assert await issuers.verified(token)
        with pytest.raises(BadToken, match="neither"):
            await issuers.verified(token + "x" * (LONGEST - len(token) + 1))
