"""An authorization server for tests: real HTTP on loopback, and stricter than most.

    GET /authorize     whoever is signed in consents (RFC 6749, 4.1), with PKCE by S256 only (RFC 7636); the
                       answer names the issuer (RFC 9207)
    POST /token        codes, worth an id token with the scope openid; refresh tokens (RFC 6749, 6). Each is
                       good once, and a second use is theft: everything that came of the same consent is
                       revoked (RFC 9700, 4.14.2)
    POST /introspect   is this token good, and whose is it (RFC 7662): for mail servers
    POST /revoke       RFC 7009

A test decides when tokens expire, what is answered instead of the truth, and what happens between the moment
in which a refresh token is spent and the answer.
"""

import asyncio
import base64
import json
import secrets
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qsl, unquote_plus, urlencode

FORM = "application/x-www-form-urlencoded"
MAILSERVER = ("mailserver", "its-own-secret")  # who may introspect

Reply = tuple[int, Mapping[str, str], bytes]


class Refused(Exception):
    """An error of RFC 6749, 5.2."""

    def __init__(self, error: str, status: int = 400) -> None:
        super().__init__(error)
        self.error, self.status = error, status


@dataclass
class Consent:
    """What somebody allowed, and the tokens that came of it."""

    user: str
    scope: frozenset[str]
    current: str = ""
    spent: list[str] = field(default_factory=list)
    access: set[str] = field(default_factory=set)
    is_revoked: bool = False


@dataclass
class Code:
    """What somebody was sent back with."""

    consent: Consent
    asked: Mapping[str, str]
    is_used: bool = False


async def _nothing() -> None: ...


