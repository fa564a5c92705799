"""Tokens that nobody must believe, each by its name, and how it is made."""

import json
import time
from collections.abc import Callable
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from servers.issuer import Issuer, jwk, key, segment, signed

HEADER = {"alg": "RS256", "typ": "JWT", "kid": "one"}
EVIL = key("somebody else's")
Forge = Callable[[Issuer], str]


def headed(secret: Any = None, **more: Any) -> Forge:
    """A header with these words, else as it should be; words that are None are left out."""

    def forge(issuer: Issuer) -> str:
        header = {name: value for name, value in {**HEADER, **more}.items() if value is not None}
        return signed(header, issuer.claims(), secret or issuer.keys["one"])

    return forge


def unsignable(alg: Any, *, signature: str | None = None) -> Forge:
    """An `alg` that signs nothing, with the signature of a good token unless there is another."""

    def forge(issuer: Issuer) -> str:
        header = {name: value for name, value in {**HEADER, "alg": alg}.items() if value is not None}
        last = issuer.token().rsplit(".", 1)[1] if signature is None else signature
        return f"{segment(header)}.{segment(issuer.claims())}.{last}"

    return forge


def shared(alg: str, form: str) -> Forge:
    """Signed with the public key, taken for a shared secret (CVE-2022-29217)."""

    def forge(issuer: Issuer) -> str:
        public = issuer.keys["one"].public_key()
        info = serialization.PublicFormat.SubjectPublicKeyInfo
        forms = {
            "PEM": public.public_bytes(serialization.Encoding.PEM, info),
            "DER": public.public_bytes(serialization.Encoding.DER, info),
            "JWK": json.dumps(jwk(issuer.keys["one"], kid="one")).encode(),
            "empty": b"",
        }
        said = f"{segment({**HEADER, 'alg': alg})}.{segment(issuer.claims())}"
        algorithm: Any = jwt.PyJWS().get_algorithm_by_name(alg)
        return f"{said}.{segment(algorithm.sign(said.encode(), forms[form]))}"

    return forge


def claiming(**more: Any) -> Forge:
    """Well signed, by an issuer that says so."""
    return lambda issuer: issuer.token(**more)


def at(**more: int) -> Forge:
    """The same, with times so many seconds from now."""
    return lambda issuer: issuer.token(**{name: int(time.time()) + ahead for name, ahead in more.items()})


def payload(raw: bytes) -> Forge:
    return lambda issuer: signed(HEADER, raw, issuer.keys["one"])


def changed(change: Callable[[list[str]], list[str]]) -> Forge:
    """A good token whose parts are meddled with."""
    return lambda issuer: ".".join(change(issuer.token().split(".")))


def text(form: str) -> Forge:
    """A good token, put into words around it."""
    return lambda issuer: form.format(issuer.token())


def swapped(issuer: Issuer) -> str:
    one, two = issuer.token().split("."), issuer.token(sub="user_bob").split(".")
    return ".".join([one[0], two[1], one[2]])


def flipped(parts: list[str]) -> list[str]:
    return [*parts[:2], ("B" if parts[2][0] == "A" else "A") + parts[2][1:]]


def pointing(name: str) -> Forge:
    """At keys of its own: the port is where a test listens for who follows."""
    return lambda issuer: headed(EVIL, **{name: f"{issuer.name}/evil", "kid": "evil"})(issuer)


