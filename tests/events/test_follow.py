"""A log followed live: read once for all, and everybody is given exactly their events, once and in order."""

import asyncio
import random
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from events.following import any_filter, append, event, everything, expected, heard, live, write
from events.forging import SIGNER
from servers.tenants import ONE, TWO

from postroom.accounts import store as accounts
from postroom.db.beside import beside
from postroom.db.listen import open_hints
from postroom.db.pool import Database, open_pool
from postroom.events import feed, follow
from postroom.events.follow import Following, following
from postroom.events.model import Entry, Event, NoSuchType, Place
from postroom.events.remove import mark
from postroom.events.wanted import MOST, Types, Wanted

pytestmark = pytest.mark.usefixtures("tenants")

GONE = Event("mail.removed", {"message": "m" * 36})
DROP = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
     WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
NEVER = timedelta(hours=1)


@dataclass(slots=True)
class Reader:
    """Comes, reads for a while, goes, and comes again with the place of the last that it saw."""

    wanted: Wanted
    rng: random.Random
    after: Place = feed.START
    seen: list[Entry] = field(default_factory=list)

    async def read(self, live: Following, *, is_slow: bool) -> None:
        while True:
            follower = live.follower(ONE, None, self.wanted, self.after)
            try:
                for _ in range(self.rng.randrange(1, 8)):
                    for entry in await heard(follower):
                        self.seen.append(entry)
                        self.after = feed.place_of(entry)
                    if is_slow:
                        await asyncio.sleep(self.rng.random() / 20)
            finally:
                follower.close()

    async def catch_up(self, live: Following, last: Place) -> None:
        """What had come up to a place that is in the log by now."""
        follower = live.follower(ONE, None, self.wanted, self.after)
        while follower.after <= last:
            self.seen += [one.entry for one in await follower.take()]
            await asyncio.sleep(0)
        follower.close()


