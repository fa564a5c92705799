"""SCRAM-SHA-256 (RFC 5802, 7677), the client's side: a password is proven and never sent.

    n,,n=USER,r=OURS ──────────────>
                     <────────────── r=OURS+THEIRS,s=SALT,i=COUNT
    c=biws,r=...,p=PROOF ──────────>
                     <────────────── v=SIGNATURE     what only who knows the password can say; then OK

Who listens can guess at the password, as costly as COUNT makes it. Channels are not bound. Texts are prepared
as SASLprep wants it (RFC 4013), in Unicode 3.2, which Python has.
"""

import hashlib
import hmac
import re
import secrets
import stringprep
import unicodedata
from binascii import Error as NotBase64
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable

from .errors import LocalError, NotProven, RemoteError

FEWEST, MOST = 4096, 200_000  # iterations: fewer would give the password away, more take a tenth of a second
LONGEST = 4096  # bytes of a challenge
WORDS = re.compile(r"[A-Za-z0-9_.-]{1,60}\Z")
HEADER = b"n,,"
PROHIBITED = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


class Scram:
    """A `commands.Dialogue`."""

    def __init__(self, user: str, password: str, nonce: str | None = None) -> None:
        """`nonce` is for tests; a fresh one otherwise. Raises `LocalError` for what cannot be prepared."""
        self.refusal: str | None = None
        name = prepared(user).replace("=", "=3D").replace(",", "=2C")
        self._nonce = (nonce or secrets.token_urlsafe(24)).encode()
        self._password = prepared(password).encode()
        self._bare = b"n=%s,r=%s" % (name.encode(), self._nonce)
        self._signature = b""
        self._proven = False
        self._next: Callable[[bytes], bytes] = self._first

    def answer(self, challenge: bytes) -> bytes:
        """:raises NotProven: the server does not know the password. :raises RemoteError: this is no SCRAM."""
        if len(challenge) > LONGEST:
            raise RemoteError("the server's challenge is too long")
        try:
            said = a2b_base64(challenge, strict_mode=True) if challenge else b""
        except NotBase64 as error:
            raise RemoteError("the server's challenge is not in base64") from error
        answer = self._next(said)
        return b2a_base64(answer, newline=False) if answer else b""

    def finish(self) -> None:
        """:raises NotProven: the server lets us in without having proven anything."""
        if not self._proven:
            raise NotProven("the server does not prove that it knows the password")

    def _first(self, _said: bytes) -> bytes:
        self._next = self._proof
        return HEADER + self._bare

    def _proof(self, said: bytes) -> bytes:
        nonce, salt, count = _read(said)
        if not nonce.startswith(self._nonce) or len(nonce) == len(self._nonce):
            raise NotProven("the server answers somebody else's login")
        if not FEWEST <= count <= MOST:
            raise NotProven(f"the server wants a password hashed {count} times, not {FEWEST} to {MOST}")
        salted = hashlib.pbkdf2_hmac("sha256", self._password, salt, count)
        self._password = b""
        final = b"c=%s,r=%s" % (b2a_base64(HEADER, newline=False), nonce)
        message = b",".join((self._bare, said, final))
        client = _hmac(salted, b"Client Key")
        stored = hashlib.sha256(client).digest()
        proof = bytes(a ^ b for a, b in zip(client, _hmac(stored, message), strict=True))
        self._signature = _hmac(_hmac(salted, b"Server Key"), message)
        self._next = self._verify
        return final + b",p=" + b2a_base64(proof, newline=False)

    def _verify(self, said: bytes) -> bytes:
        self._next = self._too_many
        if said.startswith(b"e="):
            refusal = said[2:].decode("utf-8", "replace")
            self.refusal = refusal if WORDS.match(refusal) else None
            return b""
        expected = b"v=" + b2a_base64(self._signature, newline=False)
        if not hmac.compare_digest(said.partition(b",")[0], expected):
            raise NotProven("the server does not know the password: it may be another one")
        self._proven = True
        return b""

    def _too_many(self, _said: bytes) -> bytes:
        raise RemoteError("the server's challenges do not end")


def _hmac(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256")


def _read(said: bytes) -> tuple[bytes, bytes, int]:
    """Nonce, salt and count of the server's first message (RFC 5802, 7); whatever follows is optional."""
    match = re.match(rb"r=([\x21-\x2b\x2d-\x7e]+),s=([A-Za-z0-9+/]+={0,2}),i=([1-9][0-9]{0,9})(?:,|\Z)", said)
    if match is None:
        raise RemoteError("the server's challenge is not of SCRAM")
    try:
        return match[1], a2b_base64(match[2], strict_mode=True), int(match[3])
    except NotBase64 as error:
        raise RemoteError("the server's salt is not in base64") from error


def prepared(text: str) -> str:
    """`text` by SASLprep, as a query: what Unicode 3.2 has not assigned passes.

    :raises LocalError: it holds what cannot be in a name or a password.
    """
    if text.isascii() and text.isprintable():
        return text
    mapped = (" " if stringprep.in_table_c12(c) else c for c in text if not stringprep.in_table_b1(c))
    found = unicodedata.ucd_3_2_0.normalize("NFKC", "".join(mapped))
    if any(prohibits(c) for c in found for prohibits in PROHIBITED):
        raise LocalError("a name or password holds a character that cannot be in one")
    if any(map(stringprep.in_table_d1, found)):
        mixed = any(map(stringprep.in_table_d2, found))
        if mixed or not (stringprep.in_table_d1(found[0]) and stringprep.in_table_d1(found[-1])):
            raise LocalError("a name or password mixes directions of writing")
    return found
