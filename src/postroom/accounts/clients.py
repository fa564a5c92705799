"""The clients of an installation, from its settings. Pure."""

from collections.abc import Mapping

from postroom.accounts.consent import NAME, OURS, SignIn, Username
from postroom.accounts.grant import BadClient, BadGrant, OauthClient, check_url, client
from postroom.errors import Invalid
from postroom.providers.imap.settings import from_url
from postroom.settings import OauthClientSettings

WHO = {"token_url", "client_id", "client_auth", "revocation_url"}


def clients_of(given: Mapping[str, OauthClientSettings]) -> Mapping[str, OauthClient]:
    """By name. Raises `BadClient`."""
    made = {}
    for name, one in given.items():
        secret = one.client_secret.get_secret_value() if one.client_secret else None
        values = {**one.model_dump(include=WHO), "client_secret": secret}
        try:
            known = {key: value for key, value in values.items() if value is not None}
            made[name] = client(known, _sign_in(name, one))
        except Invalid as error:
            raise BadClient(f"{name!r} in POSTROOM_OAUTH_CLIENTS makes no sense: {error.message}") from error
    return made


def _sign_in(name: str, one: OauthClientSettings) -> SignIn | None:
    """Raises `BadGrant`, `BadServer`."""
    if one.authorization_url is None:
        if one.scope or one.issuer or one.parameters or one.server:
            raise BadGrant("it has no authorization_url.")
        return None
    if one.server is None:
        raise BadGrant("name the server that the mail is on, as imaps://HOST:PORT: tokens go nowhere else.")
    if not NAME.fullmatch(name):
        raise BadGrant("its name stands in a URL, so it is of letters, digits, - and _.")
    if ours := sorted(one.parameters.keys() & OURS):
        raise BadGrant(f"the parameter {ours[0]} is not for settings.")
    check_url(one.authorization_url)
    made = SignIn(
        one.authorization_url,
        from_url(one.server, starttls=one.starttls),
        one.scope,
        one.issuer,
        one.parameters,
        Username(one.username),
    )
    if made.tells_who and made.issuer is None:
        raise BadGrant("with the scope openid it has an issuer, whose id tokens it gets.")
    return made
