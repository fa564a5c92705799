"""Who may be trusted, as an operator writes it."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from postroom.cli.given import BadSetting, read_settings
from postroom.settings import IssuerSettings

NAME = "https://clerk.example.com"


def written(monkeypatch: pytest.MonkeyPatch, **values: object) -> None:
    for name, value in values.items():
        monkeypatch.setenv(f"POSTROOM_{name.upper()}", value if isinstance(value, str) else json.dumps(value))


def test_an_issuer_needs_only_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    written(monkeypatch, issuers=[{"issuer": NAME}])
    (issuer,) = read_settings(None, None).issuers

    assert (issuer.issuer, issuer.algorithms, issuer.jwks_url) == (NAME, ["RS256"], None)


@pytest.mark.parametrize(
    "more",
    [
        {"algorithms": ["HS256"]},
        {"algorithms": ["none"]},
        {"algorithms": []},
        {"issuer": "http://clerk.example.com"},
        {"issuer": ""},
        {"issuer": "clerk"},
        {"jwks_url": "http://clerk.example.com/jwks"},
        {"jwks_url": "file:///etc/jwks"},
        {"roles": {"boss": "owner"}},
        {"audiences": ["misspelt"]},
    ],
    ids=str,
)
def test_what_would_not_be_safe_is_no_setting(more: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValidationError):
        IssuerSettings(**{"issuer": NAME, **more})
    written(monkeypatch, issuers=[{"issuer": NAME, **more}])
    with pytest.raises(BadSetting, match="POSTROOM_ISSUERS"):
        read_settings(None, None)


def test_an_issuer_is_named_once(monkeypatch: pytest.MonkeyPatch) -> None:
    written(monkeypatch, issuers=[{"issuer": NAME, "audience": ["a"]}, {"issuer": NAME}])

    with pytest.raises(BadSetting, match="named twice"):
        read_settings(None, None)


@pytest.mark.parametrize(
    "url",
    [
        "mail.example.org",
        "ftp://mail.example.org",
        "https://",
        "https://x.org/?y",
        "https://x.org/#y",
        "https://y@x.org",
    ],
)
def test_where_people_find_us_is_an_origin_and_perhaps_a_path(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(monkeypatch, public_url=url)

    with pytest.raises(BadSetting, match="POSTROOM_PUBLIC_URL"):
        read_settings(None, None)


@pytest.mark.parametrize(
    ("issuers", "said", "allowed"),
    [(False, None, True), (True, None, False), (True, "true", True), (False, "false", False)],
)
def test_strangers_who_sign_in_do_not_name_servers_in_our_network(
    issuers: bool, said: str | None, allowed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(monkeypatch, issuers=[{"issuer": NAME}] if issuers else [])
    if said is not None:
        written(monkeypatch, private_networks=said)

    assert read_settings(None, None).private_allowed is allowed