@dataclass
class TokenServer:
    """See the module. `instead`: what is answered to the next requests for tokens; None: they are cut off."""

    port: int = 0
    client_id: str = "postroom-tests"
    client_secret: str | None = "client secret + / ="
    basic: bool = False  # how the client is registered to say who it is
    rotates: bool = True
    grace: int = 0  # how often the refresh token before the current one is taken once more
    life: int | str | None = 3600
    instead: deque[Reply | None] = field(default_factory=deque)
    spending: Callable[[], Awaitable[None]] = (
        _nothing  # after a code or a refresh token was spent, before the answer
    )
    consents: list[Consent] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)  # paths
    refreshes: int = 0
    thefts: int = 0
    redirects: set[str] = field(default_factory=set)  # registered, letter by letter
    signed_in: str | None = None  # who sits at the browser; None: somebody who refuses
    claims: dict[str, Any] = field(
        default_factory=dict
    )  # of id tokens, other than the truth; None: not there
    offline: bool = True  # whether a code is worth a refresh token
    said: dict[str, str | None] = field(default_factory=dict)  # to the callback, other than the truth
    codes: dict[str, Code] = field(default_factory=dict)

    def url(self, path: str = "/token") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def consent(self, user: str, scope: str = "imap offline") -> Consent:
        """Somebody signs in; the first refresh token is `current`."""
        made = Consent(user, frozenset(scope.split()), f"refresh-{secrets.token_urlsafe(24)}")
        self.consents.append(made)
        return made

    def oauth(self, consent: Consent, **more: Any) -> dict[str, Any]:
        """A grant as somebody would write it."""
        method = {"client_auth": "basic"} if self.basic else {}
        secret = {"client_secret": self.client_secret} if self.client_secret else {}
        known = {"token_url": self.url(), "client_id": self.client_id, **secret, **method}
        return known | {"refresh_token": consent.current, "scope": "imap"} | more

    def expire(self) -> None:
        """Every access token that is out is good for nothing."""
        for consent in self.consents:
            consent.access.clear()

    def holds(self, token: str) -> bool:
        """Whether it is an access token that is good."""
        return any(token in consent.access for consent in self.consents)

    async def answer(self, path: str, headers: Mapping[str, str], body: bytes) -> Reply | None:
        """None: the connection is cut."""
        path, _, query = path.partition("?")
        self.asked.append(path)
        try:
            if path == "/authorize":
                return 302, {"Location": self._authorized(query)}, b""
            form = _form(headers, body)
            match path:
                case "/introspect":
                    return _json(200, self._introspected(headers, form))
                case "/token":
                    if self.instead:
                        return self.instead.popleft()
                    if form.get("grant_type") == "authorization_code":
                        return _json(200, await self._exchanged(headers, form))
                    return _json(200, await self._refreshed(headers, form))
                case "/revoke":
                    return self._revoked(headers, form)
        except Refused as refused:
            return _json(refused.status, {"error": refused.error, "error_description": "no, and no more."})
        return 404, {}, b"nothing here"

    def _introspected(self, headers: Mapping[str, str], form: Mapping[str, str]) -> dict[str, Any]:
        if _basic(headers) != MAILSERVER:
            raise Refused("invalid_client", 401)
        for consent in self.consents:
            if form.get("token") in consent.access and not consent.is_revoked:
                return {"active": True, "username": consent.user, "scope": " ".join(sorted(consent.scope))}
        return {"active": False}

    def _authorized(self, query: str) -> str:
        """Where the browser is sent; it stays here, with an error, where that is not registered."""
        asked = _once(query)
        if asked.get("client_id") != self.client_id or asked.get("redirect_uri") not in self.redirects:
            raise Refused("invalid_request")
        said: dict[str, str | None] = {"state": asked.get("state"), "iss": self.url("")}
        if (asked.get("response_type"), asked.get("code_challenge_method")) != ("code", "S256"):
            said["error"] = "invalid_request"
        elif self.signed_in is None:
            said |= {"error": "access_denied", "error_description": "<script>alert(1)</script>"}
        else:
            said["code"] = code = f"code-{secrets.token_urlsafe(24)}"
            self.codes[code] = Code(self.consent(self.signed_in, asked.get("scope", "")), asked)
        said |= self.said
        kept = {name: value for name, value in said.items() if value is not None}
        return f"{asked['redirect_uri']}?{urlencode(kept)}"

    async def _exchanged(self, headers: Mapping[str, str], form: Mapping[str, str]) -> dict[str, Any]:
        self._check_client(headers, form)
        code = self.codes.get(form.get("code") or "")
        if code is None:
            raise Refused("invalid_grant")
        if code.is_used:
            self.thefts += 1
            code.consent.is_revoked = True
            code.consent.access.clear()
            raise Refused("invalid_grant")
        code.is_used = True
        proof = sha256((form.get("code_verifier") or "").encode()).digest()
        shown = base64.urlsafe_b64encode(proof).rstrip(b"=").decode(), form.get("redirect_uri")
        if shown != (code.asked.get("code_challenge"), code.asked.get("redirect_uri")):
            raise Refused("invalid_grant")
        access = f"access-{secrets.token_urlsafe(24)}"
        code.consent.access.add(access)
        said = {"access_token": access, "token_type": "Bearer", "expires_in": self.life}
        if self.offline:
            said["refresh_token"] = code.consent.current
        if "openid" in code.consent.scope:
            said["id_token"] = self._id_token(code)
        await self.spending()
        return {key: value for key, value in said.items() if value is not None}

    def _id_token(self, code: Code) -> str:
        """Unsigned: who gets it here asked for it here."""
        user = code.consent.user
        truth: dict[str, Any] = {"iss": self.url(""), "sub": f"subject of {user}", "aud": self.client_id}
        truth |= {"nonce": code.asked.get("nonce"), "email": f"{user}@example.org", "email_verified": True}
        told = {"exp": int(time.time()) + 60, **truth, **self.claims}
        claims = {name: value for name, value in told.items() if value is not None}
        parts = [json.dumps(part).encode() for part in ({"alg": "none"}, claims)]
        return ".".join([*(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts), ""])

    async def _refreshed(self, headers: Mapping[str, str], form: Mapping[str, str]) -> dict[str, Any]:
        self._check_client(headers, form)
        if form.get("grant_type") != "refresh_token":
            raise Refused("unsupported_grant_type" if "grant_type" in form else "invalid_request")
        token = form.get("refresh_token") or ""
        consent = next((one for one in self.consents if token == one.current or token in one.spent), None)
        if consent is None or consent.is_revoked:
            raise Refused("invalid_grant")
        if not frozenset(form.get("scope", "").split()) <= consent.scope:
            raise Refused("invalid_scope")
        if token != consent.current:
            if token != consent.spent[-1] or self.grace < 1:
                self.thefts += 1
                consent.is_revoked = True
                consent.access.clear()
                raise Refused("invalid_grant")
            self.grace -= 1
        self.refreshes += 1
        access = f"access-{secrets.token_urlsafe(24)}"
        consent.access.add(access)
        said = {"access_token": access, "token_type": "Bearer", "expires_in": self.life}
        if self.rotates:
            consent.spent.append(consent.current)
            consent.current = f"refresh-{secrets.token_urlsafe(24)}"
            said["refresh_token"] = consent.current
        await self.spending()
        return {key: value for key, value in said.items() if value is not None}

    def _revoked(self, headers: Mapping[str, str], form: Mapping[str, str]) -> Reply:
        self._check_client(headers, form)
        for consent in self.consents:
            if form.get("token") in {consent.current, *consent.spent}:
                consent.is_revoked = True
                consent.access.clear()
        return 200, {}, b""  # also where it knows no such token (RFC 7009, 2.2)

    def _check_client(self, headers: Mapping[str, str], form: Mapping[str, str]) -> None:
        """By the one method that it is registered with, and no other beside it."""
        shown = _basic(headers)
        if shown is not None and ("client_id" in form or "client_secret" in form):
            raise Refused("invalid_request")
        posted = form.get("client_id"), form.get("client_secret")
        if (shown if self.basic else posted) != (self.client_id, self.client_secret):
            raise Refused("invalid_client", 401)


