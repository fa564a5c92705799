"""Processes that run the jobs of a database: postroom's own executors, or Celery with a real Redis."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
from servers.postgres import TEMPLATE, named
from servers.redis import Redis
from servers.tenants import MAKE

ROOT = Path(__file__).parents[2]
CELERY = [sys.executable, "-m", "celery", "-A", "executor.celery_app"]
WORKER = [
    *CELERY,
    "worker",
    "--concurrency",
    "2",
    "--without-gossip",
    "--without-mingle",
    "--loglevel",
    "INFO",
]
PLAIN = [sys.executable, "-m", "executor.plain"]


@dataclass
class Runners:
    """What runs, and where: `redis` is Celery's, None for our own executor."""

    dsn: str
    home: Path
    redis: Redis | None
    _processes: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    def start(self, command: list[str]) -> "subprocess.Popen[bytes]":
        """One more process, which ends with the block, or with us."""
        source = os.pathsep.join(str(ROOT / name) for name in ("src", "tests"))
        environment = {**os.environ, "PYTHONPATH": source, "TEST_DATABASE_URL": self.dsn}
        if self.redis is not None:
            environment["TEST_BROKER_URL"] = self.redis.url
        with (self.home / f"log.{len(self._processes)}").open("wb") as log:
            process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.home,
                env=environment,
            )
        self._processes.append(process)
        return process

    def kill(self, pid: int) -> None:
        """The process that runs a job, as if the machine had taken it. Celery starts another by itself."""
        os.kill(pid, signal.SIGKILL)
        if self.redis is None:
            self.start(PLAIN)

    def logs(self) -> str:
        return "\n".join(path.read_text(errors="replace") for path in sorted(self.home.glob("log.*")))

    def stop(self) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def running(postgres: str, home: Path, redis: Redis | None) -> Iterator[Runners]:
    """Two jobs at a time, over a database of their own with two tenants."""
    database = f"executor_{'plain' if redis is None else 'celery'}"
    asyncio.run(_make(postgres, database))
    with ExitStack() as stack:
        stack.callback(lambda: asyncio.run(_drop(postgres, database)))
        runners = Runners(named(postgres, database), home, redis)
        stack.callback(runners.stop)
        if redis is None:
            for _ in range(2):
                runners.start(PLAIN)
        else:
            runners.start(WORKER)
            runners.start([*CELERY, "beat", "--max-interval", "1"])
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
