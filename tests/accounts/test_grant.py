"""What somebody writes as a grant, what is kept of it, and what nobody gets to see."""

from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from postroom.accounts.clients import clients_of
from postroom.accounts.grant import (
    BadClient,
    BadGrant,
    ClientAuth,
    Granted,
    OauthClient,
    given,
    grant_of,
    grant_text,
    granted_of,
    granted_text,
    life,
)
from postroom.accounts.guess import by_table
from postroom.accounts.oauth import Oauth
from postroom.accounts.tokens import times
from postroom.providers.model import AppPassword
from postroom.settings import OauthClientSettings
from postroom.vault.model import Secret

URL = "https://login.example.org/token"
WRITTEN = {"token_url": URL, "client_id": "me", "client_secret": "canary-1", "refresh_token": "canary-2"}


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"scope": "imap offline_access"},
        {"client_auth": "basic", "revocation_url": "https://login.example.org/revoke"},
        {"client_secret": None},
        {"token_url": "http://127.0.0.1:8080/token"},
        {"token_url": "http://[::1]:8080/token"},
        {"token_url": "http://localhost/token"},
    ],
)
def test_a_grant_is_kept_as_it_was_written(more: dict[str, Any]) -> None:
    grant, granted = given(WRITTEN | more)

    assert grant_of(grant_text(grant)) == grant
    assert granted is None


def test_a_grant_may_name_a_client_of_the_installation_and_bring_an_access_token() -> None:
    grant, granted = given({"client": "ours", "refresh_token": "r", "access_token": "a", "expires_in": 3599})

    assert grant.client == "ours"
    assert grant_of(grant_text(grant)) == grant
    assert granted == Granted(Secret("a"), timedelta(seconds=3599))
    assert granted_of(granted_text(granted)) == Granted(Secret("a"))


@pytest.mark.parametrize(
    "written",
    [
        {},
        {"refresh_token": "canary"},
        {"refresh_token": "canary", "client_id": "me"},
        {"refresh_token": "canary", "client": "ours", "token_url": "https://evil.example/token"},
        {"refresh_token": "canary", "client": "ours", "client_secret": "canary"},
        WRITTEN | {"token_url": "http://login.example.org/token"},
        WRITTEN | {"token_url": "http://127.0.0.1.evil.example/token"},
        WRITTEN | {"token_url": "https://ann:canary@login.example.org/token"},
        WRITTEN | {"token_url": "ftp://login.example.org/token"},
        WRITTEN | {"revocation_url": "http://login.example.org/revoke"},
        WRITTEN | {"client_auth": "canary"},
        WRITTEN | {"refresh_token": ""},
        WRITTEN | {"refresh_token": "canary\r\nX: y"},
        WRITTEN | {"refresh_token": "canaryé"},
        WRITTEN | {"refresh_token": ["canary"]},
        WRITTEN | {"refresh_token": "canary" * 5000},
        WRITTEN | {"canary_word": "x"},
    ],
    ids=lambda written: " ".join(written),
)
def test_what_can_be_no_grant_is_refused_and_not_repeated(written: dict[str, Any]) -> None:
    with pytest.raises(BadGrant) as told:
        given(written)

    assert "canary" not in str(told.value).replace("canary_word", "") + repr(told.value.data)


def test_where_no_password_is_taken_a_grant_is() -> None:
    with pytest.raises(AppPassword):
        by_table("ann@outlook.com")

    settings = by_table("ann@outlook.com", by_grant=True)
    assert settings is not None
    assert settings["host"] == "outlook.office365.com"


def test_nothing_that_is_secret_shows() -> None:
    grant, granted = given(WRITTEN | {"access_token": "canary-3"})
    oauth = Oauth(clients={"ours": OauthClient(URL, "me", Secret("canary-4"))})

    assert "canary" not in f"{grant!r} {grant} {granted!r} {granted} {oauth!r}"


def test_clients_of_the_installation_come_from_its_settings() -> None:
    settings = OauthClientSettings(
        token_url=URL, client_id="me", client_secret=SecretStr("s"), client_auth="basic"
    )

    assert clients_of({"ours": settings}) == {"ours": OauthClient(URL, "me", Secret("s"), ClientAuth.BASIC)}
    with pytest.raises(BadClient, match="'ours' in POSTROOM_OAUTH_CLIENTS"):
        clients_of({"ours": OauthClientSettings(token_url="http://example.org/", client_id="me")})


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        (3600, 3600),
        ("3599", 3599),
        (1.5, 1.5),
        (10**12, 30 * 86400),
        (float("inf"), 30 * 86400),
        (float("nan"), None),
        (0, None),
        (-1, None),
        (True, None),
        (None, None),
        ("soon", None),
        ([], None),
    ],
)
def test_how_long_a_token_lives_is_believed_within_reason(said: object, seconds: float | None) -> None:
    assert life(said) == (None if seconds is None else timedelta(seconds=seconds))


@pytest.mark.parametrize(
    ("minutes", "fresh"), [(60, 55), (20, 15), (4, 3), (None, 25)], ids=["hour", "short", "shorter", "unsaid"]
)
def test_a_token_is_fresh_until_shortly_before_its_end(minutes: float | None, fresh: float) -> None:
    granted = Granted(Secret("a"), timedelta(minutes=minutes) if minutes else None)

    assert times(granted)[0] == timedelta(minutes=fresh)
