"""The lab server: mailboxes in memory behind real IMAP on a loopback port, with mail that keeps arriving."""

import asyncio
import ssl
from asyncio import StreamReader, StreamWriter
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

from postroom.lab import naming
from postroom.lab.accounts import ADDRESS, Accounts, address
from postroom.lab.certificate import Certificate
from postroom.lab.faults import Faults
from postroom.lab.imap import converse
from postroom.lab.mailbox import LabMailbox
from postroom.lab.offers import capabilities
from postroom.lab.session import House, Session

PASSWORD = "open sesame"
TOKEN = "open-sesame-for-an-hour"
LONGEST_LINE = 1 << 20
BACKLOG = 4096  # connections that wait to be accepted


@dataclass(slots=True, eq=False)
class LabServer:
    """A running server. `mailbox` is that of `address`.

    `accounts`, and the access `tokens` that let into each of them, may be changed at any time.
    """

    host: str
    address: str
    password: str
    mailbox: LabMailbox
    faults: Faults
    messages: int
    accounts: dict[str, LabMailbox]
    tokens: set[str] = field(default_factory=lambda: {TOKEN})
    arrived: int = 0
    port: int = 0
    _arrived_at: Counter[int] = field(default_factory=Counter)
    _when_arrived: Callable[[int], None] | None = None

    def shown(self, folder: str) -> bytes:
        """How the server names a folder to its clients: raw bytes, which faults may change."""
        return naming.shown(self.faults, folder)

    def mailbox_of(self, number: int) -> LabMailbox:
        """The mailbox of an account by its number; see `accounts.address`. Raises KeyError."""
        return self.accounts[address(number)]

    def arrive(self, number: int = 0) -> int:
        """The next generated mail comes into the INBOX of an account; returns its UID."""
        uid = self.mailbox_of(number).arrive(self.messages + self._arrived_at[number])
        self._arrived_at[number] += 1
        self.arrived += 1
        if self._when_arrived:
            self._when_arrived(self.arrived)
        return uid


@asynccontextmanager
async def serve(
    *,
    messages: int = 300,
    folder_count: int = 8,
    accounts: int = 1,
    seed: int = 1,
    arrive_every: timedelta | None = None,
    arrived: int = 0,
    when_arrived: Callable[[int], None] | None = None,
    faults: Iterable[str] = (),
    offers: str | Iterable[str] = (),
    prefix: str = "",
    delimiter: str = "/",
    certificate: Certificate | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
) -> AsyncIterator[LabServer]:
    """Serve until the block ends.

    The same arguments make the same messages under the same UIDs and validities. `arrived` says how many
    mails came by themselves in earlier runs: they are there again. `when_arrived` is told the new count each
    time one comes, so that the caller can keep it. With several `accounts` each has so many messages, made
    when somebody first asks for them, and what arrives by itself goes to one after the other. With a
    certificate STARTTLS is offered. What `offers` may name is in `offers.OFFERS`; all folders but INBOX lie
    below `prefix`, their levels parted by `delimiter`.
    Raises OSError for a port that is taken, UnknownFault, UnknownOffer.
    """
    offered, switches = capabilities(offers), Faults(faults)

    def make(number: int) -> LabMailbox:
        return LabMailbox.filled(
            messages,
            folder_count=folder_count,
            seed=seed + number,
            labels="X-GM-EXT-1" in offered,
            prefix=prefix,
            delimiter=delimiter,
            faults=switches,
        )

    mailboxes = Accounts(accounts, make)
    server = LabServer(host, ADDRESS, PASSWORD, mailboxes[ADDRESS], switches, messages, mailboxes)
    for number in range(arrived):
        server.arrive(number % accounts)
    server._when_arrived = when_arrived
    house = House(mailboxes, PASSWORD, server.faults, _context(certificate), offered, server.tokens)
    begin = partial(_converse, house)
    listener = await asyncio.start_server(begin, host, port, limit=LONGEST_LINE, backlog=BACKLOG)
    server.port = int(listener.sockets[0].getsockname()[1])
    timer = _Arrivals(server, arrive_every, accounts)
    try:
        yield server
    finally:
        timer.stop()
        listener.close()
        await house.close()


async def _converse(house: House, reader: StreamReader, writer: StreamWriter) -> None:
    """One connection, in a task that asyncio starts for it and that `House.close` ends."""
    task = asyncio.current_task()
    assert task is not None
    house.tasks.add(task)
    try:
        await converse(Session(house, reader, writer))
        await writer.drain()  # what was said last shall arrive
    except OSError:
        pass  # the client was quicker
    except asyncio.CancelledError:
        if not house.closed:
            raise
        # Ended by ourselves: the streams of Python 3.11 would log a task that ends as cancelled.
    finally:
        house.tasks.discard(task)
        writer.close()


class _Arrivals:
    """Lets a mail arrive every so often, until stopped."""

    def __init__(self, server: LabServer, every: timedelta | None, accounts: int) -> None:
        self._server, self._every, self._accounts = server, every, accounts
        self._next: asyncio.TimerHandle | None = None
        self._wait()

    def stop(self) -> None:
        if self._next:
            self._next.cancel()

    def _wait(self) -> None:
        if self._every:
            self._next = asyncio.get_running_loop().call_later(self._every.total_seconds(), self._arrive)

    def _arrive(self) -> None:
        self._server.arrive(self._server.arrived % self._accounts)
        self._wait()


def _context(certificate: Certificate | None) -> ssl.SSLContext | None:
    if certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.certificate, certificate.key)
    return context
