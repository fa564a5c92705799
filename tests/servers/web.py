"""Web servers on loopback, with certificates of a private authority, and names that lead to them.

Where a name leads is what the machine's resolver says, a stranger: `leading` puts words in its mouth.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from net.test_tls import certificate

Answering: TypeAlias = Callable[[asyncio.StreamWriter], Awaitable[None]]
Place: TypeAlias = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Authority:
    """Who signs the certificates of a test."""

    folder: Path
    pem: Path

    @classmethod
    def made(cls, folder: Path) -> "Authority":
        return cls(folder, certificate(folder, "authority.example"))

    def context(self, name: str) -> ssl.SSLContext:
        """For a server of this name."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate(self.folder, name, signed_by=self.pem))
        return context


def page(body: bytes, *, status: str = "200 OK", headers: str = "") -> Answering:
    """An ordinary answer."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}Connection: close\r\n\r\n"
        writer.write(head.encode() + body)

    return answer


@dataclass(slots=True)
class Site:
    port: int
    asked: list[str]  # the first lines of the requests


@asynccontextmanager
async def site(
    context: ssl.SSLContext | None, pages: Mapping[str, Answering], address: str = "127.0.0.1"
) -> AsyncIterator[Site]:
    """Answer by path, the query apart; what is not there is 404."""
    here = Site(0, [])

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            first, *_ = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
            here.asked.append(first)
            path = first.split()[1].partition("?")[0]
            await pages.get(path, page(b"", status="404 Not Found"))(writer)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    listener = await asyncio.start_server(serve, address, 0, ssl=context)
    here.port = listener.sockets[0].getsockname()[1]
    try:
        yield here
    finally:
        listener.close()


def leading(monkeypatch: pytest.MonkeyPatch, places: Mapping[Place, Place]) -> list[str]:
    """Let these hosts and ports lead to those addresses; other hosts do not exist. Returns what was asked."""
    asked: list[str] = []

    def answer(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        asked.append(host)
        if (host, port) not in places:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", places[host, port])]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    return asked
