"""A server that says exactly what a test wants said, for answers that no lab should have to know."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from postroom.net.egress import Egress
from postroom.providers.imap.provider import ImapProvider
from postroom.providers.model import Login, Mailbox

PROVIDER = ImapProvider(Egress(private_allowed=True))
Answer = str | Callable[[str], str]

USUAL: dict[str, Answer] = {
    "LOGIN": "OK in",
    "LIST": '* LIST () "/" INBOX\nOK listed',
    "EXAMINE": "* 3 EXISTS\n* OK [UIDVALIDITY 7] v\n* OK [UIDNEXT 10] n\n"
    "* OK [HIGHESTMODSEQ 50] m\nOK [READ-ONLY] open",
    "LOGOUT": "* BYE\nOK out",
}


class Fake:
    """Answers by the name of the command; the last line of an answer is the tagged one.

    A function gets the whole command, without its tag.
    """

    def __init__(self, capabilities: str, answers: dict[str, Answer]) -> None:
        self.said: list[str] = []
        self._answers = USUAL | {"CAPABILITY": f"* CAPABILITY IMAP4rev1 {capabilities}\nOK"} | answers

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"* OK hello\r\n")
        while line := await reader.readline():
            tag, _, command = line.decode().strip().partition(" ")
            self.said.append(command)
            *untagged, last = re.split(r"(?<!\r)\n", self._answer(command))  # literals hold CRLF
            for one in untagged:
                writer.write(one.encode() + b"\r\n")
            writer.write(f"{tag} {last}\r\n".encode())
            await writer.drain()
        writer.close()

    def _answer(self, command: str) -> str:
        words = command.split(" ")
        name = " ".join(words[:2]) if words[0] == "UID" else words[0]
        answer = self._answers.get(name, "BAD unknown command")
        return answer if isinstance(answer, str) else answer(command)


@asynccontextmanager
async def speaking(
    answers: dict[str, Answer] | None = None, *, capabilities: str = "", username: str = "ann"
) -> AsyncIterator[tuple[Fake, Mailbox]]:
    """A logged-in mailbox on a server with these answers."""
    fake = Fake(capabilities, answers or {})
    async with await asyncio.start_server(fake.serve, "127.0.0.1", 0) as server:
        settings = {"host": "127.0.0.1", "port": server.sockets[0].getsockname()[1], "security": "plain"}
        async with PROVIDER.open(Login(username, settings, "right")) as mailbox:
            yield fake, mailbox
