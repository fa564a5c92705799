"""A raw socket that plays transcripts: `C:` lines are sent, `S:` lines must come back.

`...` in an `S:` line stands for anything; a bare `S:` is an empty line, or the end of the connection. The
order of the server's lines is part of the promise.
"""

import asyncio
import re
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from textwrap import dedent

from postroom.lab import LabServer

LIMIT = 10
LONGEST_LINE = 1 << 20


class Talk:
    """One connection."""

    def __init__(self, reader: StreamReader, writer: StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def play(self, transcript: str) -> None:
        """Both sides of a conversation."""
        for line in dedent(transcript).strip().splitlines():
            speaker, text = line[:2], line[3:]
            match speaker:
                case "C:":
                    await self.say(text)
                case "S:":
                    heard = await self.hear()
                    expected = ".*".join(re.escape(piece) for piece in text.split("..."))
                    assert re.fullmatch(expected, heard), f"expected {text!r}, heard {heard!r}"
                case _:
                    raise AssertionError(f"who says {line!r}?")

    async def say(self, text: str) -> None:
        self.writer.write(text.encode() + b"\r\n")
        await self.writer.drain()

    async def hear(self) -> str:
        """One line of the server; empty when it has hung up."""
        async with asyncio.timeout(LIMIT):
            return (await self.reader.readline()).decode("utf-8", "replace").removesuffix("\r\n")

    async def ask(self, command: str) -> list[str]:
        """Send a command, return all lines up to its completion, the last included."""
        tag = command.partition(" ")[0]
        await self.say(command)
        lines = []
        while True:
            line = await self.hear()
            lines.append(line)
            if line.startswith(f"{tag} ") or self.reader.at_eof():
                return lines

    async def sign_in(self, server: LabServer, folder: str | None = None) -> None:
        assert (await self.hear()).startswith("* OK")
        signed_in = await self.ask(f'in LOGIN {server.address} "{server.password}"')
        assert signed_in[-1].startswith("in OK")
        if folder:
            selected = await self.ask(f'sel SELECT "{folder}"')
            assert selected[-1].startswith("sel OK")


@asynccontextmanager
async def talk(server: LabServer) -> AsyncIterator[Talk]:
    reader, writer = await asyncio.open_connection(server.host, server.port, limit=LONGEST_LINE)
    try:
        yield Talk(reader, writer)
    finally:
        writer.close()


@asynccontextmanager
async def signed_in(server: LabServer, folder: str | None = None) -> AsyncIterator[Talk]:
    async with talk(server) as client:
        await client.sign_in(server, folder)
        yield client
