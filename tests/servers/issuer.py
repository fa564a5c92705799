"""An issuer of tokens for tests: real HTTP on loopback, keys of its own, and whatever goes wrong there.

GET /.well-known/openid-configuration   where the keys are
GET /jwks                               the public halves of `keys`
"""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from postroom.settings import IssuerSettings

from .web import Answering, page

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
AUDIENCE, PARTY = "postroom", "https://app.example"


@cache
def key(_name: str, bits: int = 2048) -> rsa.RSAPrivateKey:
    """The RSA key of this name, made once in a run: that takes a while."""
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def jwk(private: PrivateKey, **more: Any) -> dict[str, Any]:
    """Its public half (RFC 7517)."""
    public: Any = private.public_key()
    kind = {rsa.RSAPrivateKey: RSAAlgorithm, ec.EllipticCurvePrivateKey: ECAlgorithm}
    codec: Any = next((kind[each] for each in kind if isinstance(private, each)), OKPAlgorithm)
    return {**codec.to_jwk(public, as_dict=True), "use": "sig", **more}


def segment(what: bytes | Mapping[str, Any]) -> str:
    raw = what if isinstance(what, bytes) else json.dumps(what).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def signed(header: Mapping[str, Any], claims: bytes | Mapping[str, Any], secret: Any) -> str:
    """A token with this header, whatever it says, signed as its `alg` wants."""
    said = f"{segment(header)}.{segment(claims)}"
    algorithm = jwt.PyJWS().get_algorithm_by_name(str(header["alg"]))
    return f"{said}.{segment(algorithm.sign(said.encode(), secret))}"


@dataclass
class Issuer:
    """See the module. `instead`: what is answered to the next requests, of any path; at the end the last."""

    port: int = 0
    keys: dict[str, PrivateKey] = field(default_factory=lambda: {"one": key("one")})
    more: list[dict[str, Any]] = field(default_factory=list)  # keys as they stand in the set
    instead: Answering | None = None
    asked: list[str] = field(default_factory=list)  # paths
    configuration: dict[str, Any] = field(default_factory=dict)  # other than the truth
    was_asked: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def name(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def settings(self, **more: Any) -> IssuerSettings:
        """How an operator names it."""
        known = {"issuer": self.name, "jwks_url": f"{self.name}/jwks", "audience": [AUDIENCE]}
        return IssuerSettings(**{**known, "authorized_parties": [PARTY], **more})

    def claims(self, **more: Any) -> dict[str, Any]:
        """Of somebody who is to be believed. What is None is left out."""
        now = int(time.time())
        usual = {"iss": self.name, "sub": "user_ann", "aud": AUDIENCE, "azp": PARTY}
        said = {**usual, "iat": now - 1, "nbf": now - 1, "exp": now + 60, **more}
        return {name: value for name, value in said.items() if value is not None}

    def token(self, kid: str = "one", /, **more: Any) -> str:
        """That, signed."""
        header = {"alg": "RS256", "typ": "JWT", "kid": kid}
        return signed(header, self.claims(**more), self.keys[kid])

    @property
    def jwks(self) -> dict[str, Any]:
        return {"keys": [*(jwk(private, kid=kid) for kid, private in self.keys.items()), *self.more]}

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Issuer"]:
        """It answers while the block runs; once more at the same port, when it comes back."""
        underway: set[asyncio.Task[None] | None] = set()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            underway.add(asyncio.current_task())
            try:
                await self._serve(reader, writer)
            except asyncio.CancelledError:
                writer.transport.abort()
            finally:
                writer.close()
                underway.discard(asyncio.current_task())

        async with await asyncio.start_server(serve, "127.0.0.1", self.port) as listening:
            self.port = listening.sockets[0].getsockname()[1]
            try:
                yield self
            finally:
                for task in filter(None, underway):
                    task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            path = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
            self.asked.append(path)
            self.was_asked.set()
            await (self.instead or self._page(path))(writer)
            await writer.drain()

    def _page(self, path: str) -> Answering:
        truth = {"issuer": self.name, "jwks_uri": f"{self.name}/jwks"} | self.configuration
        pages = {"/jwks": self.jwks, "/.well-known/openid-configuration": truth}
        if path not in pages:
            return page(b"", status="404 Not Found")
        return page(json.dumps(pages[path]).encode(), headers="Content-Type: application/json\r\n")
