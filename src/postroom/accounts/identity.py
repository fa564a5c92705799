"""Who has signed in, as the id token says that came with a grant (OpenID Connect Core, 3.1.3.7). Pure.

It came straight from the token server, in the answer to our own question and over TLS (or from this machine),
which stands for its signature (3.1.3.7, 6). It tells who consented, so that nobody is taken for somebody else
when an account is connected anew. It opens nothing: whose mailbox it is says the mail server, which takes the
access token for that user or does not.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson

from postroom.accounts.consent import OtherMailbox, SignInFailed, is_issuer

IDENTITY = "identity"  # the word in an account's settings
LEEWAY = timedelta(minutes=5)
LONGEST = 1 << 14  # characters of a token
LONGEST_SUBJECT = 255


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody, known for ever by `issuer` and `subject`. `addresses`: theirs today, the usual one first."""

    issuer: str
    subject: str
    addresses: tuple[str, ...] = ()

    @property
    def kept(self) -> Mapping[str, str]:
        """What an account's settings hold."""
        return {"issuer": self.issuer, "subject": self.subject}


def identity(token: str, *, issuer: str, client_id: str, nonce: str, now: datetime) -> Identity:
    """Whose id token this is. Raises `SignInFailed`."""
    said = _claims(token)
    named, subject = said.get("iss"), said.get("sub")
    if not isinstance(named, str) or not is_issuer(issuer, named, said.get("tid")):
        raise SignInFailed("The id token is of another issuer than this client's.")
    audience = said.get("aud")
    if audience != client_id and audience != [client_id]:
        raise SignInFailed("The id token was made for another client.")
    until = said.get("exp")
    if not isinstance(until, int | float) or until <= (now - LEEWAY).timestamp():
        raise SignInFailed("The id token has expired; is this machine's clock right?")
    if said.get("nonce") != nonce:
        raise SignInFailed("The id token belongs to another consent.")
    if not isinstance(subject, str) or not 0 < len(subject) <= LONGEST_SUBJECT or not subject.isprintable():
        raise SignInFailed("The id token does not say who has signed in.")
    return Identity(named, subject, _addresses(said))


def check_identity(known: Mapping[str, Any], address: str, who: Identity | None) -> None:
    """Whether it is their account, which has the settings `known`, if any. `who` None: nobody has told.

    Raises `OtherMailbox`, which names nobody: who asks may be an application.
    """
    if who is None:
        return
    before = known.get(IDENTITY)
    if before is not None and before != who.kept:
        raise OtherMailbox("Somebody else has signed in than who connected this mailbox before.")
    theirs = {each.casefold() for each in who.addresses}
    if theirs and address.casefold() not in theirs:
        raise OtherMailbox(
            "Somebody has signed in whose mailbox this is not; choose the right account there."
        )


def _addresses(said: Mapping[str, Any]) -> tuple[str, ...]:
    """Microsoft tells the name to sign in with as `preferred_username`, and `email` may be another one."""
    claimed = [said.get("email") if said.get("email_verified", True) in (True, "true") else None]
    claimed += [said.get("preferred_username")]
    texts = [each for each in claimed if isinstance(each, str) and "@" in each]
    return tuple(dict.fromkeys(texts))


def _claims(token: str) -> Mapping[str, Any]:
    parts = token.split(".") if len(token) <= LONGEST else []
    try:
        said = orjson.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (IndexError, ValueError) as error:  # neither base64 nor JSON
        raise SignInFailed("The id token is garbled.") from error
    if len(parts) != 3 or not isinstance(said, dict):
        raise SignInFailed("The id token is garbled.")
    return said
