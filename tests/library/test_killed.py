"""An application is killed with -9 between any two steps, again and again: each message has one ticket."""

import asyncio
import random
from collections import Counter
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from library.desk import Desk, added, arrive
from servers.nursery import kill, nursery

from postroom.db.pool import Database

MESSAGES = 4
LEAST = 10  # steps before the commit
ROUNDS, MANY, NEVER = 12, 60, 0
AGES = 0.1, 0.7  # seconds
# Nobody waits, and it does not stop, though it is killed at one event again and again.
AGAIN = (
    "UPDATE postroom.library_handler SET begun = least(begun, $1), retry_at = NULL WHERE stopped_at IS NULL"
)


@pytest.mark.slow
@pytest.mark.parametrize(("way", "begun_at_most"), [("nothing", 0), ("sessions", 0), ("nothing", 1)])
async def test_wherever_it_is_killed_each_message_has_one_ticket(
    desk: Desk, db: Database, way: str, begun_at_most: int, tmp_path: Path
) -> None:
    """At each step once, until one is not reached any more; whoever comes next finds what was left."""
    expected, lived, last, kills = await arrive(db, *added(MESSAGES)), tmp_path / "lived", 0, Counter[int]()
    async with nursery("library.hosting") as begun:

        async def life(last: int) -> None:
            await desk.conn.execute(AGAIN, begun_at_most)
            asked = {"dsn": desk.dsn, "way": way, "messages": len(expected), "lived": str(lived)}
            await begun.life(**asked, last=last)

        while not lived.exists():
            last += 1
            await life(last)
            handled = await desk.messages()
            assert handled == expected[: len(handled)]
            kills[len(expected) - len(handled)] += 1
            if handled == expected:
                expected += await arrive(db, *added(MESSAGES))
        lived.unlink()
        await life(NEVER)

    assert await desk.messages() == expected
    assert lived.exists()
    assert kills[MESSAGES] > LEAST  # before the commit
    assert kills[0]  # after it


@pytest.mark.slow
async def test_two_processes_at_once_that_are_killed_at_any_age_double_and_skip_nothing(
    desk: Desk, db: Database, tmp_path: Path
) -> None:
    dice, expected = random.Random(8), list[UUID]()
    asked: dict[str, Any] = {"dsn": desk.dsn, "way": "pool", "last": NEVER, "lived": str(tmp_path / "lived")}
    async with nursery("library.hosting") as begun:
        for _ in range(ROUNDS):
            await desk.conn.execute(AGAIN, MANY)
            numbers = [await begun.begin(messages=1 << 40, **asked) for _ in range(2)]
            for number in numbers:
                expected += await arrive(db, *added(MANY))
                await asyncio.sleep(dice.uniform(*AGES))
                await kill(number)
            handled = await desk.messages()
            assert handled == expected[: len(handled)]
        expected += await arrive(db, *added(1))
        await desk.conn.execute(AGAIN, MANY)
        await begun.life(messages=len(expected), **asked)

    assert await desk.messages() == expected
