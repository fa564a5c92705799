"""Hand one mail to an SMTP server (RFC 5321): for the operator's own, who names it in the settings.

    greeting ─ EHLO ─ [STARTTLS ─ EHLO] ─ [AUTH PLAIN] ─ MAIL ─ RCPT ─ DATA ─ QUIT

A password goes over TLS only. What a server answers is bounded in lines, bytes and time.
"""

import asyncio
import re
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from email.message import EmailMessage
from email.policy import SMTP
from enum import StrEnum

from postroom.net import egress, tls
from postroom.net.egress import Egress
from postroom.net.model import BadAnswer, Dropped, NotAccepted, TooSlow

LIMIT = timedelta(seconds=30)
LONGEST_LINE = 4096  # bytes; RFC 5321, 4.5.3.1.5 has 512
MOST_LINES = 100
CODE = re.compile(r"[2-5]\d\d[ -]?")


class Security(StrEnum):
    TLS = "tls"
    STARTTLS = "starttls"
    PLAIN = "plain"


@dataclass(frozen=True, slots=True)
class Server:
    """Where to, and as whom. Without a user nobody logs in."""

    host: str
    port: int
    security: Security
    user: str | None = None
    password: str | None = field(default=None, repr=False)


async def send(server: Server, mail: EmailMessage, allowed: Egress) -> None:
    """From its From to its To. Raises `NotAccepted`, and what `net.client.Client.send` raises.

    After `Dropped`, `TooSlow` and `BadAnswer` the server may have taken it.
    """
    try:
        async with asyncio.timeout(LIMIT.total_seconds()), _connected(server, allowed) as talk:
            await talk.log_in()
            await talk.hand_over(mail)
    except TimeoutError as error:
        raise TooSlow(f"{server.host} did not take the mail in time.", host=server.host) from error
    except (OSError, asyncio.IncompleteReadError) as error:
        raise Dropped(f"The connection to {server.host} was lost.", host=server.host) from error


class _Talk:
    def __init__(self, server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._server, self._reader, self._writer = server, reader, writer

    async def log_in(self) -> None:
        server = self._server
        if server.security is Security.TLS:
            await self._secure()
        await self._answer("2")
        await self._hello()
        if server.security is Security.STARTTLS:
            await self._said("STARTTLS", "2")
            await self._nothing_more()
            await self._secure()
            await self._hello()
        if server.user is not None:
            secret = f"\0{server.user}\0{server.password or ''}".encode()
            await self._said(f"AUTH PLAIN {b64encode(secret).decode()}", "2")

    async def hand_over(self, mail: EmailMessage) -> None:
        await self._said(f"MAIL FROM:<{_address(mail, 'From')}>", "2")
        await self._said(f"RCPT TO:<{_address(mail, 'To')}>", "2")
        await self._said("DATA", "3")
        lines = mail.as_bytes(policy=SMTP).split(b"\r\n")
        body = b"\r\n".join(b"." + line if line.startswith(b".") else line for line in lines)
        self._writer.write(body.removesuffix(b"\r\n") + b"\r\n.\r\n")
        await self._answer("2")
        self._writer.write(b"QUIT\r\n")  # whatever it says to that: it has the mail

    async def _hello(self) -> None:
        await self._said("EHLO postroom.invalid", "2")

    async def _secure(self) -> None:
        with tls.handshake_with(self._server.host):
            await self._writer.start_tls(tls.client_context(), server_hostname=self._server.host)

    async def _said(self, command: str, wanted: str) -> None:
        self._writer.write(command.encode() + b"\r\n")
        await self._answer(wanted)

    async def _nothing_more(self) -> None:
        """What somebody in between sent along in the clear would count as said under TLS."""
        with suppress(TimeoutError):
            async with asyncio.timeout(0):
                await self._reader.read(1)
                host = self._server.host
                raise BadAnswer(f"{host} goes on in the clear after STARTTLS.", host=host)

    async def _answer(self, wanted: str) -> None:
        """The next answer, of one line or several (RFC 5321, 4.2). `wanted`: the first digit of its code."""
        host = self._server.host
        for _ in range(MOST_LINES):
            try:
                line = (await self._reader.readuntil(b"\n")).decode("ascii", "replace").strip()
            except asyncio.LimitOverrunError as error:
                raise BadAnswer(f"{host} answers with a line without end.", host=host) from error
            if not CODE.match(line):
                raise BadAnswer(f"{host} does not speak SMTP.", host=host)
            if line[3:4] != "-":
                break
        else:
            raise BadAnswer(f"{host} answers without end.", host=host)
        if line[0] != wanted:
            raise NotAccepted(f"{host} did not take the mail ({line[:3]}).", host=host, status=line[:3])


@asynccontextmanager
async def _connected(server: Server, allowed: Egress) -> AsyncIterator[_Talk]:
    with ExitStack() as stack:
        sock = stack.enter_context(await egress.connect(server.host, server.port, allowed))
        reader, writer = await asyncio.open_connection(sock=sock, limit=LONGEST_LINE)
        stack.pop_all()
    try:
        yield _Talk(server, reader, writer)
    finally:
        writer.close()


def _address(mail: EmailMessage, header: str) -> str:
    [address] = mail[header].addresses
    return f"{address.username}@{address.domain}"
