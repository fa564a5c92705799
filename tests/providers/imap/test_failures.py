"""Every failure is one sentence that says what to do, with a code of its own and no secret in it."""

import errno
import ssl
from dataclasses import replace
from datetime import timedelta

import pytest

from postroom.errors import PostroomError, TryLater
from postroom.imap import errors as imap
from postroom.net.tls import handshake_with
from postroom.providers.imap.failures import folder_refused, translated, translation
from postroom.providers.imap.settings import Auth, BadServer, ImapSettings, Security, from_url
from postroom.providers.imap.shown import shown
from postroom.providers.known import BY_DOMAIN, PROVIDERS, LoginRule, by_address, by_host
from postroom.providers.model import (
    AppPassword,
    Blocked,
    Expired,
    FolderGone,
    Incomplete,
    NoRoom,
    NotTrusted,
    SentAway,
    ServerRefused,
    Throttled,
    TlsRefused,
    TokenRefused,
    TooMany,
    Unreachable,
    WrongPassword,
)


def at(host: str = "imap.example.org", user: str = "ann@example.org") -> ImapSettings:
    return ImapSettings(host, 993, Security.TLS, user)


def refused(
    text: str, host: str = "imap.example.org", code: str | None = "AUTHENTICATIONFAILED"
) -> PostroomError:
    return translation(imap.AuthRefused("LOGIN", "NO", code, text), at(host))


@pytest.mark.parametrize(
    ("host", "kind", "words"),
    [
        ("imap.gmail.com", AppPassword, "https://myaccount.google.com/apppasswords"),
        ("imap.gmail.com", AppPassword, "2-Step Verification"),
        ("outlook.office365.com", AppPassword, "OAuth"),
        ("imap-mail.outlook.com", AppPassword, "OAuth"),
        ("imap.mail.me.com", AppPassword, "app-specific password"),
        ("imap.mail.yahoo.com", AppPassword, "app password"),
        ("imap.gmx.net", WrongPassword, "switch on IMAP"),
        ("imap.example.org", WrongPassword, "check user name and password"),
    ],
)
def test_a_refused_login_says_exactly_what_the_owner_must_do(
    host: str, kind: type[PostroomError], words: str
) -> None:
    error = refused("Invalid credentials (Failure)", host)

    assert type(error) is kind
    assert words in str(error)


def test_a_server_that_asks_for_an_app_password_in_words_is_understood() -> None:
    assert type(refused("Application-specific password required: see help")) is AppPassword
    assert type(refused("LOGIN failed: Basic authentication is disabled")) is AppPassword


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("EXPIRED", Expired),
        ("PRIVACYREQUIRED", TlsRefused),
        ("AUTHORIZATIONFAILED", Blocked),
        ("CONTACTADMIN", Blocked),
        ("AUTHENTICATIONFAILED", WrongPassword),
        (None, WrongPassword),
    ],
)
def test_a_code_says_what_the_owner_must_do(code: str | None, kind: type[PostroomError]) -> None:
    assert type(refused("no", code=code)) is kind


@pytest.mark.parametrize(
    "text",
    [
        "Please log in via your web browser: https://support.google.com/mail/accounts/answer/78754",
        "Web login required",
        "Your account is not enabled for IMAP use.",
        "IMAP access is disabled for your domain",
        "User account is locked",
    ],
)
def test_an_owner_whom_the_provider_keeps_out_is_told_so(text: str) -> None:
    error = refused(text, host="imap.gmail.com", code="ALERT")

    assert type(error) is Blocked
    assert text[:30] in str(error)


@pytest.mark.parametrize(
    ("code", "text", "kind"),
    [
        ("AUTHENTICATIONFAILED", "no", TokenRefused),
        ("AUTHORIZATIONFAILED", "no", TokenRefused),
        ("EXPIRED", "no", TokenRefused),  # with a fresh one the same call may work
        ("CONTACTADMIN", "no", Blocked),
        ("PRIVACYREQUIRED", "no", TlsRefused),
        ("ALERT", "Your account is not enabled for IMAP use.", Blocked),
    ],
)
def test_a_token_is_not_blamed_for_what_another_one_would_not_mend(
    code: str, text: str, kind: type[PostroomError]
) -> None:
    error = imap.AuthRefused("AUTHENTICATE", "NO", code, text)

    assert type(translation(error, replace(at(), auth=Auth.OAUTH2))) is kind


@pytest.mark.parametrize(
    ("code", "text", "wait", "kind"),
    [
        (None, "Too many simultaneous connections. (Failure)", None, TooMany),
        ("UNAVAILABLE", "Maximum number of connections exceeded", None, TooMany),
        ("LIMIT", "Too many connections", timedelta(seconds=3), TooMany),
        (None, "Suggested Backoff Time: 3000 milliseconds", timedelta(seconds=3), Throttled),
        ("OVERQUOTA", "Account exceeded command or bandwidth limits", None, SentAway),
        ("UNAVAILABLE", "Temporary authentication failure", None, ServerRefused),
    ],
)
def test_one_connection_too_many_is_told_from_other_ways_to_be_sent_away(
    code: str | None, text: str, wait: timedelta | None, kind: type[PostroomError]
) -> None:
    error = translation(imap.ServerBusy("LOGIN", "NO", code, text, wait), at())

    assert type(error) is kind
    assert wait is None or (isinstance(error, TryLater) and error.wait == wait)


