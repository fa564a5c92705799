"""Every TCP connection that leaves this installation begins here.

    host ──resolve──> addresses ──check each──> connect to one of *those*

The name is resolved once and the socket goes to the very address that was checked, so that a name server
that answers differently the second time gains nothing. One forbidden address among several refuses them all.
"""

import asyncio
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any

from postroom.net.model import ConnectTimeout, EgressRefused, PortClosed, UnknownHost

CONNECT_LIMIT = 30  # seconds, for resolving and all addresses together
HEAD_START = 0.25  # seconds that one address has before the next is tried beside it (RFC 8305, 5)
MOST_ADDRESSES = 8
KEEP_ALIVE = 60  # seconds of silence before the kernel asks; some networks forget who was silent for longer

NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052
ISATAP = {0x0000_5EFE, 0x0200_5EFE}  # the upper half of an interface's id, RFC 5214, 6.1
NOWHERE: tuple[IPv4Network | IPv6Network, ...] = (
    IPv6Network("64:ff9b:1::/48"),  # NAT64 of the local network, RFC 8215
    IPv6Network("2001::/32"),  # Teredo
    IPv6Network("::/96"),  # IPv4-compatible, long deprecated
    IPv6Network("3fff::/20"),  # for examples (RFC 9637), which Python learns of in 3.13
    # What follows is public by its register, and answered by the cloud or the network that one stands in.
    IPv4Network("168.63.129.16/32"),  # Azure: the agent of virtual machines
    IPv4Network(
        "192.0.0.0/24"
    ),  # protocols' own (RFC 6890); 192.0.0.192 tells a machine of Oracle's its keys
    IPv4Network("192.31.196.0/24"),  # AS112, RFC 7535
    IPv4Network("192.52.193.0/24"),  # AMT, RFC 7450
    IPv4Network("192.88.99.0/24"),  # relays of 6to4, RFC 7526
    IPv4Network("192.175.48.0/24"),  # AS112, RFC 7534
    IPv6Network("2620:4f:8000::/48"),  # the same
)
DISCARD = 9  # a port that nobody serves; nothing is sent to it

# Not the few threads that all else shares: whoever names hosts whose name servers never answer holds each for
# up to half a minute.
RESOLVING = ThreadPoolExecutor(64, "resolving")

Address = IPv4Address | IPv6Address
Target = tuple[socket.AddressFamily, tuple[str, int] | tuple[str, int, int, int]]


@dataclass(frozen=True, slots=True)
class Egress:
    """Where connections may go.

    Private networks are for the operator and for installations of one tenant: hosts that strangers name
    must be public, and not this machine, or this process becomes their way into the network it stands in.
    """

    private_allowed: bool
    ports: frozenset[int] | None = None  # None: any

    def allows(self, address: Address) -> bool:
        return self.private_allowed or (is_public(address) and not is_own(address))


def is_public(address: Address) -> bool:
    """Whether the address is one of the open internet, also once unwrapped from a transition mechanism."""
    if isinstance(address, IPv6Address):
        if (inner := _embedded(address)) is not None:
            return is_public(inner)
        if address.scope_id is not None or address.is_site_local:
            return False
    if any(address in network for network in NOWHERE):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_link_local)


def is_own(address: Address) -> bool:
    """Whether it is an address of this machine, also once unwrapped.

    A firewall keeps the world from what listens there, and not us. Asks for the route; nothing is sent.
    """
    if isinstance(address, IPv6Address) and (inner := _embedded(address)) is not None:
        return is_own(inner)
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as asking:
            asking.connect((str(address), DISCARD))
            return ip_address(asking.getsockname()[0]) == address
    except OSError:  # no route leads there
        return False


