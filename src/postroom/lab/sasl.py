"""The mechanisms of AUTHENTICATE: PLAIN, LOGIN for those who prompt, SCRAM-SHA-256, and access tokens.

Each asks with `prompt` and returns whom it believes the client to be, or refuses.
"""

import hashlib
import hmac
import json
import re
from base64 import b64decode, b64encode
from collections.abc import Awaitable, Callable
from functools import lru_cache
from hmac import compare_digest

from postroom.lab.session import No, Session
from postroom.lab.wire import Misread

PROMPTS = (b"VXNlciBOYW1lAA==", b"UGFzc3dvcmQA")  # as QQ asks, and not as the draft has it
REFUSED = "[AUTHENTICATIONFAILED] wrong name or password"
SALT = b"a grain of salt"
ITERATIONS, MILLION = 4096, 1_000_000
FORGED = b"the signature of somebody else.."

Prompt = Callable[[bytes], Awaitable[bytes]]


async def plain(session: Session, prompt: Prompt) -> str:
    try:
        _, user, password = (await prompt(b"")).decode().split("\0")
    except ValueError as error:
        raise Misread("that is not a PLAIN response") from error
    if session.faults.active("shared-by-login") and not {"/", "\\"}.isdisjoint(user):
        raise No("[AUTHENTICATIONFAILED] AUTHENTICATE failed.")
    return believed(session, user, password)


async def login(session: Session, prompt: Prompt) -> str:
    if not session.faults.active("login-prompts"):
        raise No("there is no LOGIN here")
    user, password = [(await prompt(b64decode(word))).decode() for word in PROMPTS]
    return believed(session, user, password)


def believed(session: Session, user: str, password: str) -> str:
    """Who has this password."""
    known = user in session.house.accounts and compare_digest(
        password.encode("utf-8", "surrogateescape"), session.house.password.encode()
    )
    if not known or session.faults.active("login-no"):
        raise No(REFUSED)
    return user


async def scram(session: Session, prompt: Prompt) -> str:
    """SCRAM-SHA-256 (RFC 7677). Everybody has the same password, so its salted form is computed once."""
    _require(session, "SCRAM-SHA-256")
    first = re.fullmatch(rb"([ny],,)(n=([^,]*),r=([\x21-\x2b\x2d-\x7e]+))", await prompt(b""))
    if first is None:
        raise Misread("that is not how SCRAM begins")
    user = first[3].decode().replace("=2C", ",").replace("=3D", "=")
    nonce = first[4] + b64encode(hashlib.sha256(first[4]).digest()[:12])
    count = MILLION if session.faults.active("scram-million") else ITERATIONS
    challenge = b"r=%s,s=%s,i=%d" % (nonce, b64encode(SALT), count)
    without, _, proof = (await prompt(challenge)).rpartition(b",p=")
    message = b",".join((first[2], challenge, without))
    client, server = _keys(session.house.password, count)
    wanted = bytes(
        a ^ b for a, b in zip(client, _hmac(hashlib.sha256(client).digest(), message), strict=True)
    )
    bound = without == b"c=%s,r=%s" % (b64encode(first[1]), nonce)
    known = user in session.house.accounts and not session.faults.active("login-no")
    if not (bound and known and compare_digest(proof, b64encode(wanted))):
        raise No(REFUSED)
    signature = FORGED if session.faults.active("scram-forged") else _hmac(server, message)
    await prompt(b"v=" + b64encode(signature))
    return user


@lru_cache(maxsize=8)
def _keys(password: str, count: int) -> tuple[bytes, bytes]:
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), SALT, count)
    return _hmac(salted, b"Client Key"), _hmac(salted, b"Server Key")


def _hmac(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256")


async def xoauth2(session: Session, prompt: Prompt) -> str:
    _require(session, "XOAUTH2")
    return await _by_token(session, prompt, rb"user=([^\x01]*)\x01auth=Bearer ([^\x01]*)\x01\x01", b"")


async def oauthbearer(session: Session, prompt: Prompt) -> str:
    """RFC 7628."""
    _require(session, "OAUTHBEARER")
    form = rb"n,a=([^,]*),\x01(?:[^\x01]*\x01)*?auth=Bearer ([^\x01]*)\x01(?:[^\x01]*\x01)*?\x01"
    return await _by_token(session, prompt, form, b"\x01")


async def _by_token(session: Session, prompt: Prompt, form: bytes, last: bytes) -> str:
    """A refusal is a challenge with the reason, and NO comes after the client's answer to it."""
    said = re.fullmatch(form, await prompt(b""))
    if said is None:
        raise Misread("that is not a token")
    user = said[1].decode().replace("=2C", ",").replace("=3D", "=")
    fresh = said[2].decode("ascii", "replace") in session.house.tokens
    if fresh and user in session.house.accounts and not session.faults.active("token-refused"):
        return user
    reason = {"status": "invalid_token", "schemes": "bearer", "scope": "mail"}
    if await prompt(json.dumps(reason).encode()) != last:
        raise Misread("that is no answer to a refusal")
    raise No("[AUTHENTICATIONFAILED] SASL authentication failed")


def _require(session: Session, name: str) -> None:
    if f"AUTH={name}" not in session.house.offers:
        raise No(f"{name} is not spoken here")


MECHANISMS: dict[str, Callable[[Session, Prompt], Awaitable[str]]] = {
    "PLAIN": plain,
    "LOGIN": login,
    "SCRAM-SHA-256": scram,
    "XOAUTH2": xoauth2,
    "OAUTHBEARER": oauthbearer,
}
