"""An application is killed with -9 between any two steps, again and again: each message has one ticket."""

import asyncio
import json
import os
import random
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest
from crash.killing import kill
from library.desk import Desk, added, arrive

from postroom.db.pool import Database

MESSAGES = 4
LEAST = 10  # steps before the commit
ROUNDS, MANY, NEVER = 12, 60, 0
AGES = 0.1, 0.7  # seconds


@dataclass
class Nursery:
    process: Process

    async def begin(self, dsn: str, way: str, messages: int, last: int, lived: Path) -> int:
        """The number of a new process; see `hosting`."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        asked = {"dsn": dsn, "way": way, "messages": messages, "last": last, "lived": str(lived)}
        self.process.stdin.write(json.dumps(asked).encode() + b"\n")
        return int(await self.process.stdout.readline())

    async def life(self, dsn: str, way: str, messages: int, last: int, lived: Path) -> None:
        """One process, from its beginning to its end."""
        number = await self.begin(dsn, way, messages, last, lived)
        try:
            file = os.pidfd_open(number)
        except ProcessLookupError:
            return
        gone = asyncio.Event()
        asyncio.get_running_loop().add_reader(file, gone.set)
        async with asyncio.timeout(30):
            await gone.wait()
        asyncio.get_running_loop().remove_reader(file)
        os.close(file)


@pytest.fixture
async def nursery() -> AsyncIterator[Nursery]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "library.hosting"),
        stdin=PIPE,
        stdout=PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        yield Nursery(process)
    finally:
        process.kill()
        await process.wait()


@pytest.mark.slow
@pytest.mark.parametrize("way", ["nothing", "sessions"])
async def test_wherever_it_is_killed_each_message_has_one_ticket(
    desk: Desk, db: Database, nursery: Nursery, way: str, tmp_path: Path
) -> None:
    """At each step once, until one is not reached any more; whoever comes next finds what was left."""
    expected, lived, last, kills = await arrive(db, *added(MESSAGES)), tmp_path / "lived", 0, Counter[int]()
    while not lived.exists():
        last += 1
        await nursery.life(desk.dsn, way, len(expected), last, lived)
        handled = await desk.messages()
        assert handled == expected[: len(handled)]
        kills[len(expected) - len(handled)] += 1
        if handled == expected:
            expected += await arrive(db, *added(MESSAGES))
    lived.unlink()
    await nursery.life(desk.dsn, way, len(expected), NEVER, lived)

    assert await desk.messages() == expected
    assert lived.exists()
    assert kills[MESSAGES] > LEAST  # before the commit
    assert kills[0]  # after it


@pytest.mark.slow
async def test_two_processes_at_once_that_are_killed_at_any_age_double_and_skip_nothing(
    desk: Desk, db: Database, nursery: Nursery, tmp_path: Path
) -> None:
    dice, expected = random.Random(8), list[UUID]()
    for _ in range(ROUNDS):
        numbers = [
            await nursery.begin(desk.dsn, "pool", 1 << 40, NEVER, tmp_path / "never") for _ in range(2)
        ]
        for number in numbers:
            expected += await arrive(db, *added(MANY))
            await asyncio.sleep(dice.uniform(*AGES))
            await kill(number)
        handled = await desk.messages()
        assert handled == expected[: len(handled)]
    expected += await arrive(db, *added(1))
    await nursery.life(desk.dsn, "pool", len(expected), NEVER, tmp_path / "lived")

    assert await desk.messages() == expected
