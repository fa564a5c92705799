"""Who notices that somebody comes where nobody may: a listener on every address of this machine, and Python
itself, which tells of every TCP connection that this process begins, be it answered or not.
"""

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

INTERNET = {socket.AF_INET, socket.AF_INET6}


@dataclass
class Canary:
    """`begun`: hosts and ports, but for the `known` ports: of the database, of servers of a test."""

    port: int
    listener: socket.socket
    known: set[int] = field(default_factory=set)
    begun: list[tuple[str, int]] = field(default_factory=list)

    def heard(self, sock: socket.socket, where: Any) -> None:
        is_tcp = sock.family in INTERNET and sock.type == socket.SOCK_STREAM
        if is_tcp and where[1] not in self.known:
            self.begun.append(where[:2])

    @property
    def is_silent(self) -> bool:
        """Nobody has come, and nobody has set out."""
        try:
            self.listener.accept()[0].close()
        except BlockingIOError:
            return not self.begun
        return False


_listening: list[Canary] = []  # a hook stays for as long as the process


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.connect":
        for canary in _listening:
            canary.heard(*arguments)


@contextmanager
def canary() -> Iterator[Canary]:
    """While the block runs."""
    if not getattr(_hook, "is_set", False):
        sys.addaudithook(_hook)
        _hook.is_set = True  # type: ignore[attr-defined]
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as listener:
        listener.settimeout(0)
        made = Canary(listener.getsockname()[1], listener)
        _listening.append(made)
        try:
            yield made
        finally:
            _listening.remove(made)
