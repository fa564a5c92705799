"""A server that plays a transcript on a loopback socket, and checks what the client says.

`S:` lines are sent. `C:` lines are what must come, where `TAG` stands for the client's tag and `S: TAG`
for the latest one. `<tls>` begins TLS, `<close>` ends the connection, `<wait>` waits for the test's `go`.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

CERTIFICATE = Path(__file__).with_name("localhost.pem")  # with its key; for localhost and 127.0.0.1


def server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


def client_context() -> ssl.SSLContext:
    """Trusts that certificate and no other."""
    return ssl.create_default_context(cafile=CERTIFICATE)


class ScriptedServer:
    def __init__(self, script: str, context: ssl.SSLContext | None = None) -> None:
        self.context = context
        self.script = [line.strip() for line in script.strip().splitlines() if line.strip()]
        self.port = 0
        self.received: list[bytes] = []
        self.problem: str | None = None
        self.go, self.done = asyncio.Event(), asyncio.Event()

    async def play(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tag = "*"
        try:
            for line in self.script:
                who, text = line.split(": ", 1) if ": " in line else (line, "")
                if who == "<close>":
                    break
                if who == "<tls>":
                    assert self.context is not None
                    await writer.start_tls(self.context)
                    continue
                if who == "<wait>":
                    await self.go.wait()
                    continue
                if who == "S":
                    writer.write(text.replace("TAG", tag).replace("\\r\\n", "\r\n").encode() + b"\r\n")
                    await writer.drain()
                    continue
                raw = await reader.readline()
                self.received.append(raw)
                if "TAG" in text:
                    tag = raw.split(b" ", 1)[0].decode()
                if raw.rstrip(b"\r\n").decode() != text.replace("TAG", tag):
                    self.problem = f"expected {text!r}, got {raw!r}"
                    break
            else:
                await reader.read()
        except (ConnectionError, ssl.SSLError):
            pass  # the client left; what it said until then counts
        finally:
            writer.close()
            self.done.set()


@asynccontextmanager
async def serving(script: str) -> AsyncIterator[ScriptedServer]:
    played = ScriptedServer(script, server_context())
    server = await asyncio.start_server(played.play, "127.0.0.1", 0)
    played.port = server.sockets[0].getsockname()[1]
    try:
        yield played
        async with asyncio.timeout(5):
            await played.done.wait()
    finally:
        server.close()
        await server.wait_closed()
    assert played.problem is None, played.problem
