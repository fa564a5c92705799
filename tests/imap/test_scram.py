"""SCRAM-SHA-256: what is said, and what is not believed."""

import hashlib
import hmac
from base64 import b64decode, b64encode
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from imap.talking import talk

from postroom.imap import auth
from postroom.imap.connection import Connection, State
from postroom.imap.errors import AuthRefused, LocalError, NotProven, RemoteError
from postroom.imap.scram import MOST, Scram, prepared

NONCE = "rOprNGfwEbeRWgbNEkqO"  # of the example in RFC 7677, 3
SALT = "W22ZaJ0SNY7soEsUEjb6gQ=="
FIRST = f"r={NONCE}%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s={SALT},i=4096"
PROOF = f"c=biws,r={NONCE}%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
SIGNATURE = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


def packed(text: str) -> bytes:
    return b64encode(text.encode())


def begun() -> Scram:
    dialogue = Scram("user", "pencil", NONCE)
    assert b64decode(dialogue.answer(b"")) == f"n,,n=user,r={NONCE}".encode()
    return dialogue


def test_the_example_of_the_rfc() -> None:
    dialogue = begun()

    assert b64decode(dialogue.answer(packed(FIRST))).decode() == PROOF
    assert dialogue.answer(packed(SIGNATURE)) == b""
    dialogue.finish()


@pytest.mark.parametrize(
    "first",
    [
        FIRST.replace(NONCE, "another"),
        f"r={NONCE},s={SALT},i=4096",
        FIRST.replace("i=4096", "i=4095"),
        FIRST.replace("i=4096", "i=1"),
        FIRST.replace("i=4096", f"i={MOST + 1}"),
        FIRST.replace("i=4096", "i=1000000"),
    ],
    ids=["nonce", "no-nonce", "few", "one", "many", "million"],
)
def test_a_challenge_that_would_give_the_password_away_is_not_answered(first: str) -> None:
    with pytest.raises(NotProven):
        begun().answer(packed(first))


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"?",
        packed("m=1," + FIRST),
        packed(FIRST.replace(SALT, "")),
        packed(FIRST.replace("i=4096", "i=soon")),
        packed(FIRST) + b"====",
        packed("r" * 10_000),
    ],
)
def test_a_challenge_of_something_else_ends_the_connection(said: bytes) -> None:
    with pytest.raises(RemoteError):
        begun().answer(said)


@pytest.mark.parametrize("said", ["v=", "v=AAAA", SIGNATURE[:-2], "x=1", SIGNATURE.lower()])
def test_a_server_that_does_not_know_the_password_is_not_believed(said: str) -> None:
    dialogue = begun()
    dialogue.answer(packed(FIRST))

    with pytest.raises(NotProven):
        dialogue.answer(packed(said))
    with pytest.raises(NotProven):
        dialogue.finish()


def test_challenges_that_do_not_end_are_ended() -> None:
    dialogue = begun()
    dialogue.answer(packed(FIRST))
    dialogue.answer(packed(SIGNATURE))

    with pytest.raises(RemoteError):
        dialogue.answer(b"")


def test_a_server_that_says_ok_too_early_is_not_believed() -> None:
    connection = Connection()
    talk(
        "S: * OK ready\nC: P1 AUTHENTICATE SCRAM-SHA-256\nS: P1 OK welcome",
        connection,
        auth.scram("user", "pencil", initial_response=False),
    )

    assert connection.state is State.ENDED
    assert isinstance(connection.failure, NotProven)


def test_a_login_with_and_without_an_initial_response() -> None:
    def play(*, initial_response: bool) -> Connection:
        connection = Connection()
        connection.receive(b"* OK ready\r\n")
        connection.send(auth.scram("a,b=c", "pencil", initial_response=initial_response))
        said = connection.outgoing()
        if not initial_response:
            assert said == b"P1 AUTHENTICATE SCRAM-SHA-256\r\n"
            connection.receive(b"+ \r\n")
            said = connection.outgoing()
        bare = b64decode(said.split(b" ")[-1]).removeprefix(b"n,,")
        assert bare.startswith(b"n=a=2Cb=3Dc,r=")
        nonce = bare.partition(b"r=")[2].decode()
        first = f"r={nonce}more,s={SALT},i=4096"
        connection.receive(b"+ " + packed(first) + b"\r\n")
        final = b64decode(connection.outgoing()).decode()
        signed = f"{bare.decode()},{first},{final.rpartition(',p=')[0]}"
        connection.receive(b"+ " + packed(f"v={signature(signed)}") + b"\r\n")
        assert connection.outgoing() == b"\r\n"
        connection.receive(b"P1 OK welcome\r\n")
        return connection

    assert play(initial_response=True).state is State.AUTHENTICATED
    assert play(initial_response=False).state is State.AUTHENTICATED


def signature(message: str) -> str:
    """The server's side, once more, from the RFC."""
    salted = hashlib.pbkdf2_hmac("sha256", b"pencil", b64decode(SALT), 4096)
    key = hmac.new(salted, b"Server Key", hashlib.sha256).digest()
    return b64encode(hmac.new(key, message.encode(), hashlib.sha256).digest()).decode()


def test_the_servers_word_for_a_refusal_reaches_the_error() -> None:
    command = auth.scram("ann", "pencil", initial_response=True)
    assert command.dialogue is not None
    first = b64decode(command.pieces[0].split(b" ")[1]).decode()  # type: ignore[union-attr]
    nonce = first.rpartition("r=")[2]
    connection = Connection()
    connection.receive(b"* OK ready\r\n")
    connection.send(command)
    connection.receive(b"+ " + packed(f"r={nonce}x,s={SALT},i=4096") + b"\r\n")
    connection.receive(b"+ " + packed("e=invalid-proof") + b"\r\n")
    (done,) = connection.receive(b"P1 NO no\r\n")

    failure = done.failure  # type: ignore[union-attr]
    assert isinstance(failure, AuthRefused)
    assert failure.status == "invalid-proof"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("pencil", "pencil"),
        ("I\u00adX", "IX"),
        ("user", "user"),
        ("USER", "USER"),
        ("\u00aa", "a"),
        ("\u2168", "IX"),
        ("p\u00a0w", "p w"),
        ("pässword", "pässword"),
        ("pa\u0308ssword", "pässword"),
        ("\u0627\u0644", "\u0627\u0644"),
    ],
)
def test_texts_are_prepared_as_rfc_4013_has_it(text: str, expected: str) -> None:
    assert prepared(text) == expected


@pytest.mark.parametrize("text", ["\u0007", "a\x00b", "\u0627\u0031", "\u0627a\u0628", "\ue000", "\ufffd"])
def test_what_cannot_be_in_a_password_is_refused_before_anything_is_sent(text: str) -> None:
    with pytest.raises(LocalError) as caught:
        Scram("ann", text)

    assert text not in str(caught.value)


@given(st.binary(max_size=300))
def test_nothing_that_a_server_says_does_any_other_harm(said: bytes) -> None:
    for raw in (said, b64encode(said)):
        with suppress(RemoteError):
            begun().answer(raw)
