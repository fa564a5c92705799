"""What a comparison costs besides time: processor time, statements, turns of a conversation."""

import asyncio
import os
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
STATEMENT = re.compile(rb"LOG:  (statement|execute [^:]*):\s*(\S+)")


def processor(root: int) -> float:
    """Seconds that a process has used with all its descendants, those that have ended as well."""
    spent, children = dict[int, float](), dict[int, list[int]]()
    for pid, fields in _stats():
        spent[pid] = sum(map(int, fields[11:15])) / TICK  # user, system, and both of children waited for
        children.setdefault(int(fields[1]), []).append(pid)
    found, waiting = 0.0, [root]
    while waiting:
        pid = waiting.pop()
        found += spent.get(pid, 0.0)
        waiting += children.get(pid, ())
    return found


def _stats() -> Iterator[tuple[int, list[str]]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                text = (entry / "stat").read_text()
            except OSError:  # it has just ended
                continue
            yield int(entry.name), text[text.rindex(")") + 2 :].split()


@dataclass(slots=True)
class Conversations:
    """What went through a proxy."""

    connections: int = 0
    commands: int = 0  # lines of the client's
    turns: int = 0  # times that the client waited for the server


@asynccontextmanager
async def listening(host: str, port: int) -> AsyncIterator[tuple[int, Conversations]]:
    """A proxy before an IMAP server, by its port, and what it has seen. Nothing that is sent has literals."""
    seen = Conversations()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.connections += 1
        far_reader, far_writer = await asyncio.open_connection(host, port)
        has_answered = True

        async def ask() -> None:
            nonlocal has_answered
            while data := await reader.read(1 << 16):
                seen.commands += data.count(b"\r\n")
                seen.turns += has_answered
                has_answered = False
                far_writer.write(data)
            far_writer.close()

        async def answer() -> None:
            nonlocal has_answered
            while data := await far_reader.read(1 << 16):
                has_answered = True
                writer.write(data)
            writer.close()

        await asyncio.gather(ask(), answer(), return_exceptions=True)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], seen


def statements(log: bytes) -> tuple[int, int]:
    """Of a PostgreSQL's log of all statements: how many, and how many of them are COMMIT.

    A driver that does not pipeline makes a round trip of each.
    """
    words = [match[2].upper() for match in STATEMENT.finditer(log)]
    return len(words), sum(word.startswith(b"COMMIT") for word in words)
