"""Where the time of a first sync goes: each step by itself, one after the other, while nothing else runs.

fetch   every message, through the provider, kept in memory
read    headers, texts and attachments; hash; compression: each over all mails, on one core. What else
        `prepare` takes is cutting words
store   the same batches as in a sync: each statement's time by what it writes; what else the transactions
        take is our own

In a sync these overlap on all cores, so it is shorter than their sum; and each of them takes longer there.
`python -m bench.steps` adds what it finds to `figures.json`.
"""

import argparse
import hashlib
import json
import re
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import uvloop
from servers.dovecot import Dovecot, running

from bench import ours
from bench.mailbox import fill
from bench.report import Table, machine
from bench.sizes import FIGURES
from postroom.accounts.model import Account
from postroom.blobs.pack import CHUNK, compress
from postroom.cli.installation import Installation, all_accounts, unlocked
from postroom.db import leases
from postroom.mail.keep import keep
from postroom.mail.model import Folder
from postroom.mime.parse import parse
from postroom.providers.model import Login, OpenFolder, RemoteFolder, RemoteMessage
from postroom.settings import Settings
from postroom.sync.folder import BATCH_BYTES, BATCH_MESSAGES, Pair
from postroom.sync.model import Counts, key
from postroom.sync.prepare import Prepared, prepare
from postroom.sync.workshop import Workshop
from postroom.sync.write import Writer

SEED = 1
MANY = 1000  # messages described at once
STATEMENTS = ("execute", "fetch", "fetchrow", "fetchval", "copy_records_to_table")
WRITES = re.compile(r"\b(mail|blobs|search|events)_")
STORE = {"mail": "messages and threads", "blobs": "content", "search": "index", "events": "log"}

FETCH, OWN, FRAME = "fetch", "store: our own part", "store: begin, fence, commit"
PARSE, WORDS, HASH, PACK = "read: what it says", "read: words", "read: hash", "read: compress"


class Steps:
    """Seconds of each step."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def taking(self, *steps: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        for step in steps:
            self.seconds[step] += time.perf_counter() - began

    @contextmanager
    def statements(self) -> Iterator[None]:
        """All statements of this process, by what they write; they are not part of `OWN`."""
        methods = {name: getattr(asyncpg.Connection, name) for name in STATEMENTS}
        for name, method in methods.items():
            setattr(asyncpg.Connection, name, self._timed(method))
        try:
            yield
        finally:
            for name, method in methods.items():
                setattr(asyncpg.Connection, name, method)

    def _timed(self, method: Callable[..., Any]) -> Callable[..., Any]:
        async def timed(conn: asyncpg.Connection, statement: str, *values: Any, **more: Any) -> Any:
            began = time.perf_counter()
            answer = await method(conn, statement, *values, **more)
            took = time.perf_counter() - began
            found = WRITES.search(statement)
            self.seconds[f"store: {STORE[found[1]]}" if found else FRAME] += took
            self.seconds[OWN] -= took
            return answer

        return timed


@dataclass(frozen=True, slots=True)
class Fetched:
    remote: RemoteFolder
    validity: int
    mails: Sequence[Pair]


def run(server: Dovecot, home: Path) -> tuple[int, dict[str, float]]:
    """How many messages there were, and the seconds of each step."""
    return uvloop.run(_run(server, home))


async def _run(server: Dovecot, home: Path) -> tuple[int, dict[str, float]]:
    steps = Steps()
    async with unlocked(Settings(data=home)) as house:
        account = (await all_accounts(house))[0]
        folders = await _fetched(house, account, server.password, steps)
        _read([message.content for one in folders for message, _ in one.mails], steps)
        await _stored(house, account, folders, steps)
    steps.seconds[WORDS] -= steps.seconds[PARSE] + steps.seconds[HASH] + steps.seconds[PACK]
    return sum(len(one.mails) for one in folders), dict(steps.seconds)


async def _fetched(house: Installation, account: Account, password: str, steps: Steps) -> list[Fetched]:
    found = []
    login = Login(account.address, account.settings, password)
    async with house.providers["imap"].open(login) as mailbox:
        for remote in [folder for folder in await mailbox.folders() if folder.selectable]:
            with steps.taking(FETCH):
                opened = await mailbox.open(remote)
                mails = await _mails(opened)
            found.append(Fetched(remote, opened.status.validity or 0, mails))
    return found


async def _mails(opened: OpenFolder) -> list[Pair]:
    mails: list[Pair] = []
    uids = await opened.uids()
    for start in range(0, len(uids), MANY):
        items = {item.uid: item for item in await opened.scan(uids[start : start + MANY])}
        async for message in opened.fetch(list(items.values())):
            assert isinstance(message, RemoteMessage)
            mails.append((message, items[message.uid]))
    return mails


def _read(contents: Sequence[object], steps: Steps) -> None:
    """What is too large for memory is left out: it is little, and then part of the words' time."""
    here = [content for content in contents if isinstance(content, bytes)]
    with steps.taking(PARSE):
        for content in here:
            keep(parse(content))
    with steps.taking(HASH):
        for content in here:
            hashlib.sha256(content).digest()
    with steps.taking(PACK):
        for content in here:
            for at in range(0, len(content), CHUNK):
                compress(content[at : at + CHUNK])


async def _stored(house: Installation, account: Account, folders: Sequence[Fetched], steps: Steps) -> None:
    db, tenant = house.database, account.tenant_id
    async with leases.holding(db, tenant, key(account.id)) as lease:
        writer = Writer(db, lease, tenant, account.id, Counts(), Workshop())
        saved = await writer.folders([one.remote for one in folders], ())
        for folder, one in zip(saved, folders, strict=True):
            await writer.begin(folder, one.validity)
            for batch in _batches(one.mails):
                with steps.taking(WORDS):  # and all else that is not measured by itself
                    prepared = prepare(tenant, folder, batch)
                await _write(writer, folder, one.validity, prepared, steps)


async def _write(
    writer: Writer, folder: Folder, validity: int, prepared: Sequence[Prepared], steps: Steps
) -> None:
    with steps.statements(), steps.taking(OWN):
        await writer.messages(folder, validity, prepared, old=None)


def _batches(mails: Sequence[Pair]) -> Iterator[list[Pair]]:
    batch: list[Pair] = []
    for pair in mails:
        batch.append(pair)
        if len(batch) == BATCH_MESSAGES or sum(message.size for message, _ in batch) >= BATCH_BYTES:
            yield batch
            batch = []
    if batch:
        yield batch


def table(messages: int, seconds: dict[str, float]) -> Table:
    made = Table(
        f"Steps of a first sync of {messages:,} messages, each by itself", ["step", "us a message", "share"]
    )
    whole = sum(seconds.values())
    for step in sorted(seconds):
        made.add(step, f"{1e6 * seconds[step] / messages:,.0f}", f"{100 * seconds[step] / whole:.0f} %")
    made.add("all of them", f"{1e6 * whole / messages:,.0f}", "")
    made.note(machine())
    return made


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("-n", "--messages", type=int, default=2000)
    wanted = options.parse_args().messages
    with running() as server, tempfile.TemporaryDirectory(prefix="postroom-bench-") as folder:
        user, home = server.user("steps"), Path(folder)
        fill(server, user, wanted, seed=SEED)
        ours.connected(server, user, home)
        messages, seconds = run(server, home)
        ours.ended(home)
    figures = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
    figures["steps"] = {"messages": messages, "seconds": seconds}
    FIGURES.write_text(json.dumps(figures, indent=1) + "\n")
    print(table(messages, seconds))


if __name__ == "__main__":
    main()
