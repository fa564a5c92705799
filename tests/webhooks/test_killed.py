"""A process that delivers is killed, at any moment: nothing is skipped, what is repeated has the same id."""

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest
from servers.nursery import Nursery, nursery
from webhooks.receiving import BROKEN, OK, Message, Receiver, added, append, is_in_order, receiving, subscribe

from postroom.db.pool import Database
from postroom.vault.seal import Vault

pytestmark = [pytest.mark.usefixtures("tenants"), pytest.mark.slow]

KILLS = 12
STREAMS = range(1, 5)
AGE = 1.5  # seconds until it is killed at the latest
MOMENT = 0.04  # seconds that an answer takes, and in which it is written how far a lane has come


@dataclass
class Killing:
    """Begins processes, one after the other, and kills each."""

    dsn: str
    nursery: Nursery
    dice: random.Random
    pid: int = 0
    left: int = KILLS
    over: asyncio.Event = field(default_factory=asyncio.Event)

    async def begin(self) -> None:
        self.pid, self.over = await self.nursery.begin(dsn=self.dsn), asyncio.Event()

    def kill(self) -> bool:
        """Whether it was alive."""
        if self.left == 0 or self.over.is_set():
            return False
        self.left -= 1
        os.kill(self.pid, signal.SIGKILL)
        self.over.set()
        return True

    async def reply(self, _message: Message, writer: asyncio.StreamWriter) -> bytes | None:
        """Mostly what it should; and sometimes it kills who has asked, before or soon after the answer.

        It takes a moment, so that there is always something under way when it is written how far others are.
        """
        await asyncio.sleep(self.dice.random() * MOMENT)
        match self.dice.randrange(30):
            case 0:
                return None if self.kill() else OK
            case 1:
                asyncio.get_running_loop().call_later(self.dice.random() * MOMENT, self.kill)
            case 2:
                return BROKEN
            case 3:
                return None
            case 4 if self.kill():
                writer.write(OK[:10])
                return None
            case _:
                pass
        return OK


@asynccontextmanager
async def killing(dsn: str, dice: random.Random) -> AsyncIterator[Killing]:
    async with nursery("webhooks.deliverer") as begun:
        it = Killing(dsn, begun, dice)
        try:
            yield it
        finally:
            with suppress(ProcessLookupError):
                if it.pid:
                    os.kill(it.pid, signal.SIGKILL)


async def live_and_die(it: Killing) -> None:
    while it.left:
        await it.begin()
        asyncio.get_running_loop().call_later(it.dice.random() * AGE, it.kill)
        await it.over.wait()
    await it.begin()


def is_exact(receiver: Receiver, count: int) -> bool:
    """Whether all came in order, and each id stands for one event."""
    places = {message.id: message.place for message in receiver.got}
    firsts = receiver.firsts
    return is_in_order(firsts) and len(firsts) == count == len(set(places.values()))


@pytest.mark.parametrize("seed", range(6))
async def test_whoever_is_killed_skips_nothing_and_repeats_under_the_same_ids(
    db: Database, dsn: str, vault: Vault, seed: int
) -> None:
    dice, count = random.Random(seed), 0
    async with (
        asyncio.timeout(60),
        killing(dsn, dice) as it,
        receiving(it.reply) as one,
        receiving(it.reply) as other,
    ):
        await subscribe(db, vault, one.url, types=["mail.*"])
        await subscribe(db, vault, other.url, types=["mail.*"])
        async with asyncio.TaskGroup() as group:
            dying = group.create_task(live_and_die(it))
            while not dying.done():
                events = [added(n) for n in range(dice.randrange(1, 6))]
                await append(db, dice.choice(STREAMS), *events)
                count += len(events)
                await asyncio.sleep(dice.random() / 20)
        assert it.left == 0
        for receiver in (one, other):
            await receiver.until(lambda each: len(each.taken) == count)
    assert is_exact(one, count)
    assert is_exact(other, count)
