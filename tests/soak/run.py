"""The long run: `make soak MINUTES=n` plays histories on all servers, and adds to the kept tally.

    python -m soak.run --minutes 60 [--seed 7] [--lane NAME] [--no-tally]

A failure is told with lane and seed: `--seed 7 --lane plain` plays it again. Status 1 if there was one.
"""

import argparse
import asyncio
import logging
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import structlog
from crash.tally import add
from servers.dovecot import Dovecot
from servers.dovecot import running as dovecot_running
from servers.postgres import FAST, TEMPLATE, named
from servers.tenants import MAKE
from soak.lanes import Lane, database, inside, lying
from soak.outside import outside
from soak.tally import Count

from postroom.db.embedded.client import running as postgres_running
from postroom.db.migrate import migrate
from postroom.db.pool import connect

MODES = ("qresync", "condstore", "plain", "objectid", "gmail")
LANES = (*MODES, "dovecot", "lying", "processes")
FINDINGS = Path(__file__).parents[2] / "build" / "soak"
TELL_EVERY = 60.0  # seconds


def main() -> int:
    parser = argparse.ArgumentParser(prog="soak")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=None, help="of the first history of each lane")
    parser.add_argument("--lane", action="append", choices=LANES, help="may be given again; all without it")
    parser.add_argument("--no-tally", action="store_true")
    given = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    seed = random.SystemRandom().randrange(1 << 31) if given.seed is None else given.seed
    tell(f"seed {seed}, lanes {', '.join(given.lane or LANES)}")
    began = time.monotonic()
    count = Count()
    try:
        with suppress(KeyboardInterrupt, asyncio.CancelledError):
            asyncio.run(soak(given.minutes, seed, given.lane or LANES, count))
    finally:
        table = count.table(round((time.monotonic() - began) / 60))
        tell(described(table))
        if not given.no_tally:
            tell(f"the tally: {described(add('soak', table))}")
    return 1 if count.wrong else 0


async def soak(minutes: float, seed: int, lanes: list[str] | tuple[str, ...], count: Count) -> None:
    """Play these lanes side by side. SIGTERM and Ctrl-C end it; what was counted is kept."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    end = time.monotonic() + minutes * 60
    folder = _folder()
    try:
        async with AsyncExitStack() as stack:
            (folder / "inside").mkdir()
            dsn = await stack.enter_async_context(postgres_running(folder / "inside", FAST))
            await _template(dsn)
            dovecot = stack.enter_context(dovecot_running())
            group = await stack.enter_async_context(asyncio.TaskGroup())
            for name in lanes:
                lane = Lane(name, count, lambda: time.monotonic() < end, tell, FINDINGS)
                own = await database(dsn, TEMPLATE, f"soak_{name}")
                group.create_task(lane.run(seed, _player(name, lane, own, folder, dovecot)))
            group.create_task(_progress(count, end))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _player(
    name: str, lane: Lane, dsn: str, folder: Path, dovecot: Dovecot
) -> Callable[[int], Awaitable[None]]:
    match name:
        case "processes":
            return lambda seed: outside(lane, seed, folder, dovecot)
        case "lying":
            return lambda seed: lying(lane, seed, dsn, MODES[seed % len(MODES)])
        case "dovecot":
            return lambda seed: inside(lane, seed, dsn, "", dovecot)
    return lambda seed: inside(lane, seed, dsn, name, None)


async def _template(dsn: str) -> None:
    conn = await connect(dsn)
    await conn.execute(f"CREATE DATABASE {TEMPLATE}")
    await conn.close()
    await migrate(named(dsn, TEMPLATE))
    conn = await connect(named(dsn, TEMPLATE))
    await conn.execute(MAKE)
    await conn.close()


async def _progress(count: Count, end: float) -> None:
    while (left := end - time.monotonic()) > 0:
        await asyncio.sleep(min(TELL_EVERY, left))
        tell(described(count.table(0)))


def described(table: dict[str, int]) -> str:
    return ", ".join(f"{name} {number:,}" for name, number in table.items() if number or name in {"lost"})


def _folder() -> Path:
    """In memory, where databases that last for minutes are better off."""
    folder = Path(
        tempfile.mkdtemp(prefix="soak-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
    )
    folder.chmod(0o755)  # PostgreSQL runs as somebody else when we are root
    return folder


def tell(said: str) -> None:
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {said}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
