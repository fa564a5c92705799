"""Where connections may go, and what is said when they cannot."""

import asyncio
import os
import resource
import socket
import threading
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

import pytest

from postroom.net.egress import Egress, connect, is_public
from postroom.net.model import ConnectTimeout, EgressRefused, PortClosed, UnknownHost

ANYWHERE = Egress(private_allowed=True)
PUBLIC_ONLY = Egress(private_allowed=False)

FORBIDDEN = """
    0.0.0.0 0.1.2.3 10.0.0.1 100.64.0.1 127.0.0.1 127.255.255.254 169.254.169.254 172.16.0.1 172.31.255.255
    192.0.0.1 192.0.2.1 192.168.0.1 198.18.0.1 198.51.100.7 203.0.113.9 224.0.0.1 240.0.0.1 255.255.255.255
    :: ::1 ::7f00:1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 64:ff9b::7f00:1 64:ff9b::a00:1
    64:ff9b:1::808:808 2002:7f00:1:: 2002:a00:1::1 2002:c0a8:101:: 2001:0:4136:e378:8000:63bf:3fff:fdd2
    100::1 2001:db8::1 fc00::1 fd00:ec2::254 fe80::1 fe80::1%eth0 2606:4700::1%eth0 fec0::1 ff02::1
"""
ALLOWED = "1.1.1.1 8.8.8.8 142.250.1.108 ::ffff:8.8.8.8 64:ff9b::808:808 2002:808:808:: 2606:4700::6810:84e5"


@pytest.mark.parametrize("text", FORBIDDEN.split())
def test_an_inner_address_is_not_public_however_it_is_wrapped(text: str) -> None:
    assert not is_public(ip_address(text))
    assert not PUBLIC_ONLY.allows(ip_address(text))
    assert ANYWHERE.allows(ip_address(text))


@pytest.mark.parametrize("text", ALLOWED.split())
def test_an_address_of_the_open_internet_is_public(text: str) -> None:
    assert is_public(ip_address(text))


@pytest.fixture
def canary() -> Iterator[socket.socket]:
    """A listener on loopback that nobody may reach unless the policy says so."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0)
        yield listener


FORMS = [
    "127.0.0.1",
    "localhost",
    "0",
    "0.0.0.0",
    "127.1",
    "2130706433",
    "0x7f000001",
    "0177.0.0.1",
    "0x7f.1",
]


@pytest.mark.parametrize("host", [*FORMS, "::ffff:127.0.0.1", "::", "::1"])
async def test_no_way_of_writing_loopback_gets_past_the_policy(host: str, canary: socket.socket) -> None:
    port = canary.getsockname()[1]

    with pytest.raises((EgressRefused, UnknownHost)):
        await connect(host, port, PUBLIC_ONLY)

    with pytest.raises(BlockingIOError):
        canary.accept()


async def test_one_forbidden_address_among_several_refuses_them_all(
    monkeypatch: pytest.MonkeyPatch, canary: socket.socket
) -> None:
    resolves_to(monkeypatch, "8.8.8.8", "127.0.0.1")

    with pytest.raises(EgressRefused):
        await connect("rebind.example", canary.getsockname()[1], PUBLIC_ONLY)


async def test_the_name_is_resolved_once_and_the_checked_address_used(
    monkeypatch: pytest.MonkeyPatch, canary: socket.socket
) -> None:
    asked = resolves_to(monkeypatch, "127.0.0.1")

    (await connect("mail.example", canary.getsockname()[1], ANYWHERE)).close()

    assert asked == ["mail.example"]


async def test_an_address_that_refuses_does_not_keep_us_from_the_next(
    monkeypatch: pytest.MonkeyPatch, canary: socket.socket
) -> None:
    resolves_to(monkeypatch, "127.0.0.2", "127.0.0.1")

    with await connect("mail.example", canary.getsockname()[1], ANYWHERE) as made:
        assert made.getpeername() == canary.getsockname()


async def test_a_connection_has_no_delay_and_notices_a_dead_peer(canary: socket.socket) -> None:
    with await connect("127.0.0.1", canary.getsockname()[1], ANYWHERE) as made:
        assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert made.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert made.gettimeout() == 0


async def test_a_closed_port_says_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    with pytest.raises(PortClosed, match=f"Nothing listens on port {port} of 127.0.0.1"):
        await connect("127.0.0.1", port, ANYWHERE)


async def test_name_servers_that_do_not_answer_hold_up_neither_others_nor_other_threads(
    canary: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual, answering = socket.getaddrinfo, threading.Event()

    def answer(host: str, *given: Any, **named: Any) -> list[Any]:
        if host.startswith("mute"):
            answering.wait(20)
        return list(usual("127.0.0.1", *given, **named))

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    port = canary.getsockname()[1]
    waiting = [asyncio.create_task(connect(f"mute{n}.example", port, ANYWHERE)) for n in range(40)]
    try:
        async with asyncio.timeout(10):
            (await connect("127.0.0.1", port, ANYWHERE)).close()
            assert await asyncio.to_thread(int, "1") == 1
    finally:
        answering.set()
    for made in await asyncio.gather(*waiting):
        made.close()


async def test_a_process_that_has_too_many_files_says_so(canary: socket.socket) -> None:
    port = canary.getsockname()[1]
    (await connect("127.0.0.1", port, ANYWHERE)).close()  # with a thread that resolves names
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    spare = os.dup(0)
    os.close(spare)
    resource.setrlimit(resource.RLIMIT_NOFILE, (spare, hard))
    try:
        with pytest.raises(PortClosed, match="Too many open files"):
            await connect("127.0.0.1", port, ANYWHERE)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("host", ["", "no such host", "a\0b", "x" * 300, "no-such-host.invalid", "ä" * 64])
async def test_what_is_no_host_says_so(host: str) -> None:
    with pytest.raises(UnknownHost):
        await connect(host, 143, ANYWHERE)


@pytest.mark.parametrize("port", [0, -1, 65536, 10**9])
async def test_what_is_no_port_says_so(port: int) -> None:
    with pytest.raises(PortClosed, match="There is no port"):
        await connect("127.0.0.1", port, ANYWHERE)


async def test_a_port_that_is_not_on_the_list_is_refused(canary: socket.socket) -> None:
    with pytest.raises(EgressRefused):
        await connect(
            "127.0.0.1", canary.getsockname()[1], Egress(private_allowed=True, ports=frozenset({143, 993}))
        )


async def test_a_host_that_never_answers_ends_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("postroom.net.egress.CONNECT_LIMIT", 0.05)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        port = full.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.settimeout(0)
            filler.connect_ex(("127.0.0.1", port))
        with pytest.raises(ConnectTimeout, match="did not answer"):
            await connect("127.0.0.1", port, ANYWHERE)
        for filler in fillers:
            filler.close()


async def test_a_cancelled_connect_leaves_no_socket_open(canary: socket.socket) -> None:
    task = asyncio.create_task(connect("127.0.0.1", canary.getsockname()[1], ANYWHERE))
    await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


def resolves_to(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> list[str]:
    """Let the name server, which is a stranger, answer with these addresses; returns what it was asked."""
    asked: list[str] = []

    def answer(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    return asked