def _form(headers: Mapping[str, str], body: bytes) -> dict[str, str]:
    if headers.get("content-type", "").partition(";")[0] != FORM:
        raise Refused("invalid_request")
    return _once(body.decode())


def _once(text: str) -> dict[str, str]:
    pairs = parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text))
    form = dict(pairs)
    if len(form) != len(pairs):  # a parameter twice
        raise Refused("invalid_request")
    return form


def _basic(headers: Mapping[str, str]) -> tuple[str, str] | None:
    kind, _, value = headers.get("authorization", "").partition(" ")
    if kind.lower() != "basic":
        return None
    user, _, password = base64.b64decode(value).decode().partition(":")
    return unquote_plus(user), unquote_plus(password)


def _json(status: int, said: Mapping[str, Any]) -> Reply:
    headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
    return status, headers, json.dumps(said).encode()


@asynccontextmanager
async def token_server(port: int = 0, **more: Any) -> AsyncIterator[TokenServer]:
    """One that answers while the block runs."""
    server = TokenServer(**more)
    underway: set[asyncio.Task[None] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        underway.add(asyncio.current_task())
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (h.partition(":") for h in head[1:])}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            if (reply := await server.answer(head[0].split()[1], headers, body)) is not None:
                writer.write(_written(*reply))
                await writer.drain()
        writer.close()
        underway.discard(asyncio.current_task())

    async with await asyncio.start_server(serve, "127.0.0.1", port) as listening:
        server.port = listening.sockets[0].getsockname()[1]
        try:
            yield server
        finally:
            for task in filter(None, underway):
                task.cancel()


def _written(status: int, headers: Mapping[str, str], body: bytes) -> bytes:
    lines = [f"HTTP/1.1 {status} said", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body
