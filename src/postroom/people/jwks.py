"""The keys that an issuer signs with: fetched, kept, and fetched again.

    known key    from memory; nobody waits for the network
    unknown key  one question to the issuer, for all who wait, at most once in `Rhythm.unknown`
    meanwhile    every `refresh`, beside everything else, or sooner after a failure

What an issuer answered last is good for `keep`, while its server is away: keys that cannot be told anew are
not thereby withdrawn. An answer that holds no key that can be used is a failure, too. A key serves only the
algorithms that its type, its own `alg` and the settings allow (RFC 8725, 3.1), and is found by its `kid` in
this set only: nothing that a token brings or points at is a key.
"""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, TypeAlias

import jwt
import orjson
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from postroom import telemetry
from postroom.errors import PostroomError
from postroom.net.client import Client, checked
from postroom.net.egress import Egress
from postroom.net.model import BadAnswer
from postroom.people.model import BadToken, IssuerAway
from postroom.settings import IssuerSettings

log = telemetry.logger()

MOST = 1 << 18  # bytes of an answer
LIMIT = timedelta(seconds=5)
MOST_KEYS = 100
DISCOVERY = "/.well-known/openid-configuration"
TYPES = {"RS": ("RSA", None), "PS": ("RSA", None), "Ed": ("OKP", "Ed25519")}
CURVES = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}
BITS = range(2048, 8193)  # of an RSA key: below it is weak, above it takes its time
LARGEST_EXPONENT = 1 << 32

