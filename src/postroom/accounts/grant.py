"""A grant: what an account's secret is where its owner signed in elsewhere, and gave no password. Pure.

    grant = refresh token + scope + client        sealed in the account's row
    client = who we are to a token server         the grant's own, or one of the installation, by its name

The account's settings say `"auth": "oauth2"`; nothing else of a grant stands in the clear. A client of the
installation goes to its own token server only: whoever names another one beside it would be sent its secret.

TryLater
├── TokensAway     no answer, or none that says anything of the grant
└── ClientRefused  the token server does not accept the client: its operator must act, not every owner
NeedsOwner
└── GrantGone      revoked, expired, or used by somebody else
Invalid
├── BadGrant       what was given cannot be one
└── BadClient      nor this, in the settings
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from ipaddress import ip_address
from typing import Any

import orjson

from postroom import errors
from postroom.accounts.consent import SignIn
from postroom.net.client import checked
from postroom.net.model import BadUrl
from postroom.vault.model import Secret

AUTH = "auth"  # the word in an account's settings
OAUTH2 = "oauth2"
VISIBLE = re.compile(r"[\x20-\x7e]{1,16384}")  # RFC 6749, A
LONGEST_LIFE = timedelta(days=30)


class ClientAuth(StrEnum):
    """How a client says who it is (RFC 6749, 2.3.1)."""

    POST = "post"  # in the body, as the large mail providers document it
    BASIC = "basic"


class TokensAway(errors.TryLater):
    """`is_unsure`: the server may have taken the refresh token, and given another one that never came."""

    code = "accounts.tokens_away"

    def __init__(self, message: str, *, is_unsure: bool = False, asked: bool = False, **data: Any) -> None:
        super().__init__(message, **data)
        self.is_unsure = is_unsure
        self.asked = asked  # for the wait, by the server


class ClientRefused(errors.TryLater):
    code = "accounts.client_refused"


class GrantGone(errors.NeedsOwner):
    code = "accounts.grant_gone"


class BadGrant(errors.Invalid):
    code = "accounts.bad_grant"


class BadClient(errors.Invalid):
    code = "accounts.bad_client"


@dataclass(frozen=True, slots=True)
class OauthClient:
    """Who we are to a token server. Without a secret it is a public client."""

    token_url: str
    client_id: str
    client_secret: Secret | None = None
    auth: ClientAuth = ClientAuth.POST
    revocation_url: str | None = None
    sign_in: SignIn | None = None  # of one of the installation, where people can consent to it here


@dataclass(frozen=True, slots=True)
class Grant:
    refresh_token: Secret
    client: OauthClient | str  # str: the name of one of the installation
    scope: str | None = None


@dataclass(frozen=True, slots=True)
class Granted:
    """A token server's answer. `life` None: it did not say; `refresh_token` None: the one before goes on."""

    access_token: Secret
    life: timedelta | None = None
    refresh_token: Secret | None = None


def is_grant(settings: Mapping[str, Any]) -> bool:
    """Whether the secret beside these settings is a grant."""
    return settings.get(AUTH) == OAUTH2


def life(seconds: object) -> timedelta | None:
    """`expires_in`, which some servers write as a text. None where it makes no sense."""
    if isinstance(seconds, str) and re.fullmatch(r"[0-9]{1,9}", seconds):
        seconds = int(seconds)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds > 0:
        return None
    return timedelta(seconds=min(float(seconds), LONGEST_LIFE.total_seconds()))


def given(values: Mapping[str, Any]) -> tuple[Grant, Granted | None]:
    """A grant as somebody writes it, and the access token that came with it, if that is written too.

    Raises `BadGrant`, which repeats nothing of it.
    """
    words = {
        key: _word(key, value) for key, value in values.items() if value is not None and key != "expires_in"
    }
    refresh, name = words.pop("refresh_token", None), words.pop("client", None)
    if refresh is None:
        raise BadGrant("A grant holds a refresh_token; without one its access would end within the hour.")
    scope, access = words.pop("scope", None), words.pop("access_token", None)
    if name is not None and words:
        raise BadGrant(f"A grant for a client of this installation has no {sorted(words)[0]} of its own.")
    grant = Grant(Secret(refresh), name or client(words), scope)
    return grant, Granted(Secret(access), life(values.get("expires_in"))) if access else None


def client(values: Mapping[str, str], sign_in: SignIn | None = None) -> OauthClient:
    """A client as somebody writes it. Raises `BadGrant`."""
    try:
        secret = values.get("client_secret")
        made = OauthClient(
            values["token_url"],
            values["client_id"],
            Secret(secret) if secret else None,
            ClientAuth(values.get("client_auth", ClientAuth.POST)),
            values.get("revocation_url"),
            sign_in,
        )
    except KeyError as error:
        raise BadGrant(f"A grant holds a {error.args[0]}, or names a client of this installation.") from error
    except ValueError as error:
        raise BadGrant("A grant's client_auth is post or basic.") from error
    if unknown := values.keys() - {
        "token_url",
        "client_id",
        "client_secret",
        "client_auth",
        "revocation_url",
    }:
        raise BadGrant(f"A grant holds no {sorted(unknown)[0]}.")
    for url in filter(None, (made.token_url, made.revocation_url)):
        check_url(url)
    return made


def _word(key: str, value: object) -> str:
    if not isinstance(value, str) or not VISIBLE.fullmatch(value):
        raise BadGrant(f"The {key} of a grant is a text of visible ASCII characters.")
    return value


def check_url(url: str) -> None:
    """Tokens travel encrypted, or not at all: in the clear only to this very machine (RFC 6749, 3.2).

    Raises `BadGrant`.
    """
    try:
        parsed = checked(url)
    except BadUrl as error:
        raise BadGrant("The URL of a token server looks like https://example.org/token.") from error
    if parsed.scheme != "https" and not _is_loopback(parsed.host):
        raise BadGrant("The URL of a token server begins with https://.")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def grant_text(grant: Grant) -> bytes:
    """For the vault."""
    who = grant.client
    return orjson.dumps(
        {
            "refresh_token": grant.refresh_token.reveal(),
            "scope": grant.scope,
            "client": who
            if isinstance(who, str)
            else {
                "token_url": who.token_url,
                "client_id": who.client_id,
                "client_secret": who.client_secret.reveal() if who.client_secret else None,
                "client_auth": who.auth,
                "revocation_url": who.revocation_url,
            },
        }
    )


def grant_of(text: bytes) -> Grant:
    """What `grant_text` wrote."""
    values = orjson.loads(text)
    who = values["client"]
    if not isinstance(who, str):
        secret = who["client_secret"]
        who = OauthClient(
            who["token_url"],
            who["client_id"],
            Secret(secret) if secret else None,
            ClientAuth(who["client_auth"]),
            who["revocation_url"],
        )
    return Grant(Secret(values["refresh_token"]), who, values["scope"])


def granted_text(granted: Granted) -> bytes:
    """For the vault; the row has its life."""
    renewed = granted.refresh_token
    return orjson.dumps(
        {
            "access_token": granted.access_token.reveal(),
            "refresh_token": renewed.reveal() if renewed else None,
        }
    )


def granted_of(text: bytes) -> Granted:
    """What `granted_text` wrote."""
    values = orjson.loads(text)
    renewed = values["refresh_token"]
    return Granted(Secret(values["access_token"]), None, Secret(renewed) if renewed else None)
