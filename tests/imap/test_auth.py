"""Logging in: which command, what a refusal means, and that secrets stay where they are (T4)."""

from datetime import timedelta

import pytest

from postroom.imap import auth, commands
from postroom.imap.connection import Connection
from postroom.imap.errors import AuthRefused, CommandFailed, Disconnected, NoMechanism, ServerBusy
from postroom.imap.responses import Code, Status


def refusal(kind: str, code: str | None, text: str) -> CommandFailed:
    return auth.failure(auth.login("ann", "hunter2"), Status("P1", kind, Code(code) if code else None, text))


@pytest.mark.parametrize(
    ("capabilities", "mechanism", "name", "pieces"),
    [
        ({"AUTH=PLAIN", "SASL-IR"}, None, "AUTHENTICATE", 1),
        ({"AUTH=PLAIN"}, None, "AUTHENTICATE", 1),
        ({"AUTH=XOAUTH2"}, None, "LOGIN", 3),
        ({"AUTH=PLAIN"}, "LOGIN", "LOGIN", 3),
        (set(), "PLAIN", "AUTHENTICATE", 1),
    ],
)
def test_the_best_mechanism_on_offer_is_chosen(
    capabilities: set[str], mechanism: str | None, name: str, pieces: int
) -> None:
    command = auth.choose(capabilities, "ann", "hunter2", mechanism=mechanism)

    assert (command.name, len(command.pieces)) == (name, pieces)
    assert bool(command.answers) == (name == "AUTHENTICATE" and "SASL-IR" not in capabilities)


def test_logindisabled_is_obeyed() -> None:
    with pytest.raises(NoMechanism):
        auth.choose({"LOGINDISABLED"}, "ann", "hunter2")


@pytest.mark.parametrize("user", ["domain\\ann", "ann/shared", "ann smith", "NIL", "{5}", "", "ann@x"])
def test_a_user_is_always_a_string(user: str) -> None:
    raw = b"".join(commands.encode(auth.login(user, "x"), b"P1", -1))

    assert raw == b'P1 LOGIN "%s" "x"\r\n' % user.replace("\\", "\\\\").encode()


@pytest.mark.parametrize(
    ("kind", "code", "text", "error"),
    [
        ("NO", "AUTHENTICATIONFAILED", "Invalid credentials", AuthRefused),
        ("NO", "ALERT", "Application-specific password required", AuthRefused),
        ("NO", None, "LOGIN failed.", AuthRefused),
        ("NO", "ALERT", "Too many simultaneous connections. (Failure)", ServerBusy),
        ("NO", None, "Maximum number of connections from user+IP exceeded", ServerBusy),
        ("NO", None, "[LIMIT] Too many open sessions", ServerBusy),
        ("NO", "UNAVAILABLE", "Temporary authentication failure", ServerBusy),
        ("NO", "INUSE", "the mailbox is locked", ServerBusy),
        ("NO", "LIMIT", "", ServerBusy),
        ("NO", None, "System Error (Failure)", ServerBusy),
        ("NO", None, "Server Busy", ServerBusy),
        ("NO", None, "Internal error occurred. Refer to server log", ServerBusy),
        ("NO", None, "LDAP lookup failed", ServerBusy),
        ("NO", "AUTHENTICATIONFAILED", "System error", AuthRefused),
        ("NO", "EXPIRED", "Your password timed out", AuthRefused),
        ("NO", "OVERQUOTA", "Account exceeded command or bandwidth limits.", ServerBusy),
        ("BAD", None, "Request is throttled. Suggested Backoff Time: 299961 milliseconds", ServerBusy),
        ("BAD", None, "syntax", CommandFailed),
    ],
)
def test_a_refusal_says_what_to_do_next(
    kind: str, code: str | None, text: str, error: type[CommandFailed]
) -> None:
    assert type(refusal(kind, code, text)) is error


def test_the_servers_own_waiting_time_is_kept() -> None:
    busy = refusal("BAD", None, "Request is throttled. Suggested Backoff Time: 299961 milliseconds")

    assert isinstance(busy, ServerBusy)
    assert busy.wait == timedelta(milliseconds=299961)


def test_a_full_mailbox_is_not_a_busy_server() -> None:
    full = Status("P1", "NO", Code("OVERQUOTA"), "Mailbox is full")

    assert type(auth.failure(commands.append(b"x", b"y"), full)) is CommandFailed


def test_a_server_that_repeats_the_password_is_not_quoted() -> None:
    command = auth.plain("ann", "hunter2", initial_response=True)
    shown = auth.redacted(command, Status("P1", "BAD", None, "what is AGFubgBodW50ZXIy or hunter2?"))

    assert shown.text == "what is *** or ***?"


@pytest.mark.parametrize(
    "said",
    [
        r'LOGIN "ann" "hun\"ter\\2"',
        r'LOGIN ANN HUN"TER\2',
        "second answer aHVuInRlclwy",
        'ann\0hun"ter\\2',
    ],
)
def test_a_password_is_known_again_however_the_server_spells_it(said: str) -> None:
    command = auth.login("ann", 'hun"ter\\2')
    shown = auth.redacted(command, Status("P1", "NO", None, said)).text

    assert "***" in shown
    assert "ter" not in shown.lower()
    assert "aHVu" not in shown


@pytest.mark.parametrize(
    "replies",
    [b"* BYE what is hunter2?\r\n", b"P1 NO no\r\n* BYE you sent hunter2\r\n"],
    ids=["at once", "later"],
)
def test_a_goodbye_that_repeats_the_password_is_not_quoted(replies: bytes) -> None:
    connection = Connection()
    connection.receive(b"* OK ready\r\n")
    connection.send(auth.login("ann", "hunter2"))
    events = connection.receive(replies)

    assert isinstance(connection.failure, Disconnected)
    assert "***" in str(connection.failure.said)
    assert "hunter2" not in f"{connection.failure} {events}"
