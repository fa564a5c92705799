"""A real Dovecot on loopback for tests and benchmarks: any user name, one password, folders filled in bulk.

The server runs as one ordinary user: as the caller, or as `nobody` when root calls. Its mail is Maildir,
so that `append` can write thousands of messages as files. Durability is switched off.
"""

import grp
import os
import pwd
import shutil
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from imaplib import IMAP4
from itertools import count, repeat
from pathlib import Path

import pytest

from postroom.lab.certificate import make_certificate
from servers.dovecot_config import settings
from servers.fetch import CannotFetch, Prefix, version
from servers.fetch import dovecot as fetch_dovecot

START_LIMIT = timedelta(seconds=20)
FLAG_LETTERS = {"\\Draft": "D", "\\Flagged": "F", "\\Answered": "R", "\\Seen": "S", "\\Deleted": "T"}


@dataclass(frozen=True, slots=True)
class Owner:
    """The ordinary user that the server runs as. No uid, no gid: we are that user."""

    name: str
    group: str
    uid: int | None = None
    gid: int | None = None


class CannotStart(Exception):
    """Dovecot did not come up; the text holds the end of its log."""


@dataclass(slots=True)
class Dovecot:
    """A running server. Every user name exists; only `password` is accepted."""

    host: str
    port: int  # clear text, with STARTTLS
    tls_port: int
    ca_file: Path
    password: str
    home: Path
    prefix: Prefix
    owner: Owner
    _users: Iterator[int] = field(default_factory=count)
    _files: Iterator[int] = field(default_factory=count)

    def user(self, name: str = "user") -> str:
        """A user nobody else has, with an empty INBOX."""
        return f"{name}{next(self._users)}"

    def known_user(self, name: str = "user") -> str:
        """The same, who has been here before.

        Dovecot 2.3 makes a user's list of folders at the first LIST, and of two sessions that do at the same
        moment one dies ("Resource deadlock avoided"; 84 of 1,200, none of 2,000 for known users).
        """
        user = self.user(name)
        with IMAP4(self.host, self.port) as session:
            session.login(user, self.password)
            session.enable("QRESYNC")
            session.xatom("LIST", '""', '"*"', "RETURN (STATUS (MESSAGES UIDNEXT HIGHESTMODSEQ))")
        return user

    def append(
        self,
        user: str,
        folder: str,
        messages: Iterable[bytes],
        *,
        received: Iterable[datetime] | None = None,
        flags: Iterable[Iterable[str]] | None = None,
    ) -> int:
        """Put messages into a folder (made when missing), in this order, and return how many.

        Levels of a folder's name are parted by `/`. Dovecot shows a bare LF as CRLF. `received` gives the
        INTERNALDATE of each, `flags` its system flags.
        """
        place = self._maildir(user, folder)
        written, now = 0, datetime.now(UTC)
        for raw, when, marks in zip(messages, received or repeat(now), flags or repeat(()), strict=False):
            letters = "".join(sorted(FLAG_LETTERS[mark] for mark in marks))
            size = len(raw) + raw.count(b"\n") - raw.count(b"\r\n")
            # Dovecot numbers new files in the order of the seconds that begin their names.
            name = f"{1_000_000_000 + next(self._files)}.M0P1.lab,S={len(raw)},W={size}:2,{letters}"
            (place / name).write_bytes(raw)
            _hand_over(place / name, self.owner)
            os.utime(place / name, (when.timestamp(), when.timestamp()))
            written += 1
        os.utime(place)
        return written

    def doveadm(self, *arguments: str) -> str:
        """Run doveadm as the server's user and return what it prints."""
        command = [*self.configured("doveadm", "doveadm"), *arguments]
        done = subprocess.run(
            command,
            check=True,
            capture_output=True,
            text=True,
            cwd=self.home / "run",
            env=self.prefix.environment(),
            user=self.owner.uid,
            group=self.owner.gid,
        )
        return done.stdout

    def configured(self, program: str, service: str) -> list[str]:
        """The command that starts one of Dovecot's programs with our settings.

        Each would first exec /usr/bin/doveconf, a path built into it. The unpacked one is asked instead.
        """
        config = str(self.home / "dovecot.conf")
        started = [str(self.prefix.program(program)), "-c", config]
        if self.prefix.root == Path("/"):
            return started
        doveconf = str(self.prefix.program("doveconf"))
        return [doveconf, "-f", f"service={service}", "-c", config, "-m", service, "-e", *started]

    def log(self) -> str:
        """Everything Dovecot has logged, for a test that wants to know why."""
        return (self.home / "log").read_text(errors="replace")

    def _maildir(self, user: str, folder: str) -> Path:
        levels = folder.split("/")
        if not user or "/" in user or user.startswith(".") or not all(levels) or {".", ".."} & set(levels):
            raise ValueError(f"not a name for a user and a folder: {user!r} {folder!r}")
        mail = self.home / "mail" / user
        place = mail / "inbox" if folder.upper() == "INBOX" else mail.joinpath("folders", *levels)
        for path in [*reversed(place.relative_to(self.home).parents), place.relative_to(self.home)]:
            _make(self.home / path, self.owner)
        for part in ("cur", "new", "tmp"):
            _make(place / part, self.owner)
        return place / "cur"


