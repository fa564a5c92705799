"""The protocol layer: whole messages from a real Dovecot to a null consumer, against a raw socket."""

import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvloop
from servers.dovecot import Dovecot

from bench.report import Table, ratio, spread
from postroom.imap import aio, commands
from postroom.imap.framing import Spool
from postroom.imap.responses import Fetch
from postroom.imap.uids import UidSet

WINDOW = 100  # messages a command, on both sides
UNDER_WAY = aio.WINDOW  # commands, on both sides
RUNS = 5
ROUNDS = 10  # times that a run fetches the folder, so that it lasts long enough to be measured


def run(server: Dovecot, user: str, folder: str, messages: int) -> Table:
    """Alternating runs; each side fetches every message of one folder with the same commands."""
    raw, ours = [], []
    for _ in range(RUNS):
        raw.append(_raw(server, user, folder, messages))
        ours.append(uvloop.run(_ours(server, user, folder, messages)))
    table = Table("Protocol layer, full messages to a null consumer", ["client", "MB a second", "ratio"])
    table.add("raw socket", spread([size / seconds / 1e6 for size, seconds in raw]), "1")
    pairs = sorted(b[0] / b[1] / (a[0] / a[1]) for a, b in zip(raw, ours, strict=True))
    table.add(
        "postroom.imap",
        spread([size / seconds / 1e6 for size, seconds in ours]),
        ratio(pairs[len(pairs) // 2], goal=0.6),
    )
    return table


def _windows(messages: int) -> Iterator[UidSet]:
    for _ in range(ROUNDS):
        for first in range(1, messages + 1, WINDOW):
            yield UidSet.of(range(first, min(first + WINDOW, messages + 1)))


async def _ours(server: Dovecot, user: str, folder: str, messages: int) -> tuple[int, float]:
    size = 0
    async with aio.connect(server.host, server.port) as session:
        await session.log_in(user, server.password)
        await session.run(commands.select(folder.encode(), read_only=True))
        began = time.perf_counter()
        fetches = (commands.uid_fetch(part, ["BODY.PEEK[]"]) for part in _windows(messages))
        async for event in session.pipeline(fetches):
            if isinstance(event, Fetch) and event.body is not None:
                size += event.body.size if isinstance(event.body, Spool) else len(event.body)
        return size, time.perf_counter() - began


def _raw(server: Dovecot, user: str, folder: str, messages: int) -> tuple[int, float]:
    with _logged_in(server, user, folder) as peer:
        began = time.perf_counter()
        parts = list(_windows(messages))
        lines = [f"t{n} UID FETCH {part} BODY.PEEK[]\r\n" for n, part in enumerate(parts)]
        peer.sendall("".join(lines[:UNDER_WAY]).encode())
        sent, size, tail, buffer = UNDER_WAY, 0, b"", bytearray(1 << 18)
        done = re.compile(rb"\nt(\d+) OK ")
        finished = 0
        while finished < len(parts):
            count = peer.recv_into(buffer)
            assert count, "the server closed the connection"
            size += count
            seen = tail + bytes(memoryview(buffer)[max(0, count - 200) : count])
            for match in done.finditer(seen):
                finished = max(finished, int(match[1]) + 1)
            while sent < min(len(lines), finished + UNDER_WAY):
                peer.sendall(lines[sent].encode())
                sent += 1
            tail = seen[-200:]
        return size, time.perf_counter() - began


@contextmanager
def _logged_in(server: Dovecot, user: str, folder: str) -> Iterator[socket.socket]:
    with socket.create_connection((server.host, server.port)) as peer:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for line in (f"a LOGIN {user} {server.password}", f"b EXAMINE {folder}"):
            peer.sendall(line.encode() + b"\r\n")
            answer = b""
            while not re.search(rb"(^|\n)" + line[:1].encode() + rb" (OK|NO|BAD)", answer):
                answer += os.read(peer.fileno(), 65536)
            assert b" OK " in answer, answer
        yield peer
