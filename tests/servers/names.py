"""A name server on loopback, over UDP and TCP, that says what a test wants, and how it misbehaves."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import dns.asyncresolver
import dns.flags
import dns.message
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.resolver
import dns.rrset
import pytest

from postroom.net.names import Names

FITS = 512  # bytes of an answer over UDP (RFC 1035, 4.2.1)
Twist = Callable[[bytes], bytes]


@dataclass(slots=True)
class NameServer:
    """`zone`: name without the last dot, and type -> texts of its records. What is not there is NXDOMAIN.

    `turns`: what the next questions are told instead, one after the other.
    """

    port: int = 0
    zone: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    turns: dict[tuple[str, str], list[list[str]]] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    silent: bool = False
    twist: Twist = bytes  # what becomes of each answer on the wire

    @property
    def names(self) -> Names:
        """Those who ask this server and no other."""
        resolver = dns.asyncresolver.Resolver(configure=False)
        resolver.nameservers, resolver.port = ["127.0.0.1"], self.port
        resolver.timeout = 0.5
        return Names(resolver)

    def answer(self, raw: bytes) -> dns.message.Message:
        query = dns.message.from_wire(raw)
        question = query.question[0]
        name, kind = question.name.to_text(omit_final_dot=True), dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind))
        answer = dns.message.make_response(query)
        for step in self._chain(name):
            for found in (kind, "CNAME"):
                if texts := self._told(step, found):
                    answer.answer.append(dns.rrset.from_text(f"{step}.", 60, "IN", found, *texts))
        if not any(known == name for known, _ in self.zone):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        return answer

    def _told(self, name: str, kind: str) -> list[str]:
        coming = self.turns.get((name, kind))
        return coming.pop(0) if coming else self.zone.get((name, kind), [])

    def _chain(self, name: str) -> list[str]:
        """The name, and what it is another name for."""
        steps = [name]
        while (found := self.zone.get((steps[-1], "CNAME"))) and len(steps) < 40:
            steps.append(found[0].rstrip("."))
        return list(dict.fromkeys(steps))

    async def serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raw = await reader.readexactly(int.from_bytes(await reader.readexactly(2)))
        if not self.silent:
            wire = self.twist(self.answer(raw).to_wire())
            writer.write(len(wire).to_bytes(2) + wire)
            await writer.drain()
        writer.close()


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, server: NameServer) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, address: object) -> None:
        answer = self._server.answer(data)
        if self._server.silent:
            return
        wire = answer.to_wire()
        if len(wire) > FITS:
            answer.answer.clear()
            answer.flags |= dns.flags.TC
            wire = answer.to_wire()
        self._transport.sendto(self._server.twist(wire), address)  # type: ignore[attr-defined]


def asking(monkeypatch: pytest.MonkeyPatch, server: NameServer) -> None:
    """Let this machine's resolver ask this server for every name: what no way of writing an address is."""
    usual = socket.getaddrinfo
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers, resolver.port = ["127.0.0.1"], server.port

    def answer(
        host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> list[Any]:
        del flags
        with suppress(socket.gaierror):
            return usual(host, port, family, type, proto, socket.AI_NUMERICHOST)
        name = host.encode("idna").decode().rstrip(".").lower()
        found: list[Any] = []
        for kind in ("A", "AAAA"):
            with suppress(dns.exception.DNSException):
                for each in resolver.resolve(f"{name}.", kind, raise_on_no_answer=False).rrset or ():
                    found += usual(str(each), port, family, type, proto, socket.AI_NUMERICHOST)
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return found

    monkeypatch.setattr(socket, "getaddrinfo", answer)


@asynccontextmanager
async def name_server() -> AsyncIterator[NameServer]:
    """Serve until the block ends."""
    server = NameServer()
    listener = await asyncio.start_server(server.serve_tcp, "127.0.0.1", 0)
    server.port = listener.sockets[0].getsockname()[1]
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: _Udp(server), ("127.0.0.1", server.port)
    )
    try:
        yield server
    finally:
        transport.close()
        listener.close()
