"""A first sync, whole commands: postroom against mbsync, and against mbsync followed by notmuch new.

Both sides begin with nothing and read the same mailbox of the same Dovecot. Ours ends with everything stored,
text and HTML indexed, row-level security, log and leases on. COMPRESS is off on both sides: mbsync is told
so, ours finds that the link is quick.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from servers.dovecot import Dovecot
from servers.fetch import SERVERS, Prefix, fetch

from bench.report import Table, ratio, spread

MBSYNC = """
IMAPAccount bench
Host {host}
Port {port}
User {user}
Pass {password}
{tls} None
AuthMechs LOGIN
DisableExtension COMPRESS=DEFLATE

IMAPStore far
Account bench

MaildirStore near
Path {home}/mail/
Inbox {home}/mail/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Near
SyncState *
"""

NO_COMPRESS = "DisableExtension COMPRESS=DEFLATE\n"

# A small process in between: Linux counts the memory of whoever starts a process as that process's own.
MEASURE = """
import resource, subprocess, sys, time
began = time.perf_counter()
done = subprocess.run(sys.argv[1:])
print(time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
sys.exit(done.returncode)
"""


WITHOUT_LOG = """
from postroom.cli.main import main
from postroom.events import log

async def append(*_given):
    pass

log.append = append
main()
"""
POSTROOM = ("-m", "postroom.cli")


@dataclass(frozen=True, slots=True)
class Timed:
    seconds: float
    peak: int  # bytes, the largest process


def run(server: Dovecot, user: str, messages: int, runs: int) -> Table:
    """Alternating runs, each from nothing; ratios are taken pair by pair."""
    ours, mirror, both = [], [], []
    for _ in range(runs):
        ours.append(time_postroom(server, user, messages))
        copied, indexed = time_mbsync(server, user)
        mirror.append(copied)
        both.append(copied + indexed)
    table = Table(
        f"First sync of {messages:,} messages in 12 folders, {runs} runs each, alternating",
        ["command", "messages a second", "times as fast as it, postroom is"],
    )
    table.add("mbsync", _rates(messages, mirror), _times(mirror, ours, goal=0.8))
    table.add("mbsync, then notmuch new", _rates(messages, both), _times(both, ours, goal=10))
    table.add("postroom sync", _rates(messages, [timed.seconds for timed in ours]), "1")
    table.note(f"Peak memory of `postroom sync`: {max(timed.peak for timed in ours) / 1e6:,.0f} MB.")
    return table


def log_cost(server: Dovecot, user: str, messages: int, runs: int) -> Table:
    """Alternating first syncs with and without the log."""
    told: list[float] = []
    silent: list[float] = []
    for number in range(runs):
        both = [(told, POSTROOM), (silent, ("-c", WITHOUT_LOG))]
        for found, program in both if number % 2 else reversed(both):
            found.append(time_postroom(server, user, messages, program).seconds)
    table = Table(f"First sync of {messages:,} messages, {runs} runs each", ["", "messages a second"])
    table.add("with the log", _rates(messages, told))
    table.add("without it", _rates(messages, silent))
    longer = [with_it / without - 1 for with_it, without in zip(told, silent, strict=True)]
    table.note(f"The log takes {spread([100 * each for each in longer], 1)} % more time (goal: at most 10).")
    return table


def _rates(messages: int, seconds: Sequence[float]) -> str:
    return spread([messages / each for each in seconds], 0)


def _times(theirs: Sequence[float], ours: Sequence[Timed], goal: float) -> str:
    pairs = sorted(their / our.seconds for their, our in zip(theirs, ours, strict=True))
    return ratio(pairs[len(pairs) // 2], goal=goal)


def time_postroom(server: Dovecot, user: str, messages: int, program: Sequence[str] = POSTROOM) -> Timed:
    """Connect outside the clock, as mbsync's configuration is; then `postroom sync`, server start and all."""
    home = Path(tempfile.mkdtemp(prefix="postroom-bench-"))
    postroom = [sys.executable, *program]
    environment = os.environ | {"POSTROOM_DATA": str(home / "data")}
    try:
        connect = ["connect", f"{user}@example.org", "--username", user, "--password-file", "-"]
        where = ["--server", f"imap://{server.host}:{server.port}", "--starttls", "off", "--json"]
        subprocess.run(
            [*postroom, *connect, *where],
            input=server.password,
            text=True,
            env=environment,
            check=True,
            capture_output=True,
        )
        done = subprocess.run(
            [sys.executable, "-c", MEASURE, *postroom, "sync", "--json"],
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        )
        stored = json.loads(done.stdout)["accounts"][0]["messages"]
        assert stored == messages, f"{stored} of {messages} messages were stored"
        seconds, kilobytes = done.stderr.split()[-2:]
        return Timed(float(seconds), int(kilobytes) * 1024)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def time_mbsync(server: Dovecot, user: str) -> tuple[float, float]:
    """Seconds of `mbsync`, and of `notmuch new` after it."""
    prefix = fetch(["isync", "notmuch"], SERVERS / "bench")
    home = Path(tempfile.mkdtemp(prefix="postroom-bench-"))
    try:
        copied = timed(mbsync(prefix, server, user, home, server.port), prefix.environment())
        (home / "notmuch").write_text(
            f"[database]\npath={home}/mail\n[user]\nname=b\nprimary_email=b@example.org\n[new]\ntags=new\n"
        )
        settings = prefix.environment() | {"NOTMUCH_CONFIG": str(home / "notmuch"), "HOME": str(home)}
        return copied, timed([prefix.program("notmuch"), "new", "--quiet"], settings)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def mbsync(
    prefix: Prefix, server: Dovecot, user: str, home: Path, port: int, *, compress: bool = False
) -> list[str | Path]:
    """The command that copies a mailbox into `mail` of this empty folder."""
    (home / "mail").mkdir()
    known = {"host": server.host, "port": port, "user": user, "password": server.password, "home": home}
    text = MBSYNC.format(**known, tls=tls_setting(prefix))
    (home / "mbsyncrc").write_text(text.replace(NO_COMPRESS, "") if compress else text)
    return [prefix.program("mbsync"), "-c", home / "mbsyncrc", "-a", "-q"]


def tls_setting(prefix: Prefix) -> str:
    """What this version of mbsync calls it."""
    command = [str(prefix.program("mbsync")), "--version"]
    said = subprocess.run(command, env=prefix.environment(), capture_output=True, text=True, check=True)
    return "TLSType" if said.stdout.split()[1] >= "1.5" else "SSLType"


def timed(command: Sequence[str | Path], environment: dict[str, str]) -> float:
    began = time.perf_counter()
    subprocess.run([str(word) for word in command], env=environment, check=True, capture_output=True)
    return time.perf_counter() - began
