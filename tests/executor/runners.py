"""Processes that run the jobs of a database: postroom's own executors, or Celery with a real Redis."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
from servers.postgres import TEMPLATE, named
from servers.redis import Redis
from servers.tenants import MAKE

ROOT = Path(__file__).parents[2]
CELERY = [sys.executable, "-m", "celery", "-A"]
WORKER = [
    "worker",
    "--concurrency",
    "2",
    "--without-gossip",
    "--without-mingle",
    "--hostname",
]
BEAT = ["beat", "--max-interval", "1"]
PLAIN = [sys.executable, "-m", "executor.plain"]


@dataclass
class Runners:
    """What runs, and where: `redis` and `app` are Celery's, None for our own executor."""

    dsn: str
    home: Path
    redis: Redis | None
    app: str = "executor.celery_app"
    settings: Mapping[str, str] = field(default_factory=dict)
    _runners: list["subprocess.Popen[bytes]"] = field(default_factory=list)
    _others: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    @property
    def slots(self) -> int:
        """How many jobs run at a time."""
        return 2 * sum(process.poll() is None for process in self._runners)

    def start(self) -> "subprocess.Popen[bytes]":
        """One more that runs jobs, two at a time."""
        name = f"runner{len(self._runners)}"
        command = PLAIN if self.redis is None else [*CELERY, self.app, *WORKER, name]
        self._runners.append(self._start(name, command))
        return self._runners[-1]

    def start_beat(self) -> None:
        self._others.append(self._start("beat", [*CELERY, self.app, *BEAT]))

    def _start(self, name: str, command: list[str]) -> "subprocess.Popen[bytes]":
        source = os.pathsep.join(str(ROOT / name) for name in ("src", "tests"))
        environment = {**os.environ, **self.settings, "PYTHONPATH": source}
        environment["POSTROOM_DATABASE_URL"] = self.dsn
        environment["REMAP_SIGTERM"] = "SIGQUIT"  # without it Celery waits for what runs, however long
        if self.redis is not None:
            environment["POSTROOM_CELERY_BROKER_URL"] = self.redis.url
        if shutil.which("setpriv"):  # a test run that is killed takes what it started along
            command = ["setpriv", "--pdeathsig", "KILL", *command]
        with (self.home / f"{name}.log").open("wb") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.home,
                env=environment,
            )

    def kill(self, pid: int) -> None:
        """The process that runs a job, as if the machine had taken it. Celery starts another by itself."""
        os.kill(pid, signal.SIGKILL)
        if self.redis is None:
            self.start()

    def stop(self) -> None:
        """All of them."""
        processes = [*self._runners, *self._others]
        for process in processes:
            process.terminate()
        for process in processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def running(postgres: str, home: Path, redis: Redis | None) -> Iterator[Runners]:
    """One that runs two jobs at a time, over a database of its own with two tenants."""
    database = f"executor_{'plain' if redis is None else 'celery'}"
    if redis is not None:
        redis.ask("FLUSHALL")
    asyncio.run(_make(postgres, database))
    with ExitStack() as stack:
        stack.callback(lambda: asyncio.run(_drop(postgres, database)))
        runners = Runners(named(postgres, database), home, redis)
        stack.callback(runners.stop)
        runners.start()
        if redis is not None:
            runners.start_beat()
        yield runners


async def _make(postgres: str, database: str) -> None:
    conn = await asyncpg.connect(postgres)
    await conn.execute(f"CREATE DATABASE {database} TEMPLATE {TEMPLATE} STRATEGY file_copy")
    await conn.close()
    conn = await asyncpg.connect(named(postgres, database))
    await conn.execute(MAKE)
    await conn.close()


async def _drop(postgres: str, database: str) -> None:
    conn = await asyncpg.connect(postgres)
    await conn.execute(f"DROP DATABASE {database} WITH (FORCE)")
    await conn.close()
