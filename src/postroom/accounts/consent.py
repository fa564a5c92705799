"""A consent: somebody goes to a provider in a browser, and comes back with a code for a grant. Pure.

    begun ──> url: state, nonce, challenge ──> the provider asks them ──> callback: state, code, iss
      │                                                                        │
      └─ kept until then, sealed: verifier, nonce, what is wanted, who asked <─┘ good once, ten minutes

What comes to the callback was in a stranger's hands. A state that nobody can guess says whose consent it is,
and is used up by whoever shows it (RFC 9700, 4.7). A code is worth nothing without its verifier (RFC 7636).
Each client has a callback of its own, so that no provider's answer is taken for another's (RFC 9700, 4.4.2),
and a provider that names itself must be the right one (RFC 9207). Where the browser goes in the end is on a
list.

Invalid
├── NoSuchClient    the installation has none of the name through which people could sign in
├── NoAddress       neither the caller nor the provider says which mailbox it is
├── BadReturnUrl    not one of the list
└── BadState        nobody asked for this consent; or it was used, or it is too old
Forbidden
├── OtherBrowser    it began in another one, or who began it has signed out or may do so no more
└── WrongIssuer     somebody else's answer
NeedsOwner
├── ConsentDenied   the person said no
├── SignInFailed    the provider, or who set up the client, has to mend it
└── OtherMailbox    somebody signed in whose mailbox this is not
Conflict
└── OtherServer     the account's mail is not where the client's tokens may go
"""

import base64
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from postroom import errors

CALLBACK = "/v1/accounts/oauth/callback"
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""Of a client that people sign in through: it stands in the path of its callback."""
OURS = frozenset(
    {
        *("response_type", "response_mode", "client_id", "redirect_uri", "scope", "state", "nonce"),
        *("code_challenge", "code_challenge_method", "login_hint", "request", "request_uri"),
    }
)
"""Parameters that no setting changes."""
LONGEST = 4096  # characters of a value that comes to the callback
ERROR = re.compile(r"[\x20\x21\x23-\x5b\x5d-\x7e]{1,100}")  # RFC 6749, 4.1.2.1
DENIED = {"access_denied", "consent_required", "interaction_required", "login_required"}
TENANT = "{tenantid}"
"""In an issuer: the claim `tid`, by which Microsoft has an issuer for each organisation."""
TENANT_ID = re.compile(r"[0-9A-Za-z-]{1,64}")


class NoSuchClient(errors.Invalid):
    code = "accounts.no_such_client"


class NoAddress(errors.Invalid):
    code = "accounts.no_address"


class BadReturnUrl(errors.Invalid):
    code = "accounts.bad_return_url"


class BadState(errors.Invalid):
    code = "accounts.bad_state"


class OtherBrowser(errors.Forbidden):
    code = "accounts.other_browser"


class WrongIssuer(errors.Forbidden):
    code = "accounts.wrong_issuer"


class ConsentDenied(errors.NeedsOwner):
    code = "accounts.consent_denied"


class SignInFailed(errors.NeedsOwner):
    code = "accounts.sign_in_failed"


class OtherMailbox(errors.NeedsOwner):
    code = "accounts.other_mailbox"


class OtherServer(errors.Conflict):
    code = "accounts.other_server"


class Username(StrEnum):
    """As whom one logs in."""

    ADDRESS = "address"
    LOCAL_PART = "local_part"


@dataclass(frozen=True, slots=True)
class SignIn:
    """How people consent to a client, and where the mail is that they consent to have read."""

    url: str
    settings: Mapping[str, Any]  # of the mail server; what comes of a consent goes to no other
    scope: str | None = None
    issuer: str | None = None  # with `{tenantid}`, any organisation's
    parameters: Mapping[str, str] = field(default_factory=dict)
    username: Username = Username.ADDRESS

    @property
    def tells_who(self) -> bool:
        """Whether an id token comes with a grant."""
        return "openid" in (self.scope or "").split()

    def check_server(self, settings: Mapping[str, Any]) -> None:
        """Raises `OtherServer` where an account with these settings has its mail somewhere else."""
        if any(settings.get(key) != value for key, value in self.settings.items()):
            raise OtherServer("This client's tokens are for another server than this mailbox is on.")

    def username_of(self, address: str) -> str | None:
        """As `Wish.username`."""
        return address.rpartition("@")[0] if self.username is Username.LOCAL_PART else None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a browser brought back. Either a code or an error."""

    state: str
    code: str | None
    error: str | None
    issuer: str | None


def challenge(verifier: str) -> str:
    """RFC 7636, 4.2, by S256."""
    return base64.urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def callback(public_url: str, client: str) -> str:
    """Where a provider sends browsers back to; what its operator registers there, letter by letter."""
    return f"{public_url}{CALLBACK}/{client}"


def url(
    sign_in: SignIn,
    *,
    client_id: str,
    redirect_uri: str,
    state: str,
    nonce: str,
    verifier: str,
    hint: str | None,
) -> str:
    """Where the person is sent (RFC 6749, 4.1.1). `hint`: the mailbox, if that is known."""
    asked = {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": redirect_uri,
        "scope": sign_in.scope,
        "state": state,
        "nonce": nonce if sign_in.tells_who else None,
        "code_challenge": challenge(verifier),
        "code_challenge_method": "S256",
        "login_hint": hint,
    }
    return with_query(sign_in.url, {**sign_in.parameters, **asked})


def with_query(where: str, more: Mapping[str, str | None]) -> str:
    """A URL, its own query kept, and these parameters; those that are None are left out."""
    parts = urlsplit(where)
    own = parse_qsl(parts.query, keep_blank_values=True)
    added = [(name, value) for name, value in more.items() if value is not None]
    return urlunsplit(parts._replace(query=urlencode([*own, *added])))


def answer_of(query: Iterable[tuple[str, str]]) -> Answer:
    """What a callback was called with. Raises `BadState` for what no provider sends (RFC 6749, 3.1)."""
    said: dict[str, str] = {}
    for name, value in query:
        if name in {"state", "code", "error", "iss"}:
            if name in said or not 0 < len(value) <= LONGEST:
                raise nobody_asked()
            said[name] = value
    if "state" not in said or ("code" in said) == ("error" in said):
        raise nobody_asked()
    return Answer(said["state"], said.get("code"), said.get("error"), said.get("iss"))


def check_issuer(sign_in: SignIn, answer: Answer) -> None:
    """Raises `WrongIssuer` where the answer says that it is of somebody else (RFC 9207, 2.4)."""
    if sign_in.issuer is None or answer.issuer is None or is_issuer(sign_in.issuer, answer.issuer):
        return
    raise WrongIssuer("This answer is not from the provider that was asked.")


def is_issuer(known: str, said: str, tenant: object = None) -> bool:
    """Whether `said` is the issuer that is known; of `tenant`, where it has many and that is told."""
    before, template, after = known.partition(TENANT)
    if not template:
        return said == known
    found = said[len(before) : len(said) - len(after)]
    return (
        said == f"{before}{found}{after}"
        and TENANT_ID.fullmatch(found) is not None
        and (tenant is None or tenant == found)
    )


def refusal(error: str) -> errors.PostroomError:
    """What a provider's error (RFC 6749, 4.1.2.1) means to who sent the person there."""
    if error in DENIED:
        return ConsentDenied("The consent was not given.")
    said = f": {error}" if ERROR.fullmatch(error) else ""
    return SignInFailed(f"The provider does not let anybody sign in through this client{said}.")


def nobody_asked() -> BadState:
    return BadState(
        "It was used already, is too old, or nobody asked for it. If the mailbox is not there, begin again."
    )
