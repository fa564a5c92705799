"""Sessions that are asked whether they still listen."""

import asyncio
from datetime import timedelta

from servers.tenants import ONE

from postroom.db.beside import beside
from postroom.ids import AccountId
from postroom.providers.target import Key
from postroom.sync.pace import Pace
from postroom.sync.silent import Silent

MANY = 1_000


async def test_those_that_are_dead_keep_no_other_from_being_asked() -> None:
    asked, all_asked = set[Key](), asyncio.Event()

    async def ask(key: Key) -> None:
        asked.add(key)
        if len(asked) == MANY:
            all_asked.set()
        await asyncio.Event().wait()

    silent = Silent(Pace(silence=timedelta(0)), ask)
    for number in range(MANY):
        silent.begin((ONE, AccountId(number)))
    async with asyncio.timeout(60), beside(silent.work(lambda: MANY)):
        await all_asked.wait()


async def test_one_that_was_heard_of_or_is_gone_is_not_asked() -> None:
    asked, is_asked = list[int](), asyncio.Event()

    async def ask(key: Key) -> None:
        asked.append(key[1])
        is_asked.set()

    silent = Silent(Pace(silence=timedelta(seconds=3)), ask)
    for number in (1, 2, 3):
        silent.begin((ONE, AccountId(number)))
    async with asyncio.timeout(60), beside(silent.work(lambda: 2)):
        silent.end((ONE, AccountId(1)))
        silent.heard((ONE, AccountId(2)))
        await is_asked.wait()

    assert asked[0] == 3
