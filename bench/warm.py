"""Syncs of a mailbox that is copied already, in a process that runs on: nothing new, and 200 changed flags.

`unchanged`: `perform` with everything that a poll does (the account's row, lease, list of folders), its
session kept since the last sync as an executor keeps it; against the same conversation on a raw socket:
connect, log in, ENABLE, LIST with STATUS, log out. Shown beside it: `perform` where no session was kept, and
what logging in and out takes our client alone.
`flags`: 200 messages of the inbox get other flags; `perform` brings the copy up to date and tells the log,
against the bare exchange by which a server tells that: connect, log in, ENABLE QRESYNC, EXAMINE with QRESYNC
(RFC 7162, 3.2.5), log out. The raw socket throws away what it reads.

The other program, which changes flags, is outside of every clock. PostgreSQL is the embedded one as it comes.
"""

import re
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from statistics import median

import uvloop
from servers.dovecot import Dovecot
from servers.mailbox import other_client

from bench.report import Table, spread
from postroom.accounts.model import Account
from postroom.cli.installation import all_accounts, unlocked
from postroom.cli.means import means_of
from postroom.providers.model import Login
from postroom.providers.pool import open_pool
from postroom.settings import Settings
from postroom.sync.perform import Means, Outcome, perform

UNCHANGED_GOAL, UNCHANGED_STRETCH = 5, 3  # milliseconds
FLAGS_GOAL, FLAGS_STRETCH = 5, 3  # times the bare exchange
FLAGS = 200
FLAG = "\\Flagged"
COLD = 10  # syncs that come first, and find connections to open and statements to prepare
TIMES = 100
EVERY = timedelta(minutes=1)  # an executor keeps sessions of what is polled often
ITEMS = "MESSAGES UIDNEXT UIDVALIDITY HIGHESTMODSEQ"


@dataclass(slots=True)
class Took:
    """Milliseconds, and of this process's processor time."""

    wall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)

    @contextmanager
    def measured(self) -> Iterator[None]:
        wall, processor = time.perf_counter(), time.process_time()
        yield
        self.wall.append(1000 * (time.perf_counter() - wall))
        self.processor.append(1000 * (time.process_time() - processor))

    def cells(self) -> Sequence[str]:
        warm = [values[COLD:] for values in (self.wall, self.processor)]
        return [spread(values) for values in warm]

    def median(self) -> float:
        return median(self.wall[COLD:])


def unchanged(server: Dovecot, user: str, home: Path, messages: int) -> Table:
    return uvloop.run(_unchanged(server, user, home, messages))


async def _unchanged(server: Dovecot, user: str, home: Path, messages: int) -> Table:
    kept, anew, login, bare = Took(), Took(), Took(), Took()
    lines = ["ENABLE QRESYNC", f'LIST "" "*" RETURN (SPECIAL-USE STATUS ({ITEMS}))']
    async with unlocked(Settings(data=home)) as house, open_pool(house.hints) as open_ones:
        means, account = means_of(house), (await all_accounts(house))[0]
        for _ in range(COLD + TIMES):
            for took, use in (kept, replace(means, pool=open_ones)), (anew, means):
                with took.measured():
                    outcome = await _synced(use, account)
                assert outcome.counts.total == outcome.counts.flags_changed == 0
            with login.measured():
                async with means.providers["imap"].open(
                    Login(account.address, account.settings, server.password)
                ):
                    pass
            with bare.measured(), _raw(server, user) as peer:
                for line in lines:
                    peer.ask(line)
    table = Table(
        f"A sync that finds nothing new among {messages:,} messages, {TIMES} times, in turns",
        ["what", "milliseconds", "of them this process's processor"],
    )
    table.add("perform, its session kept", *kept.cells())
    table.add("perform, logging in and out", *anew.cells())
    table.add("logging in and out, by our client", *login.cells())
    table.add("the whole conversation, on a raw socket", *bare.cells())
    said = "reached" if kept.median() <= UNCHANGED_GOAL else "missed"
    table.note(f"{kept.median():.1f} ms (goal {UNCHANGED_GOAL}, stretch {UNCHANGED_STRETCH}: {said}).")
    return table


