"""Both ends of a connection over a network notice within half a minute that the other is gone.

A machine that is lost without a word sends no end of its connections. Unless somebody asks, PostgreSQL waits
two hours for a client in the middle of a COPY, with all its locks; and we for a server that will not answer.

silent for 10 s ──> asked every 5 s ──> three times unanswered: gone, after 25 s
sent, but not acknowledged for 25 s ──> gone
"""

import socket
from contextlib import suppress
from typing import Any

import asyncpg

IDLE, INTERVAL, COUNT, UNACKNOWLEDGED = 10, 5, 3, 25  # seconds, but for the count

OURS = (
    (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
    (socket.IPPROTO_TCP, "TCP_KEEPIDLE", IDLE),
    (socket.IPPROTO_TCP, "TCP_KEEPALIVE", IDLE),  # macOS calls it so
    (socket.IPPROTO_TCP, "TCP_KEEPINTVL", INTERVAL),
    (socket.IPPROTO_TCP, "TCP_KEEPCNT", COUNT),
    (socket.IPPROTO_TCP, "TCP_USER_TIMEOUT", UNACKNOWLEDGED * 1000),
)
# None of these is sent when a connection begins: a server or pooler that does not know one would refuse it.
THEIRS = (
    f"SET tcp_keepalives_idle = {IDLE}",
    f"SET tcp_keepalives_interval = {INTERVAL}",
    f"SET tcp_keepalives_count = {COUNT}",
    f"SET tcp_user_timeout = '{UNACKNOWLEDGED}s'",
    "SET client_connection_check_interval = '2s'",  # for as long as a statement runs
)


class Watchful(asyncpg.Connection):
    """A connection that asks whether the server is still there, if it leads over a network."""

    __slots__ = ()

    def __init__(self, protocol: Any, transport: Any, *rest: Any) -> None:
        super().__init__(protocol, transport, *rest)
        line = transport.get_extra_info("socket")
        if line.family != socket.AF_UNIX:
            for level, name, value in OURS:
                if hasattr(socket, name):
                    line.setsockopt(level, getattr(socket, name), value)


async def watch(conn: asyncpg.Connection) -> None:
    """Have the server ask whether we are still there, as far as it knows how."""
    try:
        await conn.execute("; ".join(THEIRS))
    except asyncpg.PostgresError:
        for setting in THEIRS:
            with suppress(asyncpg.PostgresError):
                await conn.execute(setting)
