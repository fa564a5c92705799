"""The way to a provider and back, as far as it needs neither a server nor a database."""

from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from postroom.accounts import consent
from postroom.accounts.clients import clients_of
from postroom.accounts.connect import Wish
from postroom.accounts.consent import BadState, ConsentDenied, SignInFailed, Username, is_issuer, with_query
from postroom.accounts.grant import BadClient
from postroom.accounts.model import Scope
from postroom.accounts.waiting import Asker, Waiting, waiting_of, waiting_text
from postroom.settings import OauthClientSettings, Settings
from postroom.vault.model import Secret

MICROSOFT = "https://login.microsoftonline.com/{tenantid}/v2.0"
OURS = {
    "token_url": "https://login.example.org/token",
    "client_id": "me",
    "client_secret": SecretStr("s"),
    "authorization_url": "https://login.example.org/authorize?prompt=consent",
    "server": "imaps://mail.example.org",
}
texts = st.text(min_size=1, max_size=40)


def test_a_challenge_is_made_as_the_rfc_shows() -> None:
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"

    assert consent.challenge(verifier) == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


@given(
    own=st.dictionaries(texts, texts, max_size=3), more=st.dictionaries(texts, texts | st.none(), max_size=3)
)
def test_a_url_keeps_its_own_query_and_nothing_leaks_into_another_part(
    own: dict[str, str], more: dict[str, str | None]
) -> None:
    where = with_query("https://app.example:8443/a/b", own)
    parts = urlsplit(with_query(where, more))

    assert (parts.scheme, parts.netloc, parts.path) == ("https", "app.example:8443", "/a/b")
    assert parts.fragment == ""
    told = [(name, value) for name, value in more.items() if value is not None]
    assert parse_qsl(parts.query, keep_blank_values=True) == [*own.items(), *told]


@pytest.mark.parametrize(
    ("known", "said", "tenant", "is_it"),
    [
        ("https://a.example", "https://a.example", None, True),
        ("https://a.example", "https://a.example/", None, False),
        ("https://a.example", "https://A.example", None, False),
        (MICROSOFT, "https://login.microsoftonline.com/9188040d-6c67/v2.0", None, True),
        (MICROSOFT, "https://login.microsoftonline.com/9188040d-6c67/v2.0", "9188040d-6c67", True),
        (MICROSOFT, "https://login.microsoftonline.com/9188040d-6c67/v2.0", "another", False),
        (MICROSOFT, "https://login.microsoftonline.com/9188040d-6c67/v2.0", 7, False),
        (MICROSOFT, "https://login.microsoftonline.com//v2.0", None, False),
        (MICROSOFT, "https://login.microsoftonline.com/v2.0", None, False),
        (MICROSOFT, "https://login.microsoftonline.com/a/b/v2.0", None, False),
        (MICROSOFT, "https://login.microsoftonline.com/.evil.example/v2.0", None, False),
        (MICROSOFT, "https://evil.example/9188040d-6c67/v2.0", None, False),
    ],
)
def test_an_issuer_is_known_letter_by_letter(known: str, said: str, tenant: object, is_it: bool) -> None:
    assert is_issuer(known, said, tenant) is is_it


@pytest.mark.parametrize(
    "error", ["access_denied", "consent_required", "server_error", "x" * 1000, "\x1b[2J"]
)
def test_a_refusal_says_who_has_to_do_something(error: str) -> None:
    found = consent.refusal(error)

    assert isinstance(found, ConsentDenied if error in consent.DENIED else SignInFailed)
    assert len(found.message) < 200
    assert "\x1b" not in found.message


@given(st.lists(st.tuples(st.sampled_from(["state", "code", "error", "iss", "x"]), texts), max_size=6))
def test_an_answer_has_one_state_and_a_code_or_an_error(query: list[tuple[str, str]]) -> None:
    names = [name for name, _ in query if name != "x"]
    is_one = len(set(names)) == len(names) and "state" in names and ("code" in names) != ("error" in names)
    try:
        answer = consent.answer_of(query)
    except BadState:
        assert not is_one
    else:
        said = dict(query)
        assert is_one
        assert (answer.state, answer.code, answer.error, answer.issuer) == (
            said["state"],
            *(said.get(name) for name in ("code", "error", "iss")),
        )


@settings(max_examples=50)
@given(
    wish=st.builds(
        Wish,
        address=st.text(max_size=20),
        scope=st.builds(
            Scope, st.none() | texts, st.none() | st.dates(), st.none() | st.integers(1, 1 << 61)
        ),
        poll_every=st.none() | st.timedeltas(timedelta(minutes=1), timedelta(days=7)),
        compress=st.none() | st.sampled_from(["auto", "always"]),
        connections=st.none() | st.integers(1, 100),
        daily_bytes=st.none() | st.integers(1 << 20, 1 << 49),
        watch_folders=st.none() | texts,
    ),
    account=st.none() | st.uuids(),
    asker=st.builds(Asker, st.none() | st.uuids(), st.none() | st.uuids(), st.none() | st.uuids()),
)
def test_what_waits_is_what_was_asked(wish: Wish, account: UUID | None, asker: Asker) -> None:
    waiting = Waiting(Secret("v"), "n", asker, wish, account, "https://app.example/", "theirs")

    assert waiting_of(waiting_text(waiting)) == waiting


def client(**more: Any) -> OauthClientSettings:
    return OauthClientSettings(**{**OURS, **more})


def test_a_client_says_where_people_consent_and_where_their_mail_is() -> None:
    made = clients_of({"ours": client(scope="imap openid", issuer=MICROSOFT, username="local_part")})["ours"]

    assert made.sign_in is not None
    assert made.sign_in.settings == {"host": "mail.example.org", "port": 993, "security": "tls"}
    assert made.sign_in.tells_who
    assert made.sign_in.username is Username.LOCAL_PART
    assert made.sign_in.username_of("ann@example.org") == "ann"


@pytest.mark.parametrize(
    ("name", "more", "why"),
    [
        ("ours", {"server": None}, "name the server"),
        ("ours", {"server": "ftp://mail.example.org"}, "imaps://"),
        ("ours", {"authorization_url": "http://login.example.org/"}, "https://"),
        ("ours", {"authorization_url": None}, "no authorization_url"),
        ("ours", {"parameters": {"redirect_uri": "https://evil.example"}}, "redirect_uri"),
        ("ours", {"parameters": {"state": "x"}}, "state"),
        ("ours", {"parameters": {"code_challenge_method": "plain"}}, "code_challenge_method"),
        ("ours", {"scope": "imap openid"}, "issuer"),
        ("our mail", {}, "stands in a URL"),
        ("..", {}, "stands in a URL"),
        ("", {}, "stands in a URL"),
    ],
)
def test_a_client_that_would_not_be_safe_is_none(name: str, more: dict[str, Any], why: str) -> None:
    with pytest.raises(BadClient, match=why):
        clients_of({name: client(**more)})


@pytest.mark.parametrize(
    "url",
    [
        "http://app.example/back",
        "//app.example/back",
        "/back",
        "javascript:alert(1)",
        "https://app.example/back#here",
        "https://me@app.example/back",
        "https://",
    ],
)
def test_a_browser_comes_back_over_tls_or_to_this_machine(url: str) -> None:
    assert Settings(oauth_return_urls=["https://app.example/back?x=1", "http://localhost:3000/"])
    with pytest.raises(ValidationError):
        Settings(oauth_return_urls=[url])
