"""Who waits, for how long, and what is kept in memory meanwhile."""

import asyncio
import gc
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from webhooks.receiving import (
    ANYWHERE,
    BROKEN,
    OK,
    QUICK,
    Message,
    added,
    append,
    delivered,
    is_in_order,
    receiving,
    running,
    subscribe,
)

from postroom.accounts import store as accounts
from postroom.db import processes
from postroom.db.beside import beside
from postroom.db.listen import open_hints
from postroom.db.pool import Database
from postroom.events.follow import Heard, following
from postroom.vault.seal import Vault
from postroom.webhooks.courier import HELD, Means
from postroom.webhooks.run import KIND, Deliverer

pytestmark = pytest.mark.usefixtures("tenants")

POISONED = range(1, 6)
WELL = 9
STREAMS = 40
LATER = "UPDATE postroom.webhooks_lane SET next_at = $1"


def heard() -> int:
    """Events that are in this process's memory."""
    return sum(isinstance(each, Heard) for each in gc.get_objects())


async def test_events_that_are_refused_for_themselves_keep_to_their_times_whatever_else_is_taken(
    db: Database, vault: Vault
) -> None:
    async def refuse(message: Message, _writer: asyncio.StreamWriter) -> bytes:
        return BROKEN if message.place[0] in POISONED else OK

    pace = replace(QUICK, first=timedelta(seconds=2), longest=timedelta(hours=1))
    async with receiving(refuse) as receiver, running(db, vault, pace), asyncio.timeout(30):
        await subscribe(db, vault, receiver.url, types=["mail.*"])
        for stream in POISONED:
            await append(db, stream, added())
        await receiver.count(len(POISONED))
        for number in range(40):
            await append(db, WELL, added(number))
            await receiver.count(len(POISONED) + number + 1)
        refused = [one for one in receiver.got if one.place[0] in POISONED]
    assert len(refused) < 8 * len(POISONED)  # with each that was taken: forty times as many


async def test_what_waits_in_memory_for_a_receiver_that_is_slow_has_a_bound(
    db: Database, vault: Vault
) -> None:
    opening = asyncio.Event()

    async def slow(_message: Message, _writer: asyncio.StreamWriter) -> bytes:
        await opening.wait()
        return OK

    async with receiving(slow) as receiver, receiving() as other, asyncio.timeout(60):
        await subscribe(db, vault, receiver.url, types=["mail.*"])
        await subscribe(db, vault, other.url, types=["mail.*"])
        async with running(db, vault):
            for stream in range(1, STREAMS + 1):
                await append(db, stream, *(added(n) for n in range(100)))
            await other.count(STREAMS * 100)
            assert heard() < HELD + 100  # of all 4,000; and what the other one has under way
            opening.set()
            await receiver.count(STREAMS * 100)
    assert is_in_order(receiver.firsts)


async def test_next_to_nothing_waits_in_memory_for_a_receiver_that_is_down(
    db: Database, vault: Vault
) -> None:
    patient = replace(QUICK, first=timedelta(hours=1), longest=timedelta(hours=1))
    async with receiving(BROKEN) as receiver, running(db, vault, patient), asyncio.timeout(30):
        webhook, _ = await subscribe(db, vault, receiver.url, types=["mail.*"])
        for stream in range(1, 11):
            await append(db, stream, *(added(n) for n in range(100)))
        await receiver.count(10)
        await delivered(db, webhook, 10)
        while heard() > 10:  # noqa: ASYNC110  # within a second is forgotten what all have heard
            await asyncio.sleep(0.05)


async def test_nobody_waits_longer_than_the_pace_allows_whatever_clock_wrote_that_down(
    db: Database, dsn: str, vault: Vault
) -> None:
    """That of a process whose clock was a year ahead."""
    async with receiving(BROKEN) as receiver, asyncio.timeout(20):
        webhook, _ = await subscribe(db, vault, receiver.url, types=["mail.*"])
        await append(db, 1, added())
        async with running(db, vault):
            await delivered(db, webhook)
        conn = await asyncpg.connect(dsn)
        await conn.execute(LATER, datetime.now(UTC) + timedelta(days=365))
        await conn.close()
        receiver.reply = OK
        async with running(db, vault):
            await receiver.until(lambda it: len(it.taken) == 1)


# What a database looks like that went back to a backup: two events are not there any more.
WENT_BACK = """
    DELETE FROM postroom.events_event WHERE stream = 1 AND seq > 3;
    UPDATE postroom.events_head h SET seq = e.seq, hash = e.hash
      FROM postroom.events_event e WHERE h.stream = 1 AND e.stream = 1 AND e.seq = 3;
    INSERT INTO postroom.webhooks_lane (tenant_id, webhook_id, stream, seq)
    SELECT tenant_id, id, 1, 3 FROM postroom.webhooks_webhook;
"""


async def test_what_was_delivered_before_a_database_went_back_is_not_written_into_it(
    db: Database, dsn: str, vault: Vault
) -> None:
    """Nothing that comes then under the numbers that were delivered is skipped."""
    by_hand = replace(QUICK, write_every=timedelta(hours=1))
    async with (
        asyncio.timeout(20),
        receiving() as receiver,
        open_hints(db) as hints,
        following(db, hints, accounts.public_ids) as live,
        processes.registered(db, KIND) as me,
    ):
        deliverer = Deliverer(Means(db, live, vault, ANYWHERE, by_hand), hints, me)
        async with beside(deliverer.work()):
            await subscribe(db, vault, receiver.url, types=["mail.*"])
            await append(db, 1, *(added(n) for n in range(5)))
            await receiver.count(5)
            await append(db, 2, added())
            await receiver.count(6)
            conn = await asyncpg.connect(dsn)
            await conn.execute(WENT_BACK)
            await conn.close()
            await deliverer.write()
            await append(db, 1, *(added(n) for n in range(10, 13)))
            new = {(1, 4), (1, 5), (1, 6)}
            await receiver.until(lambda it: {one.place for one in it.firsts[6:]} >= new)
