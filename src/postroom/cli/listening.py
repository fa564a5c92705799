"""The port of the API: taken before anything else is started."""

import errno
import socket

from postroom.errors import Broken

BACKLOG = 512
UNREAD = 30_000
"""Milliseconds that a client may leave untaken what was sent, before the kernel cuts it off. An answer that
was given up still lies in its connection's buffer, and a client that never reads would keep it for ever."""
REASONS = {
    errno.EADDRINUSE: "is taken, perhaps by another `postroom up`; stop that one, or choose another port "
    "with --port or POSTROOM_PORT",
    errno.EACCES: "may only be used by root; choose one above 1023 with --port or POSTROOM_PORT",
    errno.EADDRNOTAVAIL: "cannot be used, as that is no address of this machine; choose one with --host",
}


class PortNotFree(Broken):
    """The API cannot listen where it should."""

    code = "cli.port_not_free"


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens there and nowhere else. Raises `PortNotFree`."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        listener = socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except socket.gaierror as error:
        raise PortNotFree(f"There is no address {host} to listen on; choose another with --host.") from error
    except OSError as error:
        why = REASONS.get(error.errno or 0, f"cannot be used: {error.strerror}")
        raise PortNotFree(f"Port {port} of {host} {why}.", host=host, port=port) from error
    # What is accepted inherits both. uvloop asks for the first by itself; asyncio's own loop does not where a
    # listener names no protocol, and then a body waits 40 ms until its headers are acknowledged.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD)
    return listener


def address(host: str, listener: socket.socket) -> str:
    """Where somebody on this machine finds what listens there."""
    shown = "127.0.0.1" if host == "0.0.0.0" else f"[{host}]" if ":" in host else host
    return f"http://{shown}:{listener.getsockname()[1]}"
