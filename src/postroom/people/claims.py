"""What a token's claims say of a person. Pure; the signature is somebody else's question.

claims      checked
iss         names the issuer whose key has signed
exp iat nbf numbers; not over, not made or meant for later, give or take LEEWAY
aud         one of the issuer's audiences; without any there must be none
azp         one of the authorized parties, where there are any
sub         a short text
sts         not `pending`: such a session of Clerk lacks a step and counts as signed out
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from math import isfinite
from typing import Any

from postroom.people.model import BadToken, Expired, Identity, Role
from postroom.settings import IssuerSettings

LEEWAY = timedelta(seconds=5)
LONGEST = 255  # characters of an id (OpenID Connect Core, 2, on `sub`)
LONGEST_NAME = 200


def identity(claims: Mapping[str, Any], issuer: IssuerSettings, now: datetime) -> Identity:
    """Who comes. Raises `BadToken`, `Expired`."""
    _check_times(claims, now)
    _check_parties(claims, issuer)
    if claims.get("sts") == "pending":
        raise BadToken("This sign-in is not complete: its session is pending.")
    organization, role, title = _organization(claims, issuer)
    return Identity(
        issuer.issuer,
        _short(claims.get("sub"), "sub"),
        organization,
        title,
        Role.ADMIN if organization is None else _role(role, issuer),
        name=_shown(claims.get("name")),
        email=_shown(claims.get("email")),
        is_impersonated="act" in claims,
    )


def _check_times(claims: Mapping[str, Any], now: datetime) -> None:
    at, leeway = now.timestamp(), LEEWAY.total_seconds()
    if _moment(claims, "exp") <= at - leeway:
        raise Expired("This token has expired; get a new one from its issuer.")
    if _moment(claims, "iat") > at + leeway:
        raise BadToken("This token was issued in the future; is this machine's clock right?")
    if "nbf" in claims and _moment(claims, "nbf") > at + leeway:
        raise BadToken("This token is not valid yet.")


def _moment(claims: Mapping[str, Any], name: str) -> float:
    said: Any = claims.get(name)
    is_number = isinstance(said, int | float) and not isinstance(said, bool)
    if not is_number or (isinstance(said, float) and not isfinite(said)):
        raise BadToken(f"This token has no time in its claim {name}.")
    return said  # type: ignore[no-any-return]


def _check_parties(claims: Mapping[str, Any], issuer: IssuerSettings) -> None:
    said = claims.get("aud", [])
    audience = [said] if isinstance(said, str) else said
    if not isinstance(audience, list) or not all(isinstance(each, str) for each in audience):
        raise BadToken("This token's audience makes no sense.")
    if issuer.audience and not set(audience) & set(issuer.audience):
        raise BadToken("This token is for another audience.")
    if audience and not issuer.audience:
        raise BadToken("This token is for an audience, and none is configured for its issuer.")
    parties = issuer.authorized_parties
    if parties and claims.get("azp") not in parties:
        raise BadToken("This token was made for another application (azp).")


def _organization(claims: Mapping[str, Any], issuer: IssuerSettings) -> tuple[str | None, Any, str | None]:
    """Its id, the role in it, its name. Clerk writes `o` {id, rol, slg}, or, before that, `org_id` ..."""
    if issuer.organization_claim is not None:
        found = claims.get(issuer.organization_claim), claims.get(issuer.role_claim or ""), None
    elif "o" in claims:
        inner = claims["o"]
        if not isinstance(inner, dict) or "id" not in inner:
            raise BadToken("This token's organisation makes no sense.")
        found = inner["id"], inner.get("rol"), inner.get("slg")
    else:
        found = claims.get("org_id"), claims.get("org_role"), claims.get("org_slug")
    if found[0] is None:
        return None, None, None
    return _short(found[0], "organisation"), found[1], _shown(found[2])


def _role(said: object, issuer: IssuerSettings) -> Role:
    """The least that there is, unless the settings say what this role is."""
    name = said.removeprefix("org:") if isinstance(said, str) else ""
    return Role(issuer.roles.get(name) or issuer.roles.get("*") or Role.READER)


def _short(said: object, what: str) -> str:
    """Raises `BadToken` for what no database could tell from others."""
    if not isinstance(said, str) or not 0 < len(said) <= LONGEST or not said.isprintable():
        raise BadToken(f"This token's {what} makes no sense.")
    return said


def _shown(said: object) -> str | None:
    """A name for people to read; nothing depends on it."""
    if not isinstance(said, str):
        return None
    return "".join(letter for letter in said[:LONGEST_NAME] if letter.isprintable()).strip() or None
