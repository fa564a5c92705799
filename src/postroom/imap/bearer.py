"""XOAUTH2, and OAUTHBEARER (RFC 7628): log in with an access token of OAuth 2.0.

user, token ──────────────>
            <──────────────  OK; or a challenge: {"status": "invalid_token", ...}
      nothing ────────────>
            <──────────────  NO
"""

import json
import re
from binascii import Error as NotBase64
from binascii import a2b_base64, b2a_base64

from .errors import LocalError

LONGEST = 16384  # bytes of a challenge that are looked at
TOKEN = re.compile(r"[\x21-\x7e]{1,16000}\Z")
STATUS = re.compile(r"[A-Za-z0-9_.-]{1,40}\Z")
FORBIDDEN = re.compile(r"[\x00-\x1f\x7f]")


class Bearer:
    """A `commands.Dialogue`. What the server says of a token that it refuses becomes the `refusal`."""

    def __init__(self, first: bytes, last: bytes) -> None:
        self.message = b2a_base64(first, newline=False)  # as it travels, with the token in it
        self._messages = [b2a_base64(last, newline=False), self.message]
        self.refusal: str | None = None

    def answer(self, challenge: bytes) -> bytes:
        """First who we are, then nothing, which RFC 7628, 3.2.3 calls for; `*` gives up."""
        if len(self._messages) < 2:
            self.refusal = self.refusal or _status(challenge)
        return self._messages.pop() if self._messages else b"*"

    def finish(self) -> None:
        """A token proves nothing about the server; TLS does."""


def xoauth2(user: str, token: str) -> Bearer:
    """As Google and Microsoft invented it. Raises `LocalError`."""
    _check(user, token)
    return Bearer(f"user={user}\x01auth=Bearer {token}\x01\x01".encode(), b"")


def oauthbearer(user: str, token: str) -> Bearer:
    """As RFC 7628 has it. Raises `LocalError`."""
    _check(user, token)
    name = user.replace("=", "=3D").replace(",", "=2C")
    return Bearer(f"n,a={name},\x01auth=Bearer {token}\x01\x01".encode(), b"\x01")


def _check(user: str, token: str) -> None:
    if not TOKEN.match(token):
        raise LocalError("the access token holds what a token cannot hold")
    if FORBIDDEN.search(user):
        raise LocalError("the user name holds a control character")


def _status(challenge: bytes) -> str | None:
    """The word for what is wrong; whatever else the server says, it says to people who see its log."""
    try:
        said = json.loads(a2b_base64(challenge[:LONGEST]))
    except (NotBase64, ValueError, RecursionError):
        return None
    status = said.get("status") if isinstance(said, dict) else None
    return status if isinstance(status, str) and STATUS.match(status) else None