FORGED: dict[str, Forge] = {
    "no signature, alg none": unsignable("none", signature=""),
    "alg none, a signature": unsignable("none"),
    "alg None": unsignable("None"),
    "alg NONE": unsignable("NONE"),
    "alg nOnE, a dot of signature": unsignable("nOnE", signature="AA"),
    "no alg": unsignable(None),
    "alg empty": unsignable(""),
    "alg a list": unsignable(["RS256", "none"]),
    "alg in small letters": unsignable("rs256"),
    "HS256 by the public key as PEM": shared("HS256", "PEM"),
    "HS256 by the public key as DER": shared("HS256", "DER"),
    "HS256 by the public key as JWK": shared("HS256", "JWK"),
    "HS256 by nothing": shared("HS256", "empty"),
    "HS384 by the public key": shared("HS384", "PEM"),
    "HS512 by the public key": shared("HS512", "PEM"),
    "RS384, which is not pinned": headed(alg="RS384"),
    "RS512, which is not pinned": headed(alg="RS512"),
    "PS256, which is not pinned": headed(alg="PS256"),
    "ES256 by a key of somebody": headed(ec.generate_private_key(ec.SECP256R1()), alg="ES256"),
    "EdDSA by a key of somebody": headed(ed25519.Ed25519PrivateKey.generate(), alg="EdDSA"),
    "somebody else's key under a known kid": headed(EVIL),
    "somebody else's key without a kid": headed(EVIL, kid=None),
    "a key in the header (jwk)": headed(EVIL, jwk=jwk(EVIL, kid="one")),
    "a key in the header under its own kid": headed(EVIL, kid="evil", jwk=jwk(EVIL, kid="evil")),
    "a key elsewhere (jku)": pointing("jku"),
    "a certificate elsewhere (x5u)": pointing("x5u"),
    "a certificate in the header (x5c)": headed(EVIL, x5c=["MIIB"]),
    "a kid that is a path": headed(EVIL, kid="../../../dev/null"),
    "a kid that is SQL": headed(EVIL, kid="x' UNION SELECT 'secret"),
    "a kid that is a number": headed(kid=1),
    "a kid that is a list": headed(kid=["one"]),
    "a kid that is empty": headed(kid=""),
    "a kid with NUL": headed(kid="one\0"),
    "a kid without end": headed(kid="k" * 5000),
    "crit with what nobody knows": headed(crit=["https://example.com/x"], **{"https://example.com/x": 1}),
    "crit with what is known": headed(crit=["exp"]),
    "crit that is empty": headed(crit=[]),
    "b64 false": headed(b64=False, crit=["b64"]),
    "a token to log out": headed(typ="logout+jwt"),
    "a typ that is a number": headed(typ=1),
    "no signature": changed(lambda parts: [*parts[:2], ""]),
    "two parts": changed(lambda parts: parts[:2]),
    "four parts": changed(lambda parts: [*parts, parts[2]]),
    "five parts, as if encrypted": changed(lambda parts: [*parts, parts[1], parts[2]]),
    "a signature cut short": changed(lambda parts: [*parts[:2], parts[2][:-8]]),
    "a signature changed": changed(flipped),
    "a signature padded": text("{}=="),
    "the claims of another token": swapped,
    "a space in front": text(" {}"),
    "a line end behind": text("{}\n"),
    "a quote around": text('"{}"'),
    "a header that is no JSON": changed(lambda parts: [segment(b"{"), *parts[1:]]),
    "a header that is a list": changed(lambda parts: [segment(b"[1]"), *parts[1:]]),
    "a header nested without end": changed(lambda parts: [segment(b'{"a":' * 2000), *parts[1:]]),
    "claims that are a list": payload(b"[]"),
    "claims that are no JSON": payload(b"{'iss':1}"),
    "claims that are no text": payload(b"\xff\xfe{}"),
    "claims nested without end": payload(b'{"a":' * 2000),
    "too long": claiming(padding="x" * 20_000),
    "iss left out": claiming(iss=None),
    "iss of somebody else": claiming(iss="https://evil.example"),
    "iss a list": lambda issuer: issuer.token(iss=[issuer.name]),
    "iss with a slash more": lambda issuer: issuer.token(iss=issuer.name + "/"),
    "aud of somebody else": claiming(aud="another"),
    "aud left out": claiming(aud=None),
    "aud empty": claiming(aud=[]),
    "aud that only begins so": claiming(aud="postroom.evil.example"),
    "aud an object": claiming(aud={"postroom": True}),
    "aud with a number": claiming(aud=["postroom", 1]),
    "azp of somebody else": claiming(azp="https://evil.example"),
    "azp left out": claiming(azp=None),
    "azp a list": claiming(azp=["https://app.example"]),
    "exp left out": claiming(exp=None),
    "exp a text": claiming(exp="9999999999"),
    "exp true": claiming(exp=True),
    "exp infinite": claiming(exp=float("inf")),
    "exp not a number": claiming(exp=float("nan")),
    "exp before 1970": claiming(exp=-1),
    "exp a minute ago": at(exp=-60, iat=-120, nbf=-120),
    "nbf in a minute": at(nbf=60, exp=120),
    "nbf a text": claiming(nbf="0"),
    "nbf an object": claiming(nbf={}),
    "iat in a minute": at(iat=60, exp=120),
    "iat left out": claiming(iat=None),
    "sub left out": claiming(sub=None),
    "sub empty": claiming(sub=""),
    "sub a number": claiming(sub=7),
    "sub with NUL": claiming(sub="user\0ann"),
    "sub with half a character": claiming(sub="user\ud800"),
    "sub without end": claiming(sub="u" * 256),
    "an organisation that is a number": claiming(org_id=7),
    "an organisation that is empty": claiming(org_id=""),
    "an organisation without an id": claiming(o={"rol": "admin"}),
    "an organisation that is a text": claiming(o="org_1"),
    "a session that is pending": claiming(sts="pending"),
}
