"""Mailboxes by the hundred on one Dovecot, all equal, and what postroom and mbsync have copied of them."""

import asyncio
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from servers.dovecot import Dovecot
from servers.fetch import SERVERS, Prefix, fetch

from bench.counting import processor
from bench.first_sync import POSTROOM, tls_setting
from bench.mailbox import flags
from postroom.accounts.connect import Wish, connect
from postroom.cli.installation import Installation, unlocked
from postroom.lab.mails import folders, mail, received_at
from postroom.providers.imap.settings import from_url
from postroom.settings import Settings
from postroom.sync.halt import begin_anew

MAILS = 300  # of each account
LARGEST = 8_000  # bytes: what a mail holds matters to nobody who sees that nothing has changed
FOLDERS = 6
SEED = 1
ACCOUNT = """
IMAPAccount {user}
Host {host}
Port {port}
User {user}
Pass {password}
{tls} None
DisableExtension COMPRESS=DEFLATE
AuthMechs LOGIN

IMAPStore far-{user}
Account {user}

MaildirStore near-{user}
Path {home}/{user}/
Inbox {home}/{user}/INBOX
SubFolders Verbatim

Channel {user}
Far :far-{user}:
Near :near-{user}:
Patterns *
Create Near
SyncState *
"""


@dataclass(frozen=True, slots=True)
class Mirror:
    """mbsync, with all accounts in its configuration."""

    prefix: Prefix
    home: Path

    def round(self, *only: str) -> float:
        """Sync all, or only these; the processor's seconds."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [self.prefix.program("mbsync"), "-c", str(self.home / "mbsyncrc"), "-q", *(only or ["-a"])]
        subprocess.run(command, env=self.prefix.environment(), check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@dataclass(frozen=True, slots=True)
class Places:
    server: Dovecot
    users: Sequence[str]
    data: Path
    mirror: Mirror

    def dovecot(self) -> float:
        return processor(int((self.server.home / "run" / "master.pid").read_text()))

    def postgres(self) -> float:
        cluster = self.data / "postgres" / "cluster"
        return processor(int((cluster / "postmaster.pid").read_text().split()[0]))


def prepared(server: Dovecot, home: Path, accounts: int) -> Places:
    """Mailboxes, all equal, and both sides' copies of them."""
    users = [server.user("round") for _ in range(accounts)]
    filled(server, users)
    (home / "mirror").mkdir()
    places = Places(server, users, home / "data", mirrored(server, home / "mirror", users))
    asyncio.run(connected(places))
    began = time.perf_counter()
    synced(places)
    print(f"copied {accounts} accounts in {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
    return places


def filled(server: Dovecot, users: Sequence[str]) -> None:
    """Fill one user's folders; the others' are made of the same files."""
    small = ((n, raw) for n in range(100 * MAILS) if len(raw := mail(SEED, n)) <= LARGEST)
    chosen = list(islice(small, MAILS))
    names = folders(SEED, FOLDERS)
    for place, name in enumerate(names):
        part = chosen[: MAILS // 2] if place == 0 else chosen[MAILS // 2 + place - 1 :: len(names) - 1]
        server.append(
            users[0],
            name,
            (raw for _, raw in part),
            received=(received_at(SEED, n) for n, _ in part),
            flags=(flags(SEED, n) for n, _ in part),
        )
    server.doveadm("mailbox", "status", "-u", users[0], "messages", "*")  # Dovecot numbers them
    for user in users[1:]:
        shutil.copytree(server.home / "mail" / users[0], server.home / "mail" / user, copy_function=_copy)
    _hand_over(server)


def mirrored(server: Dovecot, home: Path, users: Sequence[str]) -> Mirror:
    """One user's copy is made by mbsync, the others' of the same files; a whole round puts all in order."""
    mirror = Mirror(fetch(["isync", "notmuch"], SERVERS / "bench"), home)
    known = {
        "host": server.host,
        "password": server.password,
        "home": home,
        "tls": tls_setting(mirror.prefix),
    }
    text = [ACCOUNT.format(user=user, port=server.port, **known) for user in users]
    (home / "mbsyncrc").write_text("\n".join(text))
    (home / users[0]).mkdir()
    mirror.round(users[0])
    for user in users[1:]:
        shutil.copytree(home / users[0], home / user, copy_function=_copy)
    mirror.round()
    return mirror


def _copy(source: str, target: str) -> None:
    """Mail is never written to, so that all users may share it; and no index is shared."""
    if Path(source).parent.name == "cur":
        os.link(source, target)
    elif not Path(source).name.startswith(("dovecot.index", "dovecot.list.index")):
        shutil.copy2(source, target)


def _hand_over(server: Dovecot) -> None:
    if server.owner.uid is None or server.owner.gid is None:
        return
    for folder, _, files in os.walk(server.home / "mail"):
        os.chown(folder, server.owner.uid, server.owner.gid)
        if Path(folder).name != "cur":
            for name in files:
                os.chown(Path(folder, name), server.owner.uid, server.owner.gid)


async def connected(places: Places) -> None:
    async with unlocked(Settings(data=places.data)) as house:
        for user in places.users:
            await _connect(house, places.server, user, places.server.port)


async def _connect(house: Installation, server: Dovecot, user: str, port: int) -> None:
    at = from_url(f"imap://{server.host}:{port}", starttls="off")
    wish = Wish(f"{user}@example.org", server.password, "imap", at, user)
    await connect(house.database, house.vault, house.providers, house.tenant, wish, begin_anew)


def synced(places: Places, *only: str) -> float:
    """`postroom sync`, the whole command: the processor's seconds of it."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, *POSTROOM, "sync", "--json", *only, "--data", str(places.data)],
        check=True,
        capture_output=True,
        text=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    for account in json.loads(done.stdout)["accounts"]:
        assert account["messages"] == MAILS, account
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
