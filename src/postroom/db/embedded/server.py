"""Makes, starts and stops one PostgreSQL; run by the keeper only, which holds the lock.

Every process started here inherits the lock (flock belongs to the open file, which they share). So whoever
gets the lock knows that nothing of an earlier server is alive, even if keeper or postmaster were killed.
"""

import ctypes
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from postroom.db.embedded.binaries import MAJOR, Runner, programs, runner
from postroom.db.model import DiskFull, NotOurFolder, NotStarted, OtherVersion

SUPERUSER = "postroom"
LEAST_FREE = 200 << 20
ROOMY = 256 << 20
ROTATE = 10 << 20
POLL_SECONDS = 0.01
PR_SET_PDEATHSIG = 1
FAST, AT_ONCE = signal.SIGINT, signal.SIGQUIT

ENVIRONMENT = {"LC_ALL": "C", "TZ": "UTC", "PATH": "/usr/local/bin:/usr/bin:/bin"}
SETTINGS = (
    "listen_addresses=",
    "shared_buffers=256MB",
    "work_mem=16MB",
    "maintenance_work_mem=128MB",
    "wal_level=minimal",
    "autovacuum_naptime=10s",  # rows of jobs come and go: in 60 s a busy queue grows by tens of MB
    "max_wal_senders=0",
    "wal_compression=pglz",
    "wal_buffers=16MB",
    "max_wal_size=1GB",
    "checkpoint_timeout=15min",
    "random_page_cost=1.1",
    "jit=off",
    "timezone=UTC",
    "log_timezone=UTC",
    "log_line_prefix=%m [%p] ",
    "log_checkpoints=off",
)
LIBC = ctypes.CDLL(None)


def make(home: Path, lock: int, log: int) -> None:
    """Make the cluster where there is none yet: whole, or not at all."""
    cluster, fresh = home / "cluster", home / "cluster.new"
    if cluster.exists():
        _check_version(cluster)
        return
    _check_space(home)
    shutil.rmtree(fresh, ignore_errors=True)  # from a first start that was killed
    fresh.mkdir(mode=0o700)
    user = runner()
    if user is not None:
        os.chown(fresh, user.uid, user.gid)
    folder = os.open(fresh, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _initdb(folder, user, lock, log)
    finally:
        os.close(folder)
    fresh.rename(cluster)


def _initdb(folder: int, user: Runner | None, lock: int, log: int) -> None:
    command = [
        *(str(programs(user) / "initdb"), "--pgdata", f"/proc/self/fd/{folder}", "--username", SUPERUSER),
        *("--auth", "trust", "--encoding", "UTF8", "--locale", "C", "--no-instructions"),
        *("--locale-provider", "builtin", "--builtin-locale", "C.UTF-8", "--sync-method", "syncfs"),
    ]
    began = os.fstat(log).st_size
    if _spawn(command, user, log, keep=[folder, lock]).wait() != 0:
        raise _failure(log, began)


def start(home: Path, lock: int, log: int, extra: Sequence[str]) -> "subprocess.Popen[bytes]":
    """Start the server and return once it answers, which after a crash takes as long as its recovery.

    Raises `DiskFull`, `NotStarted`, `NotOurFolder` or `NoServer`.
    """
    cluster = home / "cluster"
    _check_space(home)
    user = runner()
    expected = os.geteuid() if user is None else user.uid
    if (owner := cluster.stat().st_uid) != expected:
        raise NotOurFolder(f"{cluster} belongs to user {owner}, but PostgreSQL would run as {expected}.")
    (cluster / "postmaster.pid").unlink(missing_ok=True)  # stale: we have the lock
    folder = os.open(cluster, os.O_RDONLY | os.O_DIRECTORY)
    try:
        path = f"/proc/self/fd/{folder}"
        settings = [*SETTINGS, f"unix_socket_directories={path}", _shared_memory(), *extra]
        command = [str(programs(user) / "postgres"), "-D", path]
        command += [word for setting in settings for word in ("-c", setting)]
        began = os.fstat(log).st_size
        server = _spawn(command, user, log, keep=[folder, lock])
    finally:
        os.close(folder)
    while not _is_ready(cluster, server.pid):
        if server.poll() is not None:
            raise _failure(log, began)
        time.sleep(POLL_SECONDS)
    return server


def stop(server: "subprocess.Popen[bytes]") -> None:
    """Shut down: transactions under way are rolled back, and everything committed is on disk."""
    for how, seconds in ((FAST, 60), (AT_ONCE, 10)):
        if server.poll() is None:
            server.send_signal(how)
        try:
            server.wait(seconds)
            return
        except subprocess.TimeoutExpired:
            continue
    server.kill()
    server.wait()


def open_log(home: Path) -> int:
    """The log, for appending; an older one is kept once it has grown."""
    path = home / "log"
    if path.exists() and path.stat().st_size > ROTATE:
        path.rename(home / "log.1")
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)


def _spawn(
    command: Sequence[str], user: Runner | None, log: int, *, keep: Sequence[int]
) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env=ENVIRONMENT,
        cwd="/",
        pass_fds=keep,
        umask=0o077,
        preexec_fn=_dies_with(os.getpid()),
        user=user.uid if user else None,
        group=user.gid if user else None,
        extra_groups=[] if user else None,
    )


def _dies_with(parent: int) -> Callable[[], None]:
    """In the child, after it dropped its rights (which would undo it): shut down when the keeper dies."""

    def arrange() -> None:
        LIBC.prctl(PR_SET_PDEATHSIG, FAST)
        if os.getppid() != parent:
            os._exit(1)

    return arrange


def _is_ready(cluster: Path, pid: int) -> bool:
    try:
        lines = (cluster / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return False
    return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"


def _check_version(cluster: Path) -> None:
    try:
        version = (cluster / "PG_VERSION").read_text().strip()
    except FileNotFoundError:
        raise NotOurFolder(f"{cluster} is not a database of PostgreSQL; move it away.") from None
    if version != str(MAJOR):
        raise OtherVersion(
            f"The database in {cluster} was made by PostgreSQL {version}, this release brings {MAJOR}; "
            "use the release of postroom that made it.",
            found=version,
        )


def _check_space(home: Path) -> None:
    space = os.statvfs(home)
    if space.f_bavail * space.f_frsize < LEAST_FREE:
        raise DiskFull(
            f"Less than {LEAST_FREE >> 20} MB are free for {home}; make room, or use another folder (--data)."
        )


def _shared_memory() -> str:
    """Containers often have 64 MB in /dev/shm, which parallel index builds exceed."""
    try:
        space = os.statvfs("/dev/shm")
    except OSError:
        return "dynamic_shared_memory_type=mmap"
    roomy = space.f_bavail * space.f_frsize >= ROOMY
    return f"dynamic_shared_memory_type={'posix' if roomy else 'mmap'}"


def _failure(log: int, began: int) -> DiskFull | NotStarted:
    said = os.pread(log, 1 << 16, began).decode(errors="replace")
    if "No space left on device" in said:
        return DiskFull("The disk of the database is full; make room, then try again.")
    reasons = [line for line in said.splitlines() if "FATAL" in line or "error" in line.lower()]
    reason = reasons[-1].strip() if reasons else "it ended without a word"
    return NotStarted(f"The embedded PostgreSQL does not start: {reason}", log=said[-2000:])
