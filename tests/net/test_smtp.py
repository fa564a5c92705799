"""One mail to a server that nobody trusts: what it is told, and what is made of its answers."""

import asyncio
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from email.message import EmailMessage
from pathlib import Path

import pytest
from net.test_tls import certificate

from postroom.errors import PostroomError
from postroom.net import smtp, tls
from postroom.net.egress import Egress
from postroom.net.model import BadAnswer, CertificateNotTrusted, Dropped, EgressRefused, NotAccepted, TooSlow
from postroom.net.smtp import Security, Server

ANYWHERE = Egress(private_allowed=True)
USUAL = {
    "": b"220 here\r\n",
    "EHLO": b"250-here\r\n250-STARTTLS\r\n250 AUTH PLAIN\r\n",
    "STARTTLS": b"220 go on\r\n",
    "AUTH": b"235 welcome\r\n",
    "MAIL": b"250 ok\r\n",
    "RCPT": b"250 ok\r\n",
    "DATA": b"354 go on\r\n",
    ".": b"250 taken\r\n",
}


@dataclass
class Place:
    port: int = 0
    said: list[str] = field(default_factory=list)  # commands; those under TLS with a star
    mails: list[bytes] = field(default_factory=list)

    def server(self, security: Security = Security.PLAIN, host: str = "127.0.0.1", **more: str) -> Server:
        return Server(host, self.port, security, **more)


@asynccontextmanager
async def serving(
    context: ssl.SSLContext | None = None,
    *,
    answers: Mapping[str, bytes | None] | None = None,
    at_once: bool = False,
) -> AsyncIterator[Place]:
    """A mail server; None among the answers: it breaks off there."""
    place, says = Place(), {**USUAL, **(answers or {})}

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        secure = "*" if at_once else ""
        if not await _answered(writer, says[""]):
            return
        while line := (await reader.readuntil(b"\r\n")).decode().strip():
            word = line.split()[0]
            place.said.append(secure + line)
            if word == "QUIT" or not await _answered(writer, says[word]):
                return
            if word == "STARTTLS":
                assert context is not None
                await writer.start_tls(context)
                secure = "*"
            if word == "DATA":
                place.mails.append(await reader.readuntil(b"\r\n.\r\n"))
                await _answered(writer, says["."])

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        talking.add(task)
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                await talk(reader, writer)
        finally:
            writer.transport.abort()

    talking = set[asyncio.Task[object]]()
    listener = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context if at_once else None)
    async with listener:
        place.port = listener.sockets[0].getsockname()[1]
        yield place
        for task in talking:
            task.cancel()
        if talking:
            await asyncio.wait(talking, timeout=5)


async def _answered(writer: asyncio.StreamWriter, answer: bytes | None) -> bool:
    if answer is not None:
        writer.write(answer)
        await writer.drain()
    return answer is not None


def mail(text: str = "hello\n") -> EmailMessage:
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = "us@example.org", "you@example.org", "übel"
    made.set_content(text)
    return made


async def test_a_mail_is_handed_over() -> None:
    async with serving() as place:
        await smtp.send(place.server(), mail("hello\n.\n..two\n"), ANYWHERE)

    assert place.said[:4] == [
        "EHLO postroom.invalid",
        "MAIL FROM:<us@example.org>",
        "RCPT TO:<you@example.org>",
        "DATA",
    ]
    [taken] = place.mails
    assert b"\r\n\r\nhello\r\n..\r\n...two\r\n.\r\n" in taken
    assert b"Subject: =?utf-8?" in taken


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """For a server that the machine trusts."""
    pem = certificate(tmp_path, "localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    ours = tls.client_context(pem)
    monkeypatch.setattr(tls, "client_context", lambda: ours)
    return context


@pytest.mark.parametrize("security", [Security.STARTTLS, Security.TLS])
async def test_a_password_goes_over_tls(trusted: ssl.SSLContext, security: Security) -> None:
    async with serving(trusted, at_once=security is Security.TLS) as place:
        server = place.server(security, "localhost", user="me", password="secret")
        await smtp.send(server, mail(), ANYWHERE)

    assert f"*AUTH PLAIN {b64encode(bytes(1) + b'me' + bytes(1) + b'secret').decode()}" in place.said
    assert len(place.mails) == 1


@pytest.mark.parametrize("security", [Security.STARTTLS, Security.TLS])
async def test_a_server_that_is_not_trusted_gets_neither_password_nor_mail(
    tmp_path: Path, security: Security
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate(tmp_path, "localhost"))
    async with serving(context, at_once=security is Security.TLS) as place:
        server = place.server(security, "localhost", user="me", password="secret")
        with pytest.raises(CertificateNotTrusted):
            await smtp.send(server, mail(), ANYWHERE)

    assert not any("AUTH" in said or "MAIL" in said for said in place.said)


async def test_without_starttls_nothing_is_said_in_the_clear() -> None:
    async with serving(answers={"STARTTLS": b"502 no\r\n"}) as place:
        with pytest.raises(NotAccepted):
            await smtp.send(place.server(Security.STARTTLS, user="me", password="x"), mail(), ANYWHERE)

    assert place.said == ["EHLO postroom.invalid", "STARTTLS"]


async def test_what_is_slipped_in_before_tls_is_not_believed(trusted: ssl.SSLContext) -> None:
    async with serving(trusted, answers={"STARTTLS": b"220 go on\r\n250 slipped in\r\n"}) as place:
        with pytest.raises(BadAnswer, match="in the clear"):
            await smtp.send(place.server(Security.STARTTLS, "localhost"), mail(), ANYWHERE)


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        ({"": b"554 go away\r\n"}, NotAccepted),
        ({"RCPT": b"550 nobody\r\n"}, NotAccepted),
        ({".": b"451 later\r\n"}, NotAccepted),
        ({"": b"HTTP/1.1 400 Bad Request\r\n"}, BadAnswer),
        ({"EHLO": b"250-more\r\n" * 1000}, BadAnswer),
        ({"EHLO": b"250-" + b"x" * 100_000 + b"\r\n"}, BadAnswer),
        ({"MAIL": None}, Dropped),
        ({"": None}, Dropped),
    ],
)
async def test_anything_else_is_an_error(
    answers: Mapping[str, bytes | None], error: type[PostroomError]
) -> None:
    async with serving(answers=answers) as place:
        with pytest.raises(error):
            await smtp.send(place.server(), mail(), ANYWHERE)


async def test_a_server_that_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smtp, "LIMIT", timedelta(milliseconds=100))
    async with serving(answers={"EHLO": b""}) as place:
        with pytest.raises(TooSlow):
            await smtp.send(place.server(), mail(), ANYWHERE)


async def test_the_guard_is_asked() -> None:
    async with serving() as place:
        with pytest.raises(EgressRefused):
            await smtp.send(place.server(), mail(), Egress(private_allowed=False))

    assert place.said == []
