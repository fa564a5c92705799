"""Make programs of others (Dovecot, Redis, nginx, emulate; mbsync to measure) available, installing none.

Run as `python -m servers.fetch` before the tests. A server on the PATH is used as it is. Otherwise Debian's
packages are downloaded and unpacked below `.servers/` of the project: no root, no conflict with what is
installed (Debian's IMAP servers exclude each other as packages). So are npm's. Where that cannot be done, one
line says why and the tests that need it skip.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

SERVERS = Path(__file__).parents[2] / ".servers"
OLDEST_DOVECOT = (2, 3)
EMULATE = "0.12.2"


class CannotFetch(Exception):
    """These packages cannot be had here; the text says why."""


@dataclass(frozen=True, slots=True)
class Prefix:
    """Where programs live: `/` for what is installed, a folder below `.servers` for what was unpacked."""

    root: Path

    def program(self, name: str) -> Path:
        for folder in ("usr/local/sbin", "usr/local/bin", "usr/sbin", "usr/bin", "sbin", "bin"):
            if (self.root / folder / name).exists():
                return self.root / folder / name
        raise CannotFetch(f"{name} is not in {self.root}")

    def libraries(self) -> str:
        """The value of LD_LIBRARY_PATH, empty for what is installed."""
        if self.root == Path("/"):
            return ""
        patterns = ("usr/lib/lib*.so*", "usr/lib/*/lib*.so*", "usr/lib/dovecot/**/lib*.so", "lib/*/lib*.so*")
        return ":".join(
            sorted({str(path.parent) for pattern in patterns for path in self.root.glob(pattern)})
        )

    def environment(self) -> dict[str, str]:
        """The environment in which these programs find their libraries."""
        folders = self.libraries()
        return {**os.environ, "LD_LIBRARY_PATH": folders} if folders else dict(os.environ)


def dovecot(servers: Path = SERVERS) -> Prefix:
    """Dovecot's place; what was fetched before is found in no time. Raises CannotFetch."""
    installed = shutil.which("dovecot", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if installed and version(Path(installed), dict(os.environ)) >= OLDEST_DOVECOT:
        return Prefix(Path("/"))
    return fetch(["dovecot-core", "dovecot-imapd"], servers / "dovecot", _find_modules_beside_base_dir)


def redis(servers: Path = SERVERS) -> Prefix:
    """Redis' place; what was fetched before is found in no time. Raises CannotFetch."""
    if shutil.which("redis-server"):
        return Prefix(Path("/"))
    return fetch(["redis-server", "redis-tools"], servers / "redis")


def nginx(servers: Path = SERVERS) -> Prefix:
    """nginx' place; what was fetched before is found in no time. Raises CannotFetch."""
    if shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin"):
        return Prefix(Path("/"))
    return fetch(["nginx"], servers / "nginx")


def emulate(servers: Path = SERVERS) -> Path:
    """The main module of npm's `emulate`, which plays the sign-in of large providers. Raises CannotFetch."""
    into = servers / f"emulate-{EMULATE}"
    if not (into / ".complete").exists():
        for tool in ("node", "npm"):
            if shutil.which(tool) is None:
                raise CannotFetch(f"this system has no {tool}")
        unfinished = into.with_name(f"{into.name}.{os.getpid()}")
        unfinished.mkdir(parents=True)
        options = ["--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(unfinished)]
        try:
            _run(["npm", "install", *options, f"emulate@{EMULATE}"], cwd=unfinished)
            (unfinished / ".complete").touch()
            _settle(unfinished, into)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return into / "node_modules" / "emulate" / "dist" / "api.js"


def _find_modules_beside_base_dir(root: Path) -> None:
    """Let the unpacked Dovecot load its TLS module.

    The folder of that module is built into Dovecot and no setting moves it. All processes run in `base_dir`,
    so a relative path does, when `base_dir` holds a link named `modules`.
    """
    built_in = b"/usr/lib/dovecot/modules\0"
    for library in root.glob("usr/lib/dovecot/libdovecot*.so.0.0.0"):
        code = library.read_bytes()
        if built_in in code:
            library.write_bytes(code.replace(built_in, b"./modules".ljust(len(built_in), b"\0")))


def version(program: Path, environment: dict[str, str]) -> tuple[int, ...]:
    """`2.3.19.1 (9b53102964)` -> (2, 3, 19, 1); () when it does not even start."""
    answer = subprocess.run([program, "--version"], capture_output=True, text=True, env=environment)
    number = re.match(r"\d+(\.\d+)*", answer.stdout)
    return tuple(map(int, number[0].split("."))) if number else ()


def fetch(packages: Iterable[str], into: Path, finish: Callable[[Path], None] | None = None) -> Prefix:
    """Unpack Debian packages, and what libraries they need and the system lacks, into a folder.

    The folder appears complete or not at all: an interrupted run is simply done again. Raises CannotFetch.
    """
    if (into / ".complete").exists():
        return Prefix(into)
    for tool in ("apt-get", "apt-cache", "dpkg", "dpkg-query"):
        if shutil.which(tool) is None:
            raise CannotFetch(f"this system has no {tool}: install {' and '.join(packages)} by hand")
    unfinished = into.with_name(f"{into.name}.{os.getpid()}")
    shutil.rmtree(unfinished, ignore_errors=True)
    (unfinished / "debs").mkdir(parents=True)
    try:
        apt = _Apt(list(packages), into.parent / "apt")
        wanted = _closure(list(packages), apt)
        _run([*apt("apt-get"), "download", *wanted], cwd=unfinished / "debs")
        for archive in sorted((unfinished / "debs").glob("*.deb")):
            _run(["dpkg", "-x", str(archive), str(unfinished)])
        shutil.rmtree(unfinished / "debs")
        if finish:
            finish(unfinished)
        (unfinished / ".complete").touch()
        _settle(unfinished, into)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return Prefix(into)


def _settle(unfinished: Path, into: Path) -> None:
    if not (into / ".complete").exists():  # a second run beside us may have been quicker
        shutil.rmtree(into, ignore_errors=True)
        unfinished.rename(into)


class _Apt:
    """apt's tools, with package lists of our own when the system's are missing and we may not renew them."""

    def __init__(self, packages: list[str], state: Path) -> None:
        self._options: list[str] = []
        if self._knows(packages):
            return
        if os.geteuid() != 0:
            (state / "lists" / "partial").mkdir(parents=True, exist_ok=True)
            (state / "cache" / "archives" / "partial").mkdir(parents=True, exist_ok=True)
            self._options = [
                f"-oDir::State::lists={state / 'lists'}",
                f"-oDir::Cache={state / 'cache'}",
                "-oDebug::NoLocking=1",
            ]
        _run([*self("apt-get"), "-q", "update"])
        if not self._knows(packages):
            raise CannotFetch(f"the package lists do not know {' and '.join(packages)}")

    def __call__(self, tool: str) -> list[str]:
        sandbox = ["-oAPT::Sandbox::User=root"] if os.geteuid() == 0 else []
        return [tool, *sandbox, *self._options]

    def _knows(self, packages: list[str]) -> bool:
        shown = subprocess.run(
            [*self("apt-cache"), "show", "--no-all-versions", *packages], capture_output=True
        )
        return shown.returncode == 0


def _closure(packages: list[str], apt: _Apt) -> list[str]:
    """The packages, and every library they depend on, directly or not, that is not installed."""
    wanted, todo, installed = dict.fromkeys(packages), set(packages), _installed()
    while todo:
        needed = _dependencies(sorted(todo), apt)
        todo = {name for name in needed if name.startswith("lib")} - installed - wanted.keys()
        wanted |= dict.fromkeys(sorted(todo))
    return list(wanted)


def _dependencies(packages: list[str], apt: _Apt) -> set[str]:
    """The direct dependencies; of alternatives (`|Depends`) the first."""
    found, alternative = set(), False
    for line in _run([*apt("apt-cache"), "depends", *packages]).splitlines():
        match = re.match(r" ([ |])(?:Pre)?Depends: (\S+)", line)
        if match is None:
            continue
        if not alternative and not match[2].startswith("<"):
            found.add(match[2])
        alternative = match[1] == "|"
    return found


def _installed() -> set[str]:
    asked = ["dpkg-query", "-W", "-f", "${db:Status-Abbrev} ${Package}\n"]
    return {line.split()[-1] for line in _run(asked).splitlines() if line.startswith("ii")}


def _run(command: list[str], cwd: Path | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr or done.stdout).strip().splitlines()
        raise CannotFetch(unquote(reason[-1]) if reason else f"{command[0]} failed")
    return done.stdout


if __name__ == "__main__":
    for name, get in (("Dovecot", dovecot), ("Redis", redis), ("nginx", nginx), ("emulate", emulate)):
        try:
            get()
        except (CannotFetch, OSError) as error:
            sys.stdout.write(f"No {name} for the tests that need one: {error}\n")