Keys: TypeAlias = Mapping[tuple[str, str], jwt.PyJWK]
"""By key id and algorithm."""


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How often an issuer is asked, and how long its last answer is good."""

    refresh: timedelta = timedelta(minutes=10)
    retry: timedelta = timedelta(seconds=30)
    unknown: timedelta = timedelta(minutes=1)
    keep: timedelta = timedelta(hours=12)


@dataclass(slots=True)
class Jwks:
    """The keys of one issuer, in this process."""

    issuer: IssuerSettings
    http: Client = field(default_factory=lambda: Client(Egress(private_allowed=True), most=MOST, limit=LIMIT))
    rhythm: Rhythm = field(default_factory=Rhythm)
    _keys: Keys = field(default_factory=dict)
    _told_at: float | None = None  # when the issuer last told its keys, by the loop's clock
    _asked_at: float | None = None  # when somebody with an unknown key last had it asked
    _failed: bool = False
    _one: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def key(self, kid: str | None, algorithm: str) -> jwt.PyJWK:
        """The key that signs so. Without an id: the only one. Raises `BadToken`, `IssuerAway`."""
        found = self._known(kid, algorithm)
        if found is None:
            await self._ask_once(kid, algorithm)
            found = self._known(kid, algorithm)
        if found is not None:
            return found
        if self._failed or not self._is_good():
            raise IssuerAway(
                "The issuer of this token does not tell its keys at present.", wait=self.rhythm.retry
            )
        raise BadToken("This token is not signed by a key that its issuer has.")

    async def keep_fresh(self) -> None:
        """Ask again and again, until cancelled."""
        while True:
            async with self._one:
                await self._ask()
            pause = self.rhythm.retry if self._failed else self.rhythm.refresh
            await asyncio.sleep(pause.total_seconds())

    def _known(self, kid: str | None, algorithm: str) -> jwt.PyJWK | None:
        if not self._is_good():
            return None
        if kid is not None:
            return self._keys.get((kid, algorithm))
        fitting = [key for (_, its), key in self._keys.items() if its == algorithm]
        return fitting[0] if len(fitting) == 1 else None

    def _is_good(self) -> bool:
        now = asyncio.get_running_loop().time()
        return self._told_at is not None and now - self._told_at <= self.rhythm.keep.total_seconds()

    async def _ask_once(self, kid: str | None, algorithm: str) -> None:
        """Many may wait here for one answer; who comes sooner than `unknown` after it gets no other."""
        async with self._one:
            now = asyncio.get_running_loop().time()
            if self._known(kid, algorithm) is not None:
                return
            if self._asked_at is None or now - self._asked_at >= self.rhythm.unknown.total_seconds():
                self._asked_at = now
                await self._ask()

    async def _ask(self) -> None:
        """Never raises for what an issuer does: what it told before stays."""
        try:
            keys = usable(await self._fetched(), self.issuer)
        except PostroomError as error:
            self._failed = True
            log.warning("people.issuer_away", issuer=self.issuer.issuer, code=error.code, why=error.message)
            return
        if keys.keys() != self._keys.keys():
            kids = sorted({kid for kid, _ in keys})
            log.info("people.issuer_keys", issuer=self.issuer.issuer, kids=kids)
        self._keys, self._failed = keys, False
        self._told_at = asyncio.get_running_loop().time()

    async def _fetched(self) -> Mapping[str, Any]:
        if self.issuer.jwks_url is not None:
            return await self._document(self.issuer.jwks_url, self.http)
        where = await self._discovered()
        return await self._document(where, self._beyond(where))

    def _beyond(self, where: str) -> Client:
        """The operator named the issuer, which may be in their own network. What it points at may not."""
        named, told = checked(self.issuer.issuer), checked(where)
        if (told.host, told.port) == (named.host, named.port):
            return self.http
        return replace(self.http, allowed=Egress(private_allowed=False))

    async def _discovered(self) -> str:
        """Where the issuer says that its keys are (OpenID Connect Discovery, 4)."""
        said = await self._document(self.issuer.issuer.rstrip("/") + DISCOVERY, self.http)
        where = said.get("jwks_uri")
        if said.get("issuer") != self.issuer.issuer or not isinstance(where, str):
            raise BadAnswer("What was found is not the configuration of this issuer.")
        if not where.startswith("https://") and self.issuer.issuer.startswith("https://"):
            raise BadAnswer("The issuer says that its keys come unencrypted.")
        return where

    async def _document(self, url: str, http: Client) -> Mapping[str, Any]:
        answer = await http.send("GET", url, headers={"Accept": "application/json"})
        if answer.status != 200:
            raise BadAnswer(f"The answer has the status {answer.status}.")
        try:
            said = orjson.loads(answer.body)
        except orjson.JSONDecodeError as error:
            raise BadAnswer("The answer is not JSON.") from error
        if not isinstance(said, dict):
            raise BadAnswer("The answer is no JSON object.")
        return said


def usable(said: Mapping[str, Any], issuer: IssuerSettings) -> Keys:
    """Those keys of a set (RFC 7517, 5) that may sign. Raises `BadAnswer` where there is none."""
    found: dict[tuple[str, str], jwt.PyJWK] = {}
    listed = said.get("keys")
    for each in listed[:MOST_KEYS] if isinstance(listed, list) else []:
        if isinstance(each, dict):
            for kid, algorithm, key in _serving(each, issuer):
                found.setdefault((kid, algorithm), key)
    if not found:
        raise BadAnswer("The answer holds no key that can be used.")
    return found


def _serving(each: Mapping[str, Any], issuer: IssuerSettings) -> Iterator[tuple[str, str, jwt.PyJWK]]:
    kid, purpose, operations = each.get("kid", ""), each.get("use", "sig"), each.get("key_ops", ["verify"])
    if not isinstance(kid, str) or purpose != "sig" or "d" in each:
        return
    if not isinstance(operations, list) or "verify" not in operations:
        return
    for algorithm in issuer.algorithms:
        kind = TYPES.get(algorithm[:2]) or ("EC", CURVES.get(algorithm))
        if (each.get("kty"), each.get("crv") if kind[1] else None) != kind:
            continue
        if each.get("alg", algorithm) != algorithm:
            continue
        try:
            key = jwt.PyJWK(dict(each), algorithm)
        except (jwt.PyJWTError, ValueError, TypeError):
            continue
        if _is_sound(key.key):
            yield kid, algorithm, key


def _is_sound(key: object) -> bool:
    if not isinstance(key, RSAPublicKey):
        return True
    return key.key_size in BITS and key.public_numbers().e < LARGEST_EXPONENT
