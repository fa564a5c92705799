"""TLS from the first byte and by STARTTLS, and whoever would rather have neither."""

import asyncio
import socket
import ssl

import pytest
from imap.scripted import client_context, serving

from postroom.imap import aio, commands
from postroom.imap.aio import StartTls
from postroom.imap.errors import Disconnected, Insecure
from postroom.imap.framing import Limits, Spool
from postroom.imap.responses import Fetch

OFFER = "S: * OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] ready\nC: TAG STARTTLS\n"
GRANTED = OFFER + "S: TAG OK begin\n<tls>\nC: TAG CAPABILITY\nS: * CAPABILITY IMAP4rev1\nS: TAG OK\n"
LOGIN = 'C: TAG LOGIN "ann" "secret"\nS: TAG OK [CAPABILITY IMAP4rev1]\n'
GOODBYE = "C: TAG LOGOUT\nS: TAG OK\n"


async def test_tls_from_the_first_byte() -> None:
    script = "<tls>\nS: * OK [CAPABILITY IMAP4rev1] ready\n" + LOGIN + GOODBYE
    async with (
        serving(script) as server,
        aio.connect("127.0.0.1", server.port, tls=client_context()) as session,
    ):
        await session.log_in("ann", "secret")

        assert session.encrypted


async def test_starttls_asks_again_what_the_server_can_do() -> None:
    async with (
        serving(GRANTED + LOGIN + GOODBYE) as server,
        aio.connect("127.0.0.1", server.port, tls=client_context(), starttls=StartTls.REQUIRE) as session,
    ):
        assert session.capabilities == frozenset({"IMAP4REV1"})
        await session.log_in("ann", "secret")

        assert session.encrypted


@pytest.mark.parametrize("starttls", [StartTls.REQUIRE, StartTls.AUTO])
@pytest.mark.parametrize("answer", ["NO not now", "BAD what?"])
async def test_starttls_refused_is_never_answered_with_clear_text(answer: str, starttls: StartTls) -> None:
    async with serving(OFFER + f"S: TAG {answer}") as server:
        with pytest.raises(Insecure):
            async with aio.connect("127.0.0.1", server.port, tls=client_context(), starttls=starttls):
                pass

    assert len(server.received) == 1


async def test_text_injected_behind_the_starttls_answer_ends_the_session() -> None:
    script = OFFER + "S: TAG OK begin\\r\\n* CAPABILITY IMAP4rev1 AUTH=PLAIN\n<tls>"
    async with serving(script) as server:
        with pytest.raises(Insecure):
            async with aio.connect("127.0.0.1", server.port, tls=client_context(), starttls=StartTls.REQUIRE):
                pass

    assert len(server.received) == 1


async def test_preauth_ends_the_session_when_tls_is_required() -> None:
    async with serving("S: * PREAUTH [CAPABILITY IMAP4rev1 STARTTLS] welcome") as server:
        with pytest.raises(Insecure):
            async with aio.connect("127.0.0.1", server.port, tls=client_context(), starttls=StartTls.REQUIRE):
                pass

    assert server.received == []


async def test_tls_if_offered_stays_in_the_clear_if_not() -> None:
    script = "S: * OK [CAPABILITY IMAP4rev1] ready\n" + GOODBYE
    async with (
        serving(script) as server,
        aio.connect("127.0.0.1", server.port, tls=client_context(), starttls=StartTls.AUTO) as session,
    ):
        assert not session.encrypted


@pytest.mark.parametrize("starttls", [StartTls.OFF, StartTls.REQUIRE])
async def test_a_certificate_that_is_not_trusted_is_refused(starttls: StartTls) -> None:
    script = "<tls>\nS: * OK" if starttls is StartTls.OFF else OFFER + "S: TAG OK\n<tls>"
    async with serving(script) as server:
        with pytest.raises(ssl.SSLCertVerificationError):
            async with aio.connect(
                "127.0.0.1", server.port, tls=ssl.create_default_context(), starttls=starttls
            ):
                pass


async def test_a_certificate_for_another_name_is_refused() -> None:
    async with serving("<tls>\nS: * OK") as server:
        sock = await _connected(server.port)
        with pytest.raises(ssl.SSLCertVerificationError, match=r"mail\.example"):
            async with aio.connect("mail.example", server.port, tls=client_context(), sock=sock):
                pass


async def test_a_server_that_hangs_up_inside_tls_is_gone() -> None:
    script = "<tls>\nS: * OK [CAPABILITY IMAP4rev1] ready\nC: TAG NOOP\n<close>"
    async with (
        serving(script) as server,
        aio.connect("127.0.0.1", server.port, tls=client_context()) as session,
    ):
        with pytest.raises(Disconnected):
            await session.run(commands.noop())


async def test_a_large_message_over_tls_is_exact() -> None:
    body = "".join(f"line {number} of a mail ~ " for number in range(10_000))
    script = f"""
    <tls>
    S: * PREAUTH [CAPABILITY IMAP4rev1] ready
    C: TAG SELECT "INBOX"
    S: * 1 EXISTS
    S: TAG OK done
    C: TAG UID FETCH 1 (UID BODY.PEEK[])
    S: * 1 FETCH (UID 1 BODY[] {{{len(body)}}}\\r\\n{body})
    S: TAG OK done
    """
    limits = Limits(spool_over=100_000)
    async with (
        serving(script + GOODBYE) as server,
        aio.connect("127.0.0.1", server.port, tls=client_context(), limits=limits) as session,
    ):
        await session.run(commands.select(b"INBOX"))
        done = await session.run(commands.uid_fetch("1", ["BODY.PEEK[]"]))

    (said,) = done.responses
    assert isinstance(said, Fetch)
    assert isinstance(said.body, Spool)
    assert said.body.read().decode() == body


async def _connected(port: int) -> socket.socket:
    sock = socket.socket()
    sock.setblocking(False)  # noqa: FBT003
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    return sock
