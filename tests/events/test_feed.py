"""All streams as one: nothing is skipped or repeated, whoever writes at the same time."""

import asyncio
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from servers.tenants import ONE, TWO

from postroom.db.listen import open_hints
from postroom.db.pool import Connection, Database
from postroom.events import feed, log, store
from postroom.events.model import APPENDED, BadCursor, Entry, Event, Place, PlaceLost, Stream
from postroom.ids import TenantId

pytestmark = pytest.mark.usefixtures("tenants")

SEVEN, EIGHT = Stream(7), Stream(8)
GONE = Event("mail.removed", {"message": "m" * 36})


async def appended(db: Database, stream: Stream, count: int = 1, tenant: TenantId = ONE) -> None:
    async with db.transaction(tenant) as conn:
        await log.append(conn, tenant, stream, [GONE] * count)


async def read(db: Database, *, after: Place = feed.START, stream: Stream | None = None) -> list[Entry]:
    async with db.transaction(ONE) as conn:
        return await feed.read(conn, ONE, after, stream=stream)


def named(entries: list[Entry]) -> list[tuple[int, int]]:
    return [(entry.stream, entry.seq) for entry in entries]


@dataclass(slots=True)
class Reader:
    """Reads two entries at a time, and keeps nothing but the cursor in between."""

    db: Database
    cursor: str | None = None
    seen: list[Entry] = field(default_factory=list)

    async def look(self) -> None:
        more = True
        while more:
            async with self.db.transaction(ONE) as conn:
                place = feed.START if self.cursor is None else await feed.place(conn, ONE, self.cursor)
                more = bool(page := await feed.read(conn, ONE, place, limit=2))
            self.seen += page
            if page:
                self.cursor = feed.cursor_of(page[-1])

    async def assert_complete(self) -> None:
        """Everything was seen once, and each stream in its own order."""
        await self.look()
        async with self.db.transaction(ONE) as conn:
            rows = await conn.fetch("SELECT stream, seq FROM events_event ORDER BY stream, seq")
        assert sorted(named(self.seen)) == [tuple(row) for row in rows]
        for stream in {entry.stream for entry in self.seen}:
            numbers = [entry.seq for entry in self.seen if entry.stream == stream]
            assert numbers == sorted(numbers)


@dataclass(slots=True)
class Writer:
    """A transaction that stays open between its steps."""

    conn: Connection
    end: AsyncExitStack
    streams: set[Stream] = field(default_factory=set)


class Undone(Exception):
    """Rolls a writer back."""


