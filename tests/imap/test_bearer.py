"""XOAUTH2 and OAUTHBEARER: what is said, what a refusal says, and that tokens are shown nowhere."""

import json
from base64 import b64decode, b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from imap.scripted import serving

from postroom.imap import aio, auth
from postroom.imap.bearer import Bearer, oauthbearer, xoauth2
from postroom.imap.connection import Completed, Connection, Event, State
from postroom.imap.errors import AuthRefused, LocalError, NoMechanism, ServerBusy

TOKEN = "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg"
XOAUTH2 = f"user=ann@x.example\x01auth=Bearer {TOKEN}\x01\x01".encode()
OAUTHBEARER = f"n,a=ann@x.example,\x01auth=Bearer {TOKEN}\x01\x01".encode()
BOTH = {"AUTH=OAUTHBEARER", "AUTH=XOAUTH2", "AUTH=PLAIN"}


def challenge(**said: str) -> bytes:
    return b"+ " + b64encode(json.dumps(said).encode()) + b"\r\n"


def logging_in(mechanism: str, *capabilities: str) -> tuple[Connection, bytes]:
    """A connection that has sent the command, and the message that went with it."""
    connection = Connection()
    connection.receive(b"* OK ready\r\n")
    offered = {*capabilities, f"AUTH={mechanism}"}
    connection.send(auth.choose_for_token(offered, "ann@x.example", TOKEN, mechanism=mechanism))
    return connection, connection.outgoing()


def failure(events: list[Event]) -> AuthRefused:
    found = [event.failure for event in events if isinstance(event, Completed)]
    assert isinstance(found[0], AuthRefused)
    return found[0]


@pytest.mark.parametrize(("mechanism", "message"), [("XOAUTH2", XOAUTH2), ("OAUTHBEARER", OAUTHBEARER)])
def test_what_is_said_with_and_without_an_initial_response(mechanism: str, message: bytes) -> None:
    packed = b64encode(message)
    connection, said = logging_in(mechanism, "SASL-IR")
    assert said == b"P1 AUTHENTICATE %s %s\r\n" % (mechanism.encode(), packed)
    connection.receive(b"P1 OK welcome\r\n")
    assert connection.state is State.AUTHENTICATED

    connection, said = logging_in(mechanism)
    assert said == b"P1 AUTHENTICATE %s\r\n" % mechanism.encode()
    connection.receive(b"+ \r\n")
    assert connection.outgoing() == packed + b"\r\n"


@pytest.mark.parametrize(("mechanism", "last"), [("XOAUTH2", b"\r\n"), ("OAUTHBEARER", b"AQ==\r\n")])
def test_a_refusal_is_heard_to_its_end_and_its_status_reaches_the_error(mechanism: str, last: bytes) -> None:
    connection, _ = logging_in(mechanism, "SASL-IR")
    connection.receive(challenge(status="invalid_token", scope="mail"))
    assert connection.outgoing() == last

    refused = failure(connection.receive(b"P1 NO SASL authentication failed\r\n"))

    assert refused.status == "invalid_token"
    assert "invalid_token" in str(refused)
    assert connection.state is State.NOT_AUTHENTICATED


@pytest.mark.parametrize(
    "said",
    [b"+ \r\n", b"+ ???\r\n", b"+ bm9uZQ==\r\n", challenge(status="two words"), challenge(status=TOKEN * 2)],
)
def test_a_challenge_that_makes_no_sense_is_answered_and_not_shown(said: bytes) -> None:
    connection, _ = logging_in("OAUTHBEARER", "SASL-IR")
    connection.receive(said)
    assert connection.outgoing() == b"AQ==\r\n"
    connection.receive(said)
    assert connection.outgoing() == b"*\r\n"

    refused = failure(connection.receive(b"P1 NO failed\r\n"))

    assert refused.status is None


def test_a_server_that_repeats_the_token_is_not_quoted() -> None:
    for mechanism in ("XOAUTH2", "OAUTHBEARER"):
        connection, said = logging_in(mechanism, "SASL-IR")
        echo = said.rstrip().split(b" ")[-1].lower()
        spelled = (echo, TOKEN.encode(), b64encode(TOKEN.encode()))
        events = connection.receive(b"P1 NO %s and Bearer %s and %s\r\n" % spelled)

        shown = f"{events} {failure(events)}".lower()
        assert TOKEN.lower() not in shown
        assert echo.decode() not in shown
        assert b64encode(TOKEN.encode()).decode().lower() not in shown