def flags(server: Dovecot, user: str, home: Path, messages: int) -> Table:
    return uvloop.run(_flags(server, user, home, messages))


async def _flags(server: Dovecot, user: str, home: Path, messages: int) -> Table:
    ours, bare = Took(), Took()
    async with unlocked(Settings(data=home)) as house, open_pool(house.hints) as open_ones:
        means, account = means_of(house), (await all_accounts(house))[0]
        means = replace(means, pool=open_ones)
        with other_client(server, user) as client:
            uids = client.uids("INBOX")
            chosen = uids[:: max(1, len(uids) // FLAGS)][:FLAGS]
            client.flag("INBOX", chosen, "-FLAGS", FLAG)
            await _synced(means, account)
            for turn in range(COLD + TIMES):
                since = _since(server, user)
                client.flag("INBOX", chosen, "-FLAGS" if turn % 2 else "+FLAGS", FLAG)
                for side in (ours, bare) if turn % 2 else (bare, ours):
                    if side is bare:
                        with bare.measured():
                            told = _exchange(server, user, since)
                        assert told == len(chosen), told
                    else:
                        with ours.measured():
                            outcome = await _synced(means, account)
                        assert outcome.counts.flags_changed == len(chosen)
    return _of_flags(ours, bare, messages)


def _of_flags(ours: Took, bare: Took, messages: int) -> Table:
    table = Table(
        f"{FLAGS} changed flags among {messages:,} messages, {TIMES} times, in turns",
        ["what", "milliseconds", "of them this process's processor"],
    )
    table.add("perform", *ours.cells())
    table.add("the bare exchange, on a raw socket", *bare.cells())
    times = median(a / b for a, b in zip(ours.wall[COLD:], bare.wall[COLD:], strict=True))
    said = "reached" if times <= FLAGS_GOAL else "missed"
    table.note(f"{times:.1f} times the bare exchange (goal {FLAGS_GOAL}, stretch {FLAGS_STRETCH}: {said}).")
    return table


async def _synced(means: Means, account: Account) -> Outcome:
    outcome = await perform(means, account, every=EVERY)
    assert outcome.status == "success", outcome.error
    assert not outcome.counts.skipped
    return outcome


def _since(server: Dovecot, user: str) -> tuple[int, int]:
    """Validity and modseq of the inbox, as they are now."""
    with _raw(server, user) as peer:
        said = peer.ask("STATUS INBOX (UIDVALIDITY HIGHESTMODSEQ)")
    found = re.search(rb"UIDVALIDITY (\d+) HIGHESTMODSEQ (\d+)", said)
    assert found, said
    return int(found[1]), int(found[2])


def _exchange(server: Dovecot, user: str, since: tuple[int, int]) -> int:
    """How many messages the server tells of."""
    with _raw(server, user) as peer:
        peer.ask("ENABLE QRESYNC")
        return peer.ask(f"EXAMINE INBOX (QRESYNC ({since[0]} {since[1]}))").count(b" FETCH (")


class _Peer:
    def __init__(self, peer: socket.socket) -> None:
        self._peer = peer

    def ask(self, line: str) -> bytes:
        self._peer.sendall(b"a " + line.encode() + b"\r\n")
        said = bytearray()
        while not (done := re.search(rb"(?:^|\n)a (OK|NO|BAD)[^\n]*\n$", said[-2000:])):
            piece = self._peer.recv(1 << 18)
            assert piece, "the server closed the connection"
            said += piece
        assert done[1] == b"OK", bytes(said)
        return bytes(said)


@contextmanager
def _raw(server: Dovecot, user: str) -> Iterator[_Peer]:
    """Logged in, and logged out at the end."""
    with socket.create_connection((server.host, server.port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.recv(1 << 16)
        peer = _Peer(connection)
        peer.ask(f"LOGIN {user} {server.password}")
        yield peer
        peer.ask("LOGOUT")
