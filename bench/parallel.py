"""First syncs of twenty accounts on one real Dovecot: side by side, against one after the other.

Each account has the same mails of its own. Both sides are one `postroom sync` on a data folder of its own,
all accounts connected, PostgreSQL running: with as many accounts at once as the setting allows by itself, and
with one. The clock begins with the command. The processor's time of every process is looked at meanwhile:
what both cores have been doing is the limit of what any order of work could gain.
"""

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from servers.dovecot import Dovecot

from bench.mailbox import fill
from bench.ours import COMMAND, connected, ended
from bench.report import Table, ratio, spread
from bench.spent import spending

ACCOUNTS = 20
CORES = 2
GOAL = 1.6
SORTS = ("postroom", "postroom, reading", "PostgreSQL", "mail server")


@dataclass(frozen=True, slots=True)
class Timed:
    seconds: float
    spent: dict[str, float]  # seconds of the processor, by sort

    @property
    def busy(self) -> float:
        """Of two cores, percent."""
        return 100 * sum(self.spent.values()) / self.seconds / CORES


def run(server: Dovecot, messages: int, runs: int) -> Table:
    users = _users(server, messages)
    together, alone = list[Timed](), list[Timed]()
    for turn in range(runs):
        for found, most in ((together, None), (alone, 1)) if turn % 2 else ((alone, 1), (together, None)):
            found.append(_timed(server, users, messages, most))
    table = Table(
        f"First syncs of {ACCOUNTS} accounts of {messages:,} messages each, {runs} runs of each",
        ["", "seconds", "both cores busy, %", *(f"us a message: {sort}" for sort in SORTS)],
    )
    count = ACCOUNTS * messages
    for name, found in (("side by side", together), ("one after the other", alone)):
        us = [spread([1e6 * one.spent.get(sort, 0.0) / count for one in found], 0) for sort in SORTS]
        busy = spread([one.busy for one in found], 0)
        table.add(name, spread([one.seconds for one in found], 1), busy, *us)
    pairs = [one.seconds / other.seconds for one, other in zip(alone, together, strict=True)]
    table.note(f"Side by side is {ratio(sorted(pairs)[len(pairs) // 2], goal=GOAL)} times as fast.")
    least = min(sum(one.spent.values()) for one in [*together, *alone]) / CORES
    longest = max(one.seconds for one in alone) / least
    table.note(f"With both cores busy all the time and no more work than the least, it were {longest:.2f}.")
    return table


def _users(server: Dovecot, messages: int) -> Sequence[str]:
    """All with the same mail: one is filled, the others get links to its files."""
    users = [server.user("parallel") for _ in range(ACCOUNTS)]
    fill(server, users[0], messages, folder_count=6)
    server.doveadm("mailbox", "status", "-u", users[0], "messages", "*")  # Dovecot numbers them
    for user in users[1:]:
        shutil.copytree(server.home / "mail" / users[0], server.home / "mail" / user)
    if server.owner.uid is not None and server.owner.gid is not None:
        for folder, _, files in os.walk(server.home / "mail"):
            for name in (".", *files):
                os.chown(Path(folder, name), server.owner.uid, server.owner.gid)
    return users


def _timed(server: Dovecot, users: Sequence[str], messages: int, most: int | None) -> Timed:
    home = Path(tempfile.mkdtemp(prefix="postroom-bench-"))
    environment = os.environ | {"POSTROOM_DATA": str(home / "data")}
    if most is not None:
        environment["POSTROOM_SYNC_PARALLEL"] = str(most)
    try:
        for user in users:
            connected(server, user, home / "data")
        with spending() as spent:
            began = time.perf_counter()
            command = [*COMMAND, "sync", "--json"]
            done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
            seconds = time.perf_counter() - began
        for account in json.loads(done.stdout)["accounts"]:
            assert account["messages"] == messages, account
        ended(home / "data")
        return Timed(seconds, spent.seconds)
    finally:
        shutil.rmtree(home, ignore_errors=True)