def test_a_token_is_in_no_repr() -> None:
    for dialogue in (xoauth2("ann", TOKEN), oauthbearer("ann", TOKEN)):
        assert TOKEN not in repr(dialogue)
    command = auth.choose_for_token(BOTH, "ann", TOKEN)
    assert TOKEN not in repr(command)
    assert repr(command.dialogue) not in repr(command)


@pytest.mark.parametrize(
    ("capabilities", "mechanism", "name"),
    [
        (BOTH, None, b"OAUTHBEARER"),
        (BOTH, "XOAUTH2", b"XOAUTH2"),
        ({"AUTH=XOAUTH2"}, None, b"XOAUTH2"),
        (set(), "OAUTHBEARER", b"OAUTHBEARER"),
    ],
)
def test_the_standard_is_chosen_where_it_is_offered(
    capabilities: set[str], mechanism: str | None, name: bytes
) -> None:
    assert auth.choose_for_token(capabilities, "ann", TOKEN, mechanism=mechanism).pieces == (name,)


def test_a_server_that_takes_no_tokens_gets_none() -> None:
    with pytest.raises(NoMechanism):
        auth.choose_for_token({"AUTH=PLAIN", "AUTH=LOGIN"}, "ann", TOKEN)
    with pytest.raises(LocalError):
        auth.choose_for_token(BOTH, "ann", TOKEN, mechanism="PLAIN")


@pytest.mark.parametrize("token", ["", "a b", "a\x01b", "a\r\nb", "töken", "x" * 20_000])
def test_what_is_no_token_is_not_sent(token: str) -> None:
    for dialogue in (xoauth2, oauthbearer):
        with pytest.raises(LocalError):
            dialogue("ann", token)
        with pytest.raises(LocalError):
            dialogue("ann\x01auth=Bearer other", TOKEN)


def test_a_name_cannot_break_out_of_its_place() -> None:
    assert b64decode(oauthbearer("a,b=c", TOKEN).message).startswith(b"n,a=a=2Cb=3Dc,\x01")


@given(st.binary(max_size=400))
def test_nothing_that_a_server_says_does_harm(said: bytes) -> None:
    for raw in (said, b64encode(said)):
        dialogue = Bearer(b"first", b"last")
        assert [b64decode(dialogue.answer(raw)) for _ in range(2)] == [b"first", b"last"]
        assert dialogue.answer(raw) == b"*"
        assert dialogue.refusal is None or dialogue.refusal in said.decode("utf-8", "replace")


async def test_a_session_logs_in_with_a_token() -> None:
    message = b64encode(OAUTHBEARER).decode()
    script = f"""
    S: * OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=OAUTHBEARER] ready
    C: TAG AUTHENTICATE OAUTHBEARER {message}
    S: + {b64encode(b'{"status":"invalid_token"}').decode()}
    C: AQ==
    S: TAG NO [AUTHENTICATIONFAILED] no
    C: TAG CAPABILITY
    S: * CAPABILITY IMAP4rev1 SASL-IR AUTH=OAUTHBEARER
    S: TAG OK
    C: TAG AUTHENTICATE OAUTHBEARER {message}
    S: TAG NO [UNAVAILABLE] later
    C: TAG CAPABILITY
    S: * CAPABILITY IMAP4rev1 SASL-IR AUTH=OAUTHBEARER
    S: TAG OK
    C: TAG AUTHENTICATE OAUTHBEARER {message}
    S: TAG OK [CAPABILITY IMAP4rev1] in
    C: TAG LOGOUT
    S: TAG OK
    """
    async with serving(script) as server, aio.connect("127.0.0.1", server.port) as session:
        with pytest.raises(AuthRefused) as caught:
            await session.log_in_with_token("ann@x.example", TOKEN)
        assert caught.value.status == "invalid_token"
        with pytest.raises(ServerBusy):
            await session.log_in_with_token("ann@x.example", TOKEN)
        await session.log_in_with_token("ann@x.example", TOKEN)

        assert session.state is State.AUTHENTICATED
        assert session.on_this_machine