@pytest.mark.parametrize("seed", range(3))
async def test_who_comes_goes_and_is_slow_is_given_exactly_its_events_once_in_order(
    db: Database, dsn: str, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(follow, "KEPT", 10)
    monkeypatch.setattr(follow, "PAGE", 7)
    rng = random.Random(seed)
    readers = [Reader(any_filter(rng, 20), random.Random(rng.random())) for _ in range(50)]
    async with open_pool(dsn) as theirs, open_hints(theirs), live(db) as it:
        reading = beside(*(one.read(it, is_slow=n % 5 == 0) for n, one in enumerate(readers)))
        async with reading, asyncio.TaskGroup() as writers:
            for stream in range(1, 21):
                writers.create_task(write(theirs, stream, 10, random.Random(rng.random())))
        everything_there = await everything(db)
        for one in readers:
            await one.catch_up(it, feed.place_of(everything_there[-1]))

    assert len(everything_there) > 200
    for one in readers:
        assert one.seen == expected(everything_there, one.wanted)


async def test_one_reading_serves_all(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0
    look = feed.look

    async def counted(*args: Any, **more: Any) -> feed.Look:
        nonlocal looks
        looks += 1
        return await look(*args, **more)

    monkeypatch.setattr(follow, "LOOK_EVERY", NEVER)
    async with live(db) as it:
        followers = [it.follower(ONE, None, Wanted(), feed.START) for _ in range(100)]
        for follower in followers:
            assert await follower.take() == []
        monkeypatch.setattr(feed, "look", counted)
        async with asyncio.TaskGroup() as group:
            waiting = [group.create_task(heard(follower)) for follower in followers]
            await append(db, 7, GONE)
        told = await everything(db)

    assert [task.result() for task in waiting] == [told] * 100
    assert 1 <= looks < 10  # one for the event, and those that the followers' coming had asked for


async def test_what_all_have_taken_is_not_kept_and_the_slow_read_by_themselves(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "KEPT", 3)
    async with live(db) as it:
        quick, slow = (it.follower(ONE, None, Wanted(), feed.START) for _ in range(2))
        assert await quick.take() == await slow.take() == []
        seen: list[Entry] = []
        for _ in range(10):
            await append(db, 7, GONE, GONE)
            while len(seen) % 2 or len(seen) < len(await everything(db)):
                seen += await heard(quick)
        [watch] = it._watches.values()
        kept = len(watch.kept)
        late = [one.entry for one in await slow.take()]
        while len(late) < len(seen):
            late += await heard(slow)

    assert kept <= 3 + 2
    assert late == seen == await everything(db)


async def test_a_tenant_hears_nothing_of_another(db: Database) -> None:
    async with live(db) as it:
        ours, theirs = (
            it.follower(ONE, None, Wanted(), feed.START),
            it.follower(TWO, None, Wanted(), feed.START),
        )
        assert await ours.take() == await theirs.take() == []
        for tenant in (TWO, ONE, TWO):
            await append(db, 7, GONE, tenant=tenant)
        mine = await heard(ours)
        other: list[Entry] = []
        while len(other) < 2:
            other += await heard(theirs)

    assert [entry.tenant for entry in mine] == [ONE]
    assert [entry.tenant for entry in other] == [TWO, TWO]


async def test_what_an_older_transaction_holds_up_comes_when_that_has_ended(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody tells of its end when it has appended nothing."""
    monkeypatch.setattr(follow, "LOOK_EVERY", NEVER)
    async with live(db) as it:
        follower = it.follower(ONE, None, Wanted(), feed.START)
        async with db.transaction(ONE) as older:
            await older.execute("SELECT pg_current_xact_id()")
            await append(db, 7, GONE)
            reading = asyncio.create_task(heard(follower))
            held = await asyncio.wait([reading], timeout=0.3)
        told = await reading

    assert not held[0]
    assert told == await everything(db)


async def test_without_a_hint_it_is_seen_a_little_later(
    db: Database, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "LOOK_EVERY", timedelta(milliseconds=50))
    async with live(db) as it, open_pool(dsn) as silent:
        follower = it.follower(ONE, None, Wanted(), feed.START)
        assert await follower.take() == []
        await append(silent, 7, GONE)

        assert await heard(follower) == await everything(db)


async def test_a_database_that_drops_everybody_loses_nothing(db: Database, dsn: str) -> None:
    async with live(db) as it:
        follower = it.follower(ONE, None, Wanted(), feed.START)
        assert await follower.take() == []
        seen: list[Entry] = []
        for _ in range(3):
            conn = await asyncpg.connect(dsn)
            await conn.execute(DROP)
            await conn.close()
            async with open_pool(dsn) as silent:
                await append(silent, 7, GONE)
            seen += await heard(follower)

    async with open_pool(dsn) as again:
        assert seen == await everything(again)


async def test_a_log_that_went_back_in_time_ends_its_followers(db: Database, dsn: str) -> None:
    """Who comes again is told that the place is lost."""
    conn = await asyncpg.connect(dsn)
    await conn.execute("INSERT INTO postroom.events_restored VALUES (1, 1000000)")
    async with live(db) as it:
        follower = it.follower(ONE, None, Wanted(), feed.START)
        assert await follower.take() == []
        await conn.execute("DELETE FROM postroom.events_restored")

        assert await heard(follower) == []
    await conn.close()


async def test_the_end_of_the_process_ends_followers_and_those_who_come_later(db: Database) -> None:
    async with open_hints(db) as hints:
        async with following(db, hints, accounts.public_ids) as it:
            follower = it.follower(ONE, None, Wanted(), feed.START)
            waiting = asyncio.create_task(heard(follower))
            while not it._watches:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        assert await waiting == []
        assert await heard(it.follower(ONE, None, Wanted(), feed.START)) == []


async def test_who_leaves_leaves_nothing_behind(db: Database) -> None:
    async with live(db) as it:
        follower = it.follower(ONE, None, Wanted(), feed.START)
        await append(db, 7, GONE)
        assert await heard(follower)
        follower.close()

        assert (it._watches, it._called) == ({}, {})


async def test_an_account_is_told_by_the_name_that_it_has_outside(db: Database) -> None:
    async with live(db) as it:
        follower = it.follower(ONE, None, Wanted(), feed.START)
        await append(db, 1, GONE)
        await append(db, 0, event(random.Random(1)))
        await append(db, 99, GONE)  # an account that is gone
        found = [one.account for _ in range(2) for one in await follower.take()]
        async with db.transaction(ONE) as conn:
            names = await accounts.list_after(conn, ONE)

    assert found == [names[0].public_id, None, None]


def test_types_are_kinds_rooms_or_everything() -> None:
    types = Types.read(["mail.added", "sync.*", "other"], others={"other"})

    assert "mail.added" in types
    assert "sync.parked" in types
    assert "other" in types
    assert "mail.removed" not in types
    assert "jobs.failed" in Types.read(["*"])
    assert "mail.removed" not in Types.read([])


@pytest.mark.parametrize("words", [["mail.aded"], ["nothing.*"], ["mail"], [""], [".*"], ["*.*"]])
def test_a_type_that_no_event_is_of_is_refused(words: list[str]) -> None:
    with pytest.raises(NoSuchType):
        Types.read(words)


def test_a_filter_names_so_many_types_at_most() -> None:
    with pytest.raises(NoSuchType):
        Types.read([f"x{n}" for n in range(MOST + 1)], others={f"x{n}" for n in range(MOST + 1)})


async def test_who_has_slept_for_as_long_as_the_log_is_kept_is_ended_and_may_come_again(db: Database) -> None:
    """One look that finds events removed must not be repeated for ever, with everybody waiting for it."""
    async with asyncio.timeout(20), open_hints(db) as hints:
        asleep = Following(db, hints, accounts.public_ids)
        follower = asleep.follower(ONE, None, Wanted(), feed.START)
        assert await follower.take() == []
        await append(db, 7, GONE)
        await append(db, 7, GONE)
        there = await everything(db)
        await mark(db, SIGNER, ONE, there[1].at)
        [watch] = asleep._watches.values()
        await asleep._look(watch)
        again = asleep.follower(ONE, None, Wanted(), feed.START)

        assert await heard(again) == there[1:]
        assert await again.take() == []
        [anew] = asleep._watches.values()
        await asleep._look(anew)
        assert (follower.is_over, again.is_over) == (True, False)
        for each in (follower, again):
            each.close()
        assert asleep._watches == {}