@contextmanager
def running(*, password: str = "right", bearing: str = "", proving: bool = False) -> Iterator[Dovecot]:
    """A Dovecot for the length of a `with` block. Raises CannotFetch or CannotStart.

    `bearing` are settings of how to ask about access tokens; with any, it takes these beside the password.
    `proving`: passwords may be proven (SCRAM-SHA-256), which takes both sides some milliseconds.
    """
    prefix, owner = fetch_dovecot(), _owner()
    with tempfile.TemporaryDirectory(prefix="dovecot-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        home.chmod(0o755)
        if owner.uid is not None and not _open_to_all(prefix.root):
            # An ordinary user cannot execute below /root.
            prefix = Prefix(Path(shutil.copytree(prefix.root, home / "programs", symlinks=True)))
        ca_file = make_certificate(home).certificate
        server = Dovecot("127.0.0.1", free_port(), free_port(), ca_file, password, home, prefix, owner)
        _furnish(server, bearing, proving=proving)
        with _process(server):
            yield server


def _furnish(server: Dovecot, bearing: str, *, proving: bool) -> None:
    """Make the folders and files that the server starts with, and give them to its user."""
    home, prefix, owner = server.home, server.prefix, server.owner
    for name in ("run", "state", "mail"):
        (home / name).mkdir()
    (home / "log").touch()
    (home / "oauth2.conf").write_text(bearing)
    unpacked = None if prefix.root == Path("/") else str(prefix.root)
    if unpacked:
        (home / "run" / "modules").symlink_to(prefix.root / "usr/lib/dovecot/modules")
    values = {
        "home": home,
        "host": server.host,
        "port": server.port,
        "tls_port": server.tls_port,
        "owner": owner.name,
        "group": owner.group,
        "password": server.password,
        "certificate": server.ca_file,
        "key": home / "key.pem",
        "libraries": prefix.libraries(),
        "bearing": bearing,
        "mechanisms": "plain login scram-sha-256" if proving else "plain login",
    }
    number = version(prefix.program("dovecot"), prefix.environment())
    (home / "dovecot.conf").write_text(settings(number, values, unpacked))
    for path in (home, *home.iterdir()):
        _hand_over(path, owner)


@contextmanager
def _process(server: Dovecot) -> Iterator[None]:
    """Start the master process, wait until it greets, stop it at the end."""
    command = [*server.configured("dovecot", "master"), "-F"]
    if shutil.which("setpriv"):  # a test run that is killed takes its server along
        command = ["setpriv", "--pdeathsig", "TERM", *command]
    with (server.home / "stderr").open("wb") as errors:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            cwd=server.home / "run",
            env=server.prefix.environment(),
            user=server.owner.uid,
            group=server.owner.gid,
            extra_groups=None if server.owner.uid is None else [],
        )
    try:
        _wait_for_greeting(process, server)
        yield
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for_greeting(process: subprocess.Popen[bytes], server: Dovecot) -> None:
    end = time.monotonic() + START_LIMIT.total_seconds()
    while time.monotonic() < end:
        if process.poll() is not None:
            said = (server.home / "stderr").read_text(errors="replace")
            raise CannotStart(f"{said}{server.log()[-2000:]}")
        try:
            with socket.create_connection((server.host, server.port), 5) as connection:
                if connection.recv(4) == b"* OK":
                    return
        except OSError:
            time.sleep(0.02)
    raise CannotStart(f"no greeting within {START_LIMIT}: {server.log()[-2000:]}")


def _owner() -> Owner:
    if os.geteuid() != 0:
        return Owner(pwd.getpwuid(os.geteuid()).pw_name, grp.getgrgid(os.getegid()).gr_name)
    nobody = pwd.getpwnam("nobody")
    return Owner("nobody", grp.getgrgid(nobody.pw_gid).gr_name, nobody.pw_uid, nobody.pw_gid)


def _open_to_all(folder: Path) -> bool:
    return all(path.stat().st_mode & stat.S_IXOTH for path in [folder, *folder.parents])


def _make(folder: Path, owner: Owner) -> None:
    if not folder.exists():
        folder.mkdir()
        _hand_over(folder, owner)


def _hand_over(path: Path, owner: Owner) -> None:
    if owner.uid is not None and owner.gid is not None:
        os.chown(path, owner.uid, owner.gid)


def free_port() -> int:
    """A port on loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def running_or_skip(*, bearing: str = "") -> Iterator[Dovecot]:
    """The same for tests: they skip where there is none, and with CI=true they fail."""
    with ExitStack() as stack:
        try:
            server = stack.enter_context(running(bearing=bearing, proving=True))
        except (CannotFetch, CannotStart) as error:
            if os.environ.get("CI") == "true":
                pytest.fail(f"No Dovecot, and with CI=true a skip is a failure: {error}")
            pytest.skip(f"no Dovecot here: {error}")
        yield server


@pytest.fixture(scope="session")
def dovecot() -> Iterator[Dovecot]:
    """One Dovecot for the whole run: keep apart by taking a fresh `dovecot.user()`."""
    with running_or_skip() as server:
        yield server