class Writers:
    """Transactions that run at the same time. A stream that one has appended to is locked for the others."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._open: dict[int, Writer] = {}

    async def append(self, number: int, stream: Stream) -> None:
        if any(stream in other.streams for name, other in self._open.items() if name != number):
            return
        if number not in self._open:
            end = AsyncExitStack()
            self._open[number] = Writer(await end.enter_async_context(self._db.transaction(ONE)), end)
        writer = self._open[number]
        await log.append(writer.conn, ONE, stream, [GONE])
        writer.streams.add(stream)

    async def commit(self, number: int) -> None:
        if writer := self._open.pop(number, None):
            await writer.end.aclose()

    async def undo(self, number: int) -> None:
        if writer := self._open.pop(number, None):
            with pytest.raises(Undone):
                async with writer.end:
                    raise Undone

    async def commit_all(self) -> None:
        for number in list(self._open):
            await self.commit(number)


STEP = st.one_of(
    st.tuples(st.just("append"), st.integers(0, 2), st.sampled_from([0, 7, 8])),
    st.tuples(st.sampled_from(["commit", "undo"]), st.integers(0, 2), st.just(0)),
    st.tuples(st.just("look"), st.just(0), st.just(0)),
)


async def play(db: Database, steps: list[tuple[str, int, int]]) -> None:
    writers, reader = Writers(db), Reader(db)
    try:
        for what, number, stream in steps:
            match what:
                case "append":
                    await writers.append(number, Stream(stream))
                case "commit":
                    await writers.commit(number)
                case "undo":
                    await writers.undo(number)
                case _:
                    await reader.look()
        await writers.commit_all()
        await reader.assert_complete()
    finally:
        await writers.commit_all()


OVERTAKEN = [("append", 0, 7), ("append", 1, 8), ("commit", 1, 0), ("look", 0, 0), ("commit", 0, 0)]
SWAPPED = [("append", 0, 7), ("append", 1, 8), ("commit", 1, 0), ("append", 0, 8), ("commit", 0, 0)]


@pytest.mark.parametrize("steps", [OVERTAKEN, SWAPPED])
async def test_a_writer_that_commits_late_is_not_skipped(
    db: Database, steps: list[tuple[str, int, int]]
) -> None:
    await play(db, steps)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(STEP, max_size=25))
async def test_nothing_is_skipped_or_repeated_however_writers_interleave(
    db: Database, steps: list[tuple[str, int, int]]
) -> None:
    await play(db, steps)


@pytest.mark.parametrize(
    ("module", "constant", "right", "wrong", "steps"),
    [
        # the classic gap of numbers that are given out before the commit
        (
            store,
            "HORIZON",
            "pg_snapshot_xmin(pg_current_snapshot())",
            "pg_snapshot_xmax(pg_current_snapshot())",
            OVERTAKEN,
        ),
        # the lock of a stream taken in another order than transaction numbers
        (log, "ALLOCATE", "greatest(head.position, excluded.position)", "excluded.position", SWAPPED),
    ],
)
async def test_what_makes_it_so_is_needed(
    db: Database,
    monkeypatch: pytest.MonkeyPatch,
    module: object,
    constant: str,
    right: str,
    wrong: str,
    steps: list[tuple[str, int, int]],
) -> None:
    """Plants the mistake and expects the histories above to find it."""
    statement = getattr(module, constant)
    assert right in statement
    monkeypatch.setattr(module, constant, statement.replace(right, wrong))

    with pytest.raises(AssertionError):
        await play(db, steps)


async def test_many_writers_at_full_speed(db: Database) -> None:
    done = asyncio.Event()
    reader = Reader(db)

    async def write(number: int) -> None:
        for turn in range(12):
            await appended(db, Stream((number + turn) % 3), 1 + turn % 3)

    async def look() -> None:
        while not done.is_set():
            await reader.look()

    async with asyncio.TaskGroup() as group:
        group.create_task(look())
        async with asyncio.TaskGroup() as writers:
            for number in range(4):
                writers.create_task(write(number))
        done.set()

    await reader.assert_complete()


async def test_one_stream_can_be_read_alone(db: Database) -> None:
    await appended(db, SEVEN)
    await appended(db, EIGHT)
    await appended(db, SEVEN)

    assert named(await read(db)) == [(7, 1), (8, 1), (7, 2)]
    assert named(await read(db, stream=SEVEN)) == [(7, 1), (7, 2)]


async def test_a_cursor_of_one_stream_is_good_for_all_and_for_another(db: Database) -> None:
    for stream in (SEVEN, EIGHT, SEVEN, EIGHT, SEVEN):
        await appended(db, stream)
    everything = await read(db)

    for number, entry in enumerate(everything, 1):
        place = feed.place_of(entry)
        rest = everything[number:]
        assert await read(db, after=place) == rest
        for stream in (SEVEN, EIGHT):
            assert await read(db, after=place, stream=stream) == [e for e in rest if e.stream == stream]


async def test_another_tenants_entries_are_not_in_the_feed(db: Database) -> None:
    await appended(db, SEVEN, tenant=TWO)

    assert await read(db) == []


async def test_the_end_is_behind_everything_that_can_be_read(db: Database) -> None:
    async with db.transaction(ONE) as conn:
        assert await feed.end(conn, ONE) == feed.START
    await appended(db, SEVEN, 2)
    async with db.transaction(ONE) as conn:
        end = await feed.end(conn, ONE)
    await appended(db, EIGHT)

    assert named(await read(db, after=end)) == [(8, 1)]


@pytest.mark.parametrize("cursor", ["", "nonsense", "é", "A" * 42, "AQ" * 21, "_" * 42])
async def test_what_is_no_cursor_is_refused(db: Database, cursor: str) -> None:
    with pytest.raises((BadCursor, PlaceLost)):
        async with db.transaction(ONE) as conn:
            await feed.place(conn, ONE, cursor)


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM postroom.events_event WHERE seq = 2",
        "UPDATE postroom.events_event SET hash = sha256('other') WHERE seq = 2",
    ],
)
async def test_a_cursor_into_a_log_that_went_back_in_time_is_refused(
    db: Database, dsn: str, damage: str
) -> None:
    """An older backup has not got the entry, or got another one since under the same number."""
    await appended(db, SEVEN, 2)
    cursor = feed.cursor_of((await read(db))[-1])
    await as_superuser(dsn, damage)

    with pytest.raises(PlaceLost):
        async with db.transaction(ONE) as conn:
            await feed.place(conn, ONE, cursor)


async def test_a_database_restored_from_a_dump_goes_on_where_it_was(db: Database, dsn: str) -> None:
    """Its entries have positions of a server that had counted further than this one."""
    await as_superuser(dsn, "INSERT INTO postroom.events_restored VALUES (1, 1000000)")
    await appended(db, SEVEN, 2)
    await appended(db, Stream(9), tenant=TWO)
    before = await read(db)
    await as_superuser(dsn, "DELETE FROM postroom.events_restored")
    assert await read(db) == []

    minded = [await feed.mind_restore(db) for _ in range(2)]
    await appended(db, EIGHT)
    await appended(db, SEVEN)

    assert minded == [1, 0]
    assert (await read(db))[:2] == before
    assert named(await read(db, after=feed.place_of(before[-1]))) == [(8, 1), (7, 3)]


async def as_superuser(dsn: str, statement: str) -> None:
    conn = await asyncpg.connect(dsn)
    await conn.execute(statement)
    await conn.close()


@pytest.mark.parametrize("hinted", [True, False])
async def test_a_follower_hears_what_was_and_what_comes(db: Database, hinted: bool) -> None:
    found: list[Entry] = []
    await appended(db, SEVEN)
    async with (
        asyncio.timeout(20),
        open_hints(db) as hints,
        aclosing(feed.follow(db, hints, ONE)) as pages,
    ):
        async for page in pages:
            found += page
            if len(found) == 2:
                break
            await appended(db, EIGHT)
            if hinted:
                hints.tell(APPENDED)

    assert named(found) == [(7, 1), (8, 1)]
