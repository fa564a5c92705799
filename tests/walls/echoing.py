"""A mail server that repeats what it is told, as some do that do not like it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

Words = Callable[[str, str], str]
"""What is said to a line with its tag."""

WAYS: Mapping[str, Words] = {
    "refuses": lambda tag, line: f"{tag} NO I do not like {line}\r\n",
    "does not understand": lambda tag, line: f"{tag} BAD What is {line}?\r\n",
    "is busy": lambda tag, line: f"{tag} NO [UNAVAILABLE] try again later with {line}\r\n",
    "names a code": lambda tag, line: f"{tag} NO [AUTHENTICATIONFAILED] {line}\r\n",
    "alerts": lambda tag, line: f"* OK [ALERT] somebody said {line}\r\n{tag} NO I have told everybody\r\n",
    "hangs up": lambda _, line: f"* BYE not with {line}\r\n",
    "asks back": lambda _, line: f"+ {line}\r\n",
    "babbles": lambda _, line: f"{line}\r\n",
}


@asynccontextmanager
async def echoing(words: Words, *, says: str) -> AsyncIterator[int]:
    """Its port. Two lines of a connection are repeated, then it hangs up; where there was no tag, at once."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"* OK [CAPABILITY {says}] at your service\r\n".encode())
        repeated = 0
        try:
            while repeated < 2 and (line := (await reader.readline()).decode(errors="replace").strip()):
                tag, _, command = line.partition(" ")
                if command.upper() == "CAPABILITY":
                    writer.write(f"* CAPABILITY {says}\r\n{tag} OK done\r\n".encode())
                    continue
                said = words(tag, command or tag)
                writer.write(said.encode())
                await writer.drain()
                goes_on = tag in said or (said.startswith("+") and "AUTHENTICATE" in line)
                repeated += 1 if goes_on else 2
        except OSError:
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
        yield listening.sockets[0].getsockname()[1]