def test_a_handshake_that_broke_off_says_nothing_of_the_server() -> None:
    error = ssl.SSLEOFError(8, "[SSL: UNEXPECTED_EOF_WHILE_READING] unexpected eof while reading")
    with pytest.raises(Unreachable, match="broke off"), translated(at()), handshake_with("imap.example.org"):
        raise error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (imap.Insecure("no STARTTLS"), TlsRefused),
        (imap.NoMechanism("none"), AppPassword),
        (imap.Disconnected("bye", "Autologout; idle for too long"), SentAway),
        (imap.Disconnected("eof"), Unreachable),
        (imap.LimitExceeded("line", 5), Incomplete),
        (imap.Desynchronised("unknown tag"), Incomplete),
        (imap.CommandFailed("SELECT", "NO", None, "Unsafe Login"), ServerRefused),
        (TimeoutError(), Unreachable),
        (ConnectionResetError(errno.ECONNRESET, "reset"), Unreachable),
        (OSError(errno.ENOSPC, "No space left on device"), NoRoom),
    ],
)
def test_whatever_is_raised_below_becomes_an_error_of_the_port(
    error: Exception, kind: type[PostroomError]
) -> None:
    with pytest.raises(kind) as caught, translated(at()):
        raise error

    assert type(caught.value) is kind
    assert caught.value.__cause__ is error
    assert str(caught.value)[-1] in ".:)" or "…" in str(caught.value) or issubclass(kind, ServerRefused)


def test_a_bug_is_not_dressed_up_as_trouble_with_a_server() -> None:
    with pytest.raises(imap.LocalError), translated(at()):
        raise imap.LocalError("no such action")
    with pytest.raises(ZeroDivisionError), translated(at()):
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("text", "code", "wait"),
    [
        ("Account exceeded command or bandwidth limits.", "OVERQUOTA", timedelta(hours=1)),
        ("Too many simultaneous connections. (Failure)", "ALERT", timedelta(minutes=5)),
        ("Maximum number of connections from user+IP exceeded", "UNAVAILABLE", timedelta(minutes=5)),
        ("Server busy", "UNAVAILABLE", timedelta(minutes=1)),
    ],
)
def test_a_throttle_waits_longer_the_more_it_costs(text: str, code: str, wait: timedelta) -> None:
    error = translation(imap.ServerBusy("LOGIN", "NO", code, text), at())

    assert isinstance(error, ServerRefused)
    assert error.wait == wait


def test_the_servers_own_wait_counts() -> None:
    busy = imap.ServerBusy("UID FETCH", "BAD", None, "throttled", timedelta(milliseconds=299961))
    error = translation(busy, at())

    assert isinstance(error, ServerRefused)
    assert error.wait == timedelta(milliseconds=299961)


@pytest.mark.parametrize(
    ("code", "text", "gone"),
    [
        ("NONEXISTENT", "whatever", True),
        (None, "Mailbox doesn't exist: Lists", True),
        (None, "Unknown Mailbox: Lists (now in authenticated state) (Failure)", True),
        ("NOPERM", "Permission denied", False),
        (None, "Internal error occurred", False),
    ],
)
def test_a_folder_is_gone_only_if_the_server_says_so(code: str | None, text: str, gone: bool) -> None:
    error = folder_refused(imap.CommandFailed("EXAMINE", "NO", code, text), "Lists", at())

    assert type(error) is (FolderGone if gone else ServerRefused)


def test_what_a_server_says_is_cleaned_and_cut_before_people_see_it() -> None:
    assert shown("a\x1b[31mred\x07\r\n\tb\u202ec\u2028d") == "a [31mred bc d"
    assert len(shown("x" * 100_000)) == 200


def test_settings_come_from_an_url() -> None:
    assert from_url("imaps://mail.example") == {"host": "mail.example", "port": 993, "security": "tls"}
    assert from_url("mail.example:1993")["port"] == 1993
    assert from_url("imap://[::1]:10143", starttls="off") == {
        "host": "::1",
        "port": 10143,
        "security": "plain",
    }
    assert from_url("imap://mail.example")["security"] == "starttls"
    for wrong in (
        "http://x",
        "imaps://",
        "imaps://u:p@x",
        "imaps://x/INBOX",
        "imaps://x:99999",
        "imaps://[::1",
    ):
        with pytest.raises(BadServer) as caught:
            from_url(wrong)
        assert "u:p" not in str(caught.value)


def test_the_table_of_providers_is_consistent() -> None:
    assert len({p.name for p in PROVIDERS}) >= 25
    assert len(BY_DOMAIN) == sum(len(p.domains) for p in PROVIDERS)
    assert all(p.advice for p in PROVIDERS if p.rule is not LoginRule.PASSWORD)
    assert all(domain == domain.lower() for domain in BY_DOMAIN)
    gmail = by_address("Ann@GoogleMail.com")
    assert gmail is not None
    assert gmail is by_host("IMAP.gmail.com.")
    assert by_address("ann@example.org") is None
    assert by_host("127.0.0.1") is None


def test_a_refused_token_can_be_told_from_a_refused_password() -> None:
    settings = ImapSettings("imap.gmail.com", 993, Security.TLS, "ann@gmail.com", auth=Auth.OAUTH2)
    error = translation(imap.AuthRefused("AUTHENTICATE", "NO", None, "no", "invalid_token"), settings)

    assert type(error) is TokenRefused
    assert error.code == "providers.token_refused"
    assert error.data["status"] == "invalid_token"
    assert "invalid_token" in str(error)


def test_a_server_that_takes_no_tokens_says_what_to_do_instead() -> None:
    settings = ImapSettings("imap.example.org", 993, Security.TLS, "ann", auth=Auth.OAUTH2)
    error = translation(imap.NoMechanism("none"), settings)

    assert type(error) is AppPassword
    assert "does not accept access tokens" in str(error)


def test_a_server_that_does_not_know_the_password_is_not_trusted() -> None:
    assert type(translation(imap.NotProven("it lies"), at())) is NotTrusted