def _embedded(address: IPv6Address) -> IPv4Address | None:
    number = int(address)
    if address in NAT64 or (number >> 32 & 0xFFFF_FFFF) in ISATAP:
        return IPv4Address(number & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour


async def connect(host: str, port: int, egress: Egress) -> socket.socket:
    """A connected, non-blocking socket with keep-alive and without Nagle's delay; the caller closes it.

    Raises `UnknownHost`, `PortClosed`, `ConnectTimeout` or `EgressRefused`.
    """
    if not 0 < port < 65536:
        raise PortClosed(f"There is no port {port}; ports go from 1 to 65535.", host=host, port=port)
    if egress.ports is not None and port not in egress.ports:
        raise EgressRefused(f"Port {port} is not one that postroom may connect to.", host=host, port=port)
    try:
        async with asyncio.timeout(CONNECT_LIMIT):
            targets = await _resolve(host, port, egress)
            return await _first(targets, host, port)
    except TimeoutError as error:
        raise ConnectTimeout(
            f"{host} did not answer on port {port} within {CONNECT_LIMIT} seconds.", host=host, port=port
        ) from error


async def _resolve(host: str, port: int, egress: Egress) -> Sequence[Target]:
    try:
        found = await asyncio.get_running_loop().run_in_executor(RESOLVING, _asked, host, port)
    except (socket.gaierror, ValueError) as error:  # ValueError: not a name at all
        raise UnknownHost(_unknown(host, error), host=host) from error
    targets: dict[Target, None] = {}
    for family, _, _, _, where in found:
        if not egress.allows(ip_address(where[0])):
            raise EgressRefused(
                f"{host} is in a private network, where this installation does not let accounts go.",
                host=host,
            )
        targets[family, where] = None
    return _interleave(list(targets))[:MOST_ADDRESSES]


def _asked(host: str, port: int) -> list[Any]:
    # An empty name would mean this very machine.
    return socket.getaddrinfo(host or "invalid.", port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)


def _unknown(host: str, error: Exception) -> str:
    if isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN:
        return f"The name server did not answer for {host}; is this machine online?"
    return f"There is no host named {host!r}."


def _interleave(targets: list[Target]) -> list[Target]:
    """The families by turns, so that one that leads nowhere costs a single head start."""
    ranks: dict[socket.AddressFamily, int] = {}
    order = []
    for target in targets:
        rank = ranks.get(target[0], 0)
        ranks[target[0]] = rank + 1
        order.append(rank)
    return [target for _, target in sorted(zip(order, targets, strict=True), key=lambda pair: pair[0])]


async def _first(targets: Sequence[Target], host: str, port: int) -> socket.socket:
    """Race the addresses, each with a head start before the next; the losers are closed."""
    attempts: list[asyncio.Task[socket.socket | OSError]] = []
    winner: socket.socket | None = None
    try:
        async with asyncio.TaskGroup() as group:
            for target in targets:
                attempts.append(group.create_task(_attempt(target)))
                await _any(attempts, HEAD_START)
                if (winner := _won(attempts)) is not None:
                    break
            while winner is None and not all(a.done() for a in attempts):
                await _any(attempts)
                winner = _won(attempts)
            for attempt in attempts:
                attempt.cancel()
    except asyncio.CancelledError:
        winner = None
        raise
    finally:
        for attempt in attempts:
            made = None if attempt.cancelled() else attempt.result()
            if isinstance(made, socket.socket) and made is not winner:
                made.close()
    if winner is None:
        raise _refused(host, port, [a.result() for a in attempts])
    return winner


async def _any(attempts: Sequence["asyncio.Task[object]"], limit: float | None = None) -> None:
    running = [a for a in attempts if not a.done()]
    await asyncio.wait(running, timeout=limit, return_when=asyncio.FIRST_COMPLETED)


def _won(attempts: Sequence[asyncio.Task[socket.socket | OSError]]) -> socket.socket | None:
    made = (a.result() for a in attempts if a.done())
    return next((one for one in made if isinstance(one, socket.socket)), None)


async def _attempt(target: Target) -> socket.socket | OSError:
    family, where = target
    try:
        with ExitStack() as stack:
            sock = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))  # or no file is left
            sock.settimeout(0)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if hasattr(socket, "TCP_KEEPIDLE"):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEP_ALIVE)
            await asyncio.get_running_loop().sock_connect(sock, where)
            stack.pop_all()
        return sock
    except OSError as error:
        return error


def _refused(host: str, port: int, reasons: Sequence[socket.socket | OSError]) -> PortClosed:
    if any(isinstance(reason, ConnectionRefusedError) for reason in reasons):
        said = (
            f"Nothing listens on port {port} of {host}; are host and port right, and is the server running?"
        )
    else:
        why = next((r.strerror for r in reasons if isinstance(r, OSError) and r.strerror), "no route")
        said = f"Port {port} of {host} cannot be reached ({why})."
    return PortClosed(said, host=host, port=port)
