"""The real command in processes of its own, against a real database."""

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import structlog
from servers.tenants import ONE

from postroom.cli.given import read_settings
from postroom.cli.installation import Installation
from postroom.db.listen import open_hints
from postroom.db.pool import Database
from postroom.net.egress import Egress
from postroom.people.keys import FirstKey
from postroom.providers.registry import Registry
from postroom.vault import keys

COMMAND = [sys.executable, "-m", "postroom.cli"]
OURS = ("POSTROOM_", "PYTEST_")


def slowly(*cases: Any) -> list[Any]:
    """Cases that `make check` leaves out: each starts a command or several, and others like it stay in."""
    return [pytest.param(case, marks=pytest.mark.slow) for case in cases]


@dataclass(frozen=True, slots=True)
class Ended:
    """What a command said, and its exit status."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True, slots=True)
class Cli:
    """Calls `postroom` for one installation."""

    data: Path
    options: dict[str, str] = field(default_factory=dict)

    def __call__(self, *words: str | Path, stdin: str = "", **more: str) -> Ended:
        done = subprocess.run(
            [*COMMAND, *map(str, words)],
            input=stdin,
            capture_output=True,
            text=True,
            env=self.environment(**more),
            check=False,
        )
        assert "Traceback" not in done.stdout + done.stderr
        return Ended(done.returncode, done.stdout, done.stderr)

    @contextmanager
    def running(self, *words: str | Path, **more: str) -> Iterator["subprocess.Popen[str]"]:
        """A command that goes on; killed at the end if it is still there."""
        process = subprocess.Popen(
            [*COMMAND, *map(str, words)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment(**more),
        )
        try:
            yield process
        finally:
            process.kill()
            process.communicate()

    def environment(self, **more: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
        return {**kept, "POSTROOM_DATA": str(self.data), **self.options, **more}


@pytest.fixture
def cli(dsn: str, tmp_path: Path) -> Cli:
    """An installation of its own on the tests' PostgreSQL."""
    return Cli(tmp_path / "data", {"POSTROOM_DATABASE_URL": dsn})


@dataclass(slots=True)
class Lab:
    """Runs `postroom lab imap`, any number of times."""

    home: Path
    started: list["subprocess.Popen[str]"] = field(default_factory=list)

    def __call__(self, *options: str) -> str:
        """Start one with these options; returns its URL."""
        process = subprocess.Popen(
            [*COMMAND, "lab", "imap", *options],
            stdout=subprocess.PIPE,
            text=True,
            env=Cli(self.home).environment(),
        )
        self.started.append(process)
        assert process.stdout is not None
        return process.stdout.readline().split()[0]

    def stop(self) -> None:
        """End them all."""
        while self.started:
            process = self.started.pop()
            process.kill()
            process.communicate()


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    running = Lab(tmp_path / "lab")
    yield running
    running.stop()


@pytest.fixture
async def house(db: Database, tmp_path: Path) -> AsyncIterator[Installation]:
    async with open_hints(db) as hints:
        vault, providers = keys.load(tmp_path), Registry(Egress(private_allowed=True))
        yield Installation(
            read_settings(tmp_path, None),
            tmp_path,
            db,
            hints,
            vault,
            providers,
            ONE,
            FirstKey("", is_new=False),
        )


@pytest.fixture(autouse=True)
def logs_go_where_they_went() -> Iterator[None]:
    """A command logs into its folder; a test that did so would leave a closed file to all that follow."""
    before = structlog.is_configured()
    yield
    assert structlog.is_configured() == before
