"""The demonstration mailbox of `up --demo`: a lab server in this process, and an account connected to it.

How many mails have arrived is kept in the data folder, so that the next start serves the same mailbox.
"""

import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

from postroom.accounts import credentials
from postroom.accounts import store as accounts
from postroom.accounts.connect import Wish, connect
from postroom.accounts.model import Account
from postroom.cli import screen
from postroom.cli.called import called
from postroom.cli.following import follow
from postroom.cli.installation import Installation
from postroom.errors import Conflict
from postroom.jobs.store import names
from postroom.lab.server import LabServer, serve
from postroom.providers.imap.settings import from_url
from postroom.sync.ask import request
from postroom.sync.halt import begin_anew

ADDRESS = "demo@postroom.example"
MESSAGES = 1000
FOLDERS = 12
SEED = 7
ARRIVE_EVERY = timedelta(seconds=10)
ARRIVING = f"New mail arrives every {ARRIVE_EVERY.total_seconds():.0f} s. "
FILE = "demo.arrived"


class DemoRunning(Conflict):
    code = "cli.demo_running"


class Arrivals:
    """The count of mails that have arrived, in a file that one process at a time holds."""

    def __init__(self, file: int) -> None:
        self._file = file
        text = os.pread(file, 32, 0).strip()
        self.count = int(text) if text.isdigit() else 0

    def keep(self, count: int) -> None:
        """Before any client can have seen the newest: nothing is awaited between its arrival and this."""
        self.count = count
        os.pwrite(self._file, b"%d\n" % count, 0)


@asynccontextmanager
async def demonstration(house: Installation) -> AsyncIterator[Account]:
    """Serve the mailbox, connected, while the block runs. Raises `DemoRunning`."""
    file = _locked(house.data / FILE)
    try:
        arrivals = Arrivals(file)
        async with serve(
            messages=MESSAGES,
            folder_count=FOLDERS,
            seed=SEED,
            arrive_every=ARRIVE_EVERY,
            arrived=arrivals.count,
            when_arrived=arrivals.keep,
            offers=("qresync", "notify"),  # it tells of what arrives
        ) as server:
            server.accounts[ADDRESS] = server.mailbox
            yield await _connected(house, server)
    finally:
        os.close(file)


async def first_sync(house: Installation, account: Account) -> None:
    """As a job like any other, shown while it runs."""
    async with house.database.transaction(house.tenant) as conn:
        made = await request(conn, account)
        short = (await names.short(conn, house.tenant, [made.public_id]))[made.public_id]
    watch = called(house.settings).format("jobs watch")
    screen.say(f"Job {short} copies {account.address}; in another terminal: {watch} {short}")
    await follow(house, made.id, called=account.address)


def _locked(path: Path) -> int:
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(file)
        raise DemoRunning(f"The demonstration of {path.parent} runs already in another process.") from error
    return file


async def _connected(house: Installation, server: LabServer) -> Account:
    """The account of the mailbox: made at the first start, told of the server's new port at later ones."""
    settings = from_url(f"imap://{server.host}:{server.port}", starttls="off")
    async with house.database.transaction(house.tenant) as conn:
        known = await accounts.find(conn, house.tenant, ADDRESS)
        if known is not None:
            sealed = credentials.seal(house.vault, house.tenant, known.public_id, server.password)
            await accounts.set_credentials(conn, house.tenant, known.id, settings, sealed)
            return await accounts.get_by_id(conn, house.tenant, known.id)
    wish = Wish(ADDRESS, server.password, settings=settings)
    made = await connect(house.database, house.vault, house.providers, house.tenant, wish, begin_anew)
    return made.account
