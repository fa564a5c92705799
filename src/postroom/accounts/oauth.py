"""Ask token servers: for an access token (RFC 6749, 6), for that and a refresh token (4.1.3), and to forget
one (RFC 7009).

what comes                                  what it says
200 with an access token                    granted
invalid_grant and its like, 400 401 403     the grant is gone: GrantGone
invalid_client and its like, the same       the client is not accepted: ClientRefused
429, 5xx, all else, no answer               nothing of the grant: TokensAway

Most of what a token server says in anger is its own trouble; an account is given up only where it says that
the grant is gone. What it writes is shown cleaned, and not at all where it repeats a secret.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeGuard
from urllib.parse import quote_plus, urlencode

import orjson

from postroom.accounts.grant import (
    VISIBLE,
    ClientAuth,
    ClientRefused,
    Grant,
    Granted,
    GrantGone,
    OauthClient,
    TokensAway,
    life,
)
from postroom.errors import NeedsOwner, TryLater
from postroom.net.client import Answer, Client, checked
from postroom.net.egress import Egress
from postroom.net.model import BadAnswer, Dropped, TooSlow
from postroom.providers.imap.shown import shown
from postroom.vault.model import Secret

MOST = 1 << 16  # bytes of an answer
SAYING = {400, 401, 403}  # statuses under which an error code counts (RFC 6749, 5.2; 403 in practice)
GONE = {"invalid_grant", "invalid_token", "interaction_required", "login_required", "consent_required"}
NOT_OURS = {
    "invalid_client",
    "unauthorized_client",
    "invalid_request",
    "invalid_scope",
    "unsupported_grant_type",
    "disabled_client",
    "deleted_client",
}
WAIT = timedelta(minutes=1)
LONG_WAIT = timedelta(hours=1)
LONGEST_WAIT = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Exchanged:
    """What came for a code. `id_token` None: none that is a text."""

    granted: Granted
    id_token: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Oauth:
    """Token servers, wherever `http` may go, and the clients of this installation by name."""

    http: Client = field(default_factory=lambda: Client(Egress(private_allowed=False)))
    clients: Mapping[str, OauthClient] = field(default_factory=dict)

    async def refresh(self, grant: Grant, token: Secret) -> Granted:
        """An access token for the refresh token `token` of a grant.

        An answer that is cut off is asked for once more, at once: a server that gives a new refresh token
        each time may still take the one before. Raises `GrantGone`, `ClientRefused`, `TokensAway`, and
        `net.EgressRefused`.
        """
        who = self._client(grant)
        values = {"grant_type": "refresh_token", "refresh_token": token.reveal()}
        if grant.scope:
            values["scope"] = grant.scope
        try:
            return granted(await self._asked(who, who.token_url, values), who, token)
        except Dropped:
            again = await self._asked(who, who.token_url, values, is_last=True)
        try:
            return granted(again, who, token)
        except GrantGone as error:
            raise lost(error) from error

    async def exchange(self, name: str, code: Secret, verifier: Secret, redirect_uri: str) -> Exchanged:
        """What a code is worth, which came of a consent to the client `name` (RFC 6749, 4.1.3).

        It is good once, so it is never shown twice. Raises as `refresh` does; `GrantGone`: not this one.
        """
        who = self.named(name)
        values = {
            "grant_type": "authorization_code",
            "code": code.reveal(),
            "redirect_uri": redirect_uri,
            "code_verifier": verifier.reveal(),
        }
        answer = await self._asked(who, who.token_url, values, is_last=True)
        token = _document(answer).get("id_token")
        return Exchanged(granted(answer, who, code), token if _is_token(token) else None)

    async def revoke(self, grant: Grant, token: Secret) -> bool:
        """Have a refresh token, and what came of it, forgotten. False: there is nobody to be asked.

        Raises `TokensAway` where that did not work.
        """
        who = self._client(grant)
        if who.revocation_url is None:
            return False
        values = {"token": token.reveal(), "token_type_hint": "refresh_token"}
        answer = await self._asked(who, who.revocation_url, values, is_last=True)
        if answer.status != 200:
            raise _away(answer, who, token)
        return True

    def _client(self, grant: Grant) -> OauthClient:
        return self.named(grant.client) if isinstance(grant.client, str) else grant.client

    def named(self, name: str) -> OauthClient:
        """One of the installation. Raises `ClientRefused`."""
        try:
            return self.clients[name]
        except KeyError:
            said = "This installation has no client of the name in the grant; see POSTROOM_OAUTH_CLIENTS."
            raise ClientRefused(said, wait=LONG_WAIT) from None

    async def _asked(
        self, who: OauthClient, url: str, values: dict[str, str], *, is_last: bool = False
    ) -> Answer:
        """Raises `Dropped`, unless it `is_last`: then, and for all other trouble, `TokensAway`."""
        headers = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}
        if who.client_secret is not None and who.auth is ClientAuth.BASIC:
            pair = f"{quote_plus(who.client_id)}:{quote_plus(who.client_secret.reveal())}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        else:
            values = {**values, "client_id": who.client_id}
            if who.client_secret is not None:
                values["client_secret"] = who.client_secret.reveal()
        http = Client(self.http.allowed, self.http.ca_file, MOST, self.http.limit)
        try:
            return await http.send("POST", url, headers=headers, content=urlencode(values).encode())
        except (
            TryLater,
            NeedsOwner,
        ) as error:  # NeedsOwner: its certificate, which no owner of a mailbox mends
            if isinstance(error, Dropped) and not is_last:
                raise
            unsure = isinstance(error, Dropped | TooSlow | BadAnswer)
            wait = error.wait if isinstance(error, TryLater) else LONG_WAIT
            raise TokensAway(
                f"The token server does not answer: {error.message}", is_unsure=unsure, wait=wait
            ) from error


def granted(answer: Answer, who: OauthClient, asked: Secret) -> Granted:
    """What a token server said to the refresh token `asked`. Raises as `Oauth.refresh` does."""
    said = _document(answer)
    access, renewed = said.get("access_token"), said.get("refresh_token")
    kind = said.get("token_type", "bearer")
    if answer.status == 200 and _is_token(access) and isinstance(kind, str) and kind.lower() == "bearer":
        fresh = renewed if _is_token(renewed) and renewed != asked.reveal() else None
        return Granted(Secret(access), life(said.get("expires_in")), Secret(fresh) if fresh else None)
    host, error = checked(who.token_url).host, said.get("error")
    words = _words(said, who, asked)
    if answer.status in SAYING and error in GONE:
        raise GrantGone(
            f"{host} says that the consent to read this mailbox is gone; sign in there again{words}.",
            host=host,
        )
    if answer.status in SAYING and error in NOT_OURS:
        raise ClientRefused(
            f"{host} does not accept the client that asks for this mailbox's tokens; check its id, its "
            f"secret and what it may do{words}.",
            wait=LONG_WAIT,
            host=host,
        )
    raise _away(answer, who, asked)


def lost(error: GrantGone) -> GrantGone:
    """The same, said of a grant whose only good refresh token may have been in an answer that never came."""
    if error.data.get("is_lost"):
        return error
    return GrantGone(
        f"{error.message} The answer to an earlier request was lost on its way, and this server gives each "
        "refresh token once.",
        **error.data,
        is_lost=True,
    )


def _away(answer: Answer, who: OauthClient, asked: Secret) -> TokensAway:
    host, wait = checked(who.token_url).host, answer.retry_after
    return TokensAway(
        f"{host} gives no tokens for now: it answers {answer.status}{_words(_document(answer), who, asked)}.",
        is_unsure=answer.status == 200 or answer.status >= 500,
        asked=wait is not None,
        wait=min(wait or WAIT, LONGEST_WAIT),
        host=host,
        status=answer.status,
    )


def _is_token(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and VISIBLE.fullmatch(value) is not None


def _document(answer: Answer) -> Mapping[str, Any]:
    try:
        said = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        return {}
    return said if isinstance(said, dict) else {}


def _words(said: Mapping[str, Any], who: OauthClient, asked: Secret) -> str:
    """Its error, for people; nothing where a secret is in it."""
    parts = [said[key] for key in ("error", "error_description") if isinstance(said.get(key), str)]
    text = shown(": ".join(parts)).rstrip(".")
    secrets = [asked.reveal(), *([who.client_secret.reveal()] if who.client_secret else [])]
    if not text or any(piece in ": ".join(parts) for secret in secrets for piece in _pieces(secret)):
        return ""
    return f" (it said: {text})"


def _pieces(secret: str) -> list[str]:
    """A text that holds none of these repeats no more than a few characters of it."""
    return [secret[at : at + 8] for at in range(0, max(len(secret) - 7, 1), 4)]
