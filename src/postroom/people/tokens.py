"""Tokens that say who a person is (RFC 7519, RFC 8725): whose, and whether they are to be believed.

token ─ shape ─ issuer configured ─ its algorithm ─ its key ─ signature ─ claims ─▶ Identity

The token chooses among what the settings allow, and brings nothing of its own: `jku`, `x5u`, `x5c` and `jwk`
in its header are not read, and `crit` names what nobody here understands.
"""

import asyncio
import base64
import binascii
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import jwt
import orjson

from postroom.db.beside import beside
from postroom.people import claims
from postroom.people.jwks import Jwks
from postroom.people.model import BadToken, Identity
from postroom.settings import IssuerSettings

LONGEST = 16_384  # characters
SHAPE = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
KINDS = {"jwt", "at+jwt", "application/at+jwt"}  # a logout token, say, is signed by the same key
LONGEST_KID = 255

_jws = jwt.PyJWS(options={"verify_signature": True, "enforce_minimum_key_length": True})


@dataclass(frozen=True, slots=True)
class Issuers:
    """Those whose tokens are believed; nobody by default."""

    named: Mapping[str, Jwks] = field(default_factory=dict)

    async def verified(self, token: str) -> Identity:
        """Who this token says that somebody is. Raises `BadToken`, `Expired`, `IssuerAway`."""
        header, said = _taken_apart(token)
        name = said.get("iss")
        jwks = self.named.get(name) if isinstance(name, str) else None
        if jwks is None:
            raise BadToken("This token is not from an issuer that this installation knows.")
        algorithm, kid = _chosen(header, jwks.issuer)
        key = await jwks.key(kid, algorithm)
        try:
            _jws.decode(token, key.key, algorithms=[algorithm])
        except jwt.PyJWTError as error:
            raise BadToken("This token's signature is wrong.") from error
        return claims.identity(said, jwks.issuer, datetime.now(UTC))

    async def keep_fresh(self) -> None:
        """Keep up with all issuers' keys, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for jwks in self.named.values():
                group.create_task(jwks.keep_fresh())


@asynccontextmanager
async def open_issuers(trusted: Sequence[IssuerSettings]) -> AsyncIterator[Issuers]:
    """These issuers, whose keys are kept fresh while the block runs."""
    issuers = Issuers({each.issuer: Jwks(each) for each in trusted})
    async with beside(issuers.keep_fresh()):
        yield issuers


def _taken_apart(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims, as somebody wrote them."""
    if len(token) > LONGEST or not SHAPE.fullmatch(token):
        raise BadToken("This is neither an API key nor a token.")
    header, said, _ = token.split(".")
    return _part(header), _part(said)


def _part(text: str) -> dict[str, Any]:
    try:
        found = orjson.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (binascii.Error, orjson.JSONDecodeError) as error:
        raise BadToken("This token is garbled.") from error
    if not isinstance(found, dict):
        raise BadToken("This token is garbled.")
    return found


def _chosen(header: Mapping[str, Any], issuer: IssuerSettings) -> tuple[str, str | None]:
    """The algorithm and the key's id."""
    if "crit" in header or "b64" in header:
        raise BadToken("This token wants an extension that is not understood here (crit).")
    kind = header.get("typ", "JWT")
    if not isinstance(kind, str) or kind.lower() not in KINDS:
        raise BadToken("This is a token of another kind (typ).")
    algorithm, kid = header.get("alg"), header.get("kid")
    if algorithm not in issuer.algorithms:
        raise BadToken("This token is not signed in the way that its issuer signs (alg).")
    if kid is not None and not (isinstance(kid, str) and 0 < len(kid) <= LONGEST_KID):
        raise BadToken("This token's key id makes no sense (kid).")
    return str(algorithm), kid
