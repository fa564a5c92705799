"""A log that is kept for so long only: what is removed, what is left of it, and who is told."""

import io
import random
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

import asyncpg
import pytest
from events.following import MAIL, append, everything
from events.forging import EIGHT, SEVEN, SIGNER, STRANGER, event, written
from fastapi import FastAPI
from servers.api import Client, Connect, key_of
from servers.live import events, served
from servers.tenants import ANNS, ONE, TWO
from sync.mailboxes import means

from postroom.accounts import store as accounts
from postroom.db.pool import Database
from postroom.events import check, feed, log, remove, store
from postroom.events import export as exporting
from postroom.events import seal as sealing
from postroom.events.check import opened
from postroom.events.model import ChainBroken, Event, PlaceLost, PlaceRemoved, Seal, Stream
from postroom.events.remove import mark, sweep
from postroom.events.replay import NotFromTheBeginning, replay
from postroom.events.verify import verify
from postroom.executor.duties import duties
from postroom.executor.handlers import Work
from postroom.ids import TenantId
from postroom.people import keys

pytestmark = pytest.mark.usefixtures("tenants")

KEYS = [SIGNER.public]
GONE = Event("mail.removed", {"message": MAIL})
PATH = "/v1/events"
MANY = """
    INSERT INTO postroom.events_removed
    SELECT 1, n, 1, n, sha256(n::text::bytea), now() FROM generate_series(1000, 11000) n;
    ANALYZE postroom.events_removed
"""
READ = """
    SELECT sum(pg_stat_get_xact_tuples_fetched(c.oid) + pg_stat_get_xact_tuples_returned(c.oid))
      FROM pg_class c WHERE c.relname LIKE 'events_removed%'
"""
ROWS = "SELECT stream, seq FROM events_event WHERE tenant_id = $1 ORDER BY position, stream, seq"


async def now(db: Database) -> datetime:
    """Between what is logged before and after."""
    async with db.transaction(ONE) as conn:
        found: datetime = await conn.fetchval("SELECT clock_timestamp()")
        return found


async def rows(db: Database, tenant: TenantId = ONE) -> list[tuple[int, int]]:
    async with db.transaction(tenant) as conn:
        return [tuple(row) for row in await conn.fetch(ROWS, tenant)]


async def cut(db: Database) -> tuple[Seal, datetime]:
    """Six and four entries with two seals (`forging`); all but the last of each are old."""
    kept = await written(db)
    async with db.transaction(ONE) as conn:
        entries = await feed.read(conn, ONE)
    return kept, entries[-2].at


async def faults(db: Database, kept: Seal | None = None) -> list[check.Fault]:
    """What verifying the database finds, and checking an export."""
    sealing_ = opened(kept.body, kept.signature) if kept else None
    file = io.BytesIO()
    await exporting.export(db, ONE, file)
    lines = file.getvalue().decode().splitlines()
    found = (await verify(db, ONE, KEYS, kept=sealing_)).findings
    return [*found, *check.check(lines, KEYS, sealing_).findings]


async def test_what_is_old_goes_and_what_is_left_is_whole(db: Database) -> None:
    kept, before = await cut(db)
    assert await mark(db, SIGNER, ONE, before)
    marked, found = await rows(db), await faults(db, kept)
    assert not await mark(db, SIGNER, ONE, before)
    swept = [await sweep(db, SIGNER, ONE) for _ in range(2)]
    left = await rows(db)

    assert (len(marked), found) == (10, [])
    assert swept == [8, 0]
    assert left == [(7, 6), (8, 4)]
    assert await faults(db, kept) == []


async def test_it_goes_on_for_ever(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is appended, sealed and removed in whichever order, nothing is missing but what is told."""
    monkeypatch.setattr(remove, "STEP", 3)
    monkeypatch.setattr(remove, "AT_ONCE", 7)
    rng = random.Random(1)
    seen, kept = 0, None
    for _ in range(40):
        match rng.randrange(5):
            case 0 | 1:
                async with db.transaction(ONE) as conn:
                    await log.append(conn, ONE, rng.choice([SEVEN, EIGHT]), [event(n) for n in range(4)])
            case 2:
                kept = await sealing.seal(db, SIGNER, ONE)
            case 3:
                await mark(db, SIGNER, ONE, await now(db))
            case _:
                seen += await sweep(db, SIGNER, ONE)
        assert await faults(db, kept) == []
        async with db.transaction(ONE) as conn:
            entries = await feed.read(conn, ONE)
        for stream in (SEVEN, EIGHT):
            numbers = [entry.seq for entry in entries if entry.stream == stream]
            assert numbers == list(range(numbers[0], numbers[-1] + 1)) if numbers else True
    assert seen > 20


async def test_a_transaction_of_more_than_go_at_once_goes_whole(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remove, "AT_ONCE", 3)
    await append(db, 7, *[GONE] * 5)
    await append(db, 7, GONE)
    last = (await everything(db))[-1]
    while await mark(db, SIGNER, ONE, last.at):
        pass
    await sweep(db, SIGNER, ONE)

    assert await rows(db) == [(7, 6)]
    assert await faults(db) == []


async def test_each_stream_can_be_verified_alone(db: Database) -> None:
    kept, before = await cut(db)
    await mark(db, SIGNER, ONE, before)
    await sweep(db, SIGNER, ONE)
    for stream in (SEVEN, EIGHT):
        found = await verify(db, ONE, KEYS, stream=stream, kept=opened(kept.body, kept.signature))
        assert (found.findings, found.entries) == ([], 1)


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("DELETE FROM postroom.events_event WHERE stream = 7 AND seq = 6", {(7, 6)}),
        ("DELETE FROM postroom.events_event WHERE stream = 8", {(8, 4)}),
        ("UPDATE postroom.events_event SET body = '{}' WHERE stream = 7 AND seq = 6", {(7, 6)}),
        ("UPDATE postroom.events_head SET hash = sha256(hash) WHERE stream = 8", {(8, 4)}),
        ("DELETE FROM postroom.events_head WHERE stream = 8", {(8, 4)}),
    ],
)
async def test_what_is_done_to_the_rest_is_found_as_before(
    db: Database, dsn: str, statement: str, named: set[tuple[int, int]]
) -> None:
    _, before = await cut(db)
    await mark(db, SIGNER, ONE, before)
    await sweep(db, SIGNER, ONE)
    await as_superuser(dsn, statement)

    assert {(fault.stream, fault.seq) for fault in await faults(db)} == named


async def test_who_removes_without_a_seal_is_found(db: Database, dsn: str) -> None:
    """The table says what was removed, but only a seal is believed."""
    await cut(db)
    await as_superuser(
        dsn,
        """INSERT INTO postroom.events_removed
           SELECT tenant_id, stream, seq, position, hash, at
             FROM postroom.events_event WHERE stream = 7 AND seq = 3;
           DELETE FROM postroom.events_event WHERE stream = 7 AND seq <= 3""",
    )
    before = {(fault.stream, fault.seq) for fault in await faults(db)}
    await sealing.seal(db, SIGNER, ONE)

    after = {(fault.stream, fault.seq) for fault in await faults(db)}
    assert before == after == {(7, 1), (7, 3)}


async def test_a_log_that_was_altered_is_not_removed(db: Database, dsn: str) -> None:
    _, before = await cut(db)
    await as_superuser(dsn, "UPDATE postroom.events_head SET seq = 1")

    with pytest.raises(ChainBroken):
        await mark(db, SIGNER, ONE, before)
    assert await sweep(db, SIGNER, ONE) == 0


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE postroom.events_event SET at = at - interval '2 days'",
        "DELETE FROM postroom.events_event WHERE stream = 7 AND seq = 1",
        "DELETE FROM postroom.events_event WHERE stream = 8 AND seq = 2",
        "UPDATE postroom.events_event SET body = '{}' WHERE stream = 7 AND seq = 2",
        "UPDATE postroom.events_event SET hash = sha256(hash) WHERE stream = 8 AND seq = 3",
    ],
)
async def test_no_seal_hides_what_was_done_to_what_it_removes(db: Database, dsn: str, statement: str) -> None:
    """Who may write to the database would else make what is young look old, and have it removed by us."""
    _, before = await cut(db)
    await as_superuser(dsn, statement)
    found = await faults(db)

    with pytest.raises(ChainBroken):
        await mark(db, SIGNER, ONE, before)
    assert found == await faults(db) != []


async def test_a_second_removal_goes_on_where_the_first_has_ended(db: Database, dsn: str) -> None:
    kept, before = await cut(db)
    async with db.transaction(ONE) as conn:
        third = (await feed.read(conn, ONE))[2].at
    await mark(db, SIGNER, ONE, third)
    await sweep(db, SIGNER, ONE)
    await as_superuser(
        dsn, "UPDATE postroom.events_event SET kind = 'mail.left' WHERE stream = 8 AND seq = 3"
    )

    with pytest.raises(ChainBroken):
        await mark(db, SIGNER, ONE, before)
    await as_superuser(
        dsn, "UPDATE postroom.events_event SET kind = 'mail.flags_changed' WHERE stream = 8 AND seq = 3"
    )
    assert await mark(db, SIGNER, ONE, before)
    assert await faults(db, kept) == []


async def test_what_a_stranger_says_was_removed_is_sealed_by_nobody_else(db: Database, dsn: str) -> None:
    """Anybody can sign with a key of theirs. The next seal by ours would make it look good."""
    kept = await written(db)
    async with db.transaction(ONE) as conn:
        third = (await log.read(conn, ONE, SEVEN))[2]
        newest = await store.newest_seal(conn, ONE)
        assert newest is not None
        before = opened(newest.body, newest.signature)
        gone = {7: (third.seq, third.position, third.hash)}
        await store.add_seal(conn, ONE, sealing._made(STRANGER, ONE, before, before.heads, gone))
    await as_superuser(dsn, "DELETE FROM postroom.events_event WHERE stream = 7 AND seq <= 3")

    late = await now(db)
    for make in (sealing.seal(db, SIGNER, ONE), mark(db, SIGNER, ONE, late), sweep(db, SIGNER, ONE)):
        with pytest.raises(ChainBroken, match="not known here"):
            await make
    assert {(fault.stream, fault.seq) for fault in await faults(db, kept)} == {(None, 3), (7, 1)}


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO postroom.events_removed VALUES (1, 9, 1, 1::bigint << 60, '', now())",
        "UPDATE postroom.events_removed SET seq = 6, position = 1::bigint << 60 WHERE stream = 7",
        "DELETE FROM postroom.events_seal WHERE number = 3",
    ],
)
async def test_a_row_alone_removes_nothing(db: Database, dsn: str, statement: str) -> None:
    """The next round would make true whatever the table calls removed."""
    _, before = await cut(db)
    await mark(db, SIGNER, ONE, before)
    await as_superuser(dsn, statement)
    there = await rows(db)

    with pytest.raises(ChainBroken):
        await sweep(db, SIGNER, ONE)
    assert len(there) == 10
    assert await rows(db) == there


async def test_a_new_key_takes_over_what_the_one_before_has_removed(db: Database) -> None:
    kept, before = await cut(db)
    await mark(db, STRANGER, ONE, before, [SIGNER.public])
    await sweep(db, SIGNER, ONE, [STRANGER.public])
    with pytest.raises(ChainBroken, match="not known here"):
        await sealing.seal(db, SIGNER, ONE)
    await sealing.seal(db, SIGNER, ONE, [STRANGER.public])

    assert await faults(db, kept) == []


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("UPDATE postroom.events_removed SET seq = 6, position = position + 1000 WHERE stream = 7", {(7, 6)}),
        ("DELETE FROM postroom.events_removed WHERE stream = 8", {(8, 0)}),
    ],
)
async def test_what_readers_are_told_was_removed_is_what_the_seal_says(
    db: Database, dsn: str, statement: str, named: set[tuple[int, int]]
) -> None:
    """Else all could be kept from readers, and nothing would be missing."""
    _, before = await cut(db)
    await mark(db, SIGNER, ONE, before)
    await as_superuser(dsn, statement)

    assert {(fault.stream, fault.seq) for fault in await faults(db)} == named
    assert (await verify(db, ONE, KEYS, stream=SEVEN)).findings[:1] == [
        fault for fault in await faults(db) if fault.stream == 7
    ]


async def test_what_may_still_come_before_it_is_waited_for(db: Database) -> None:
    """An entry that is not committed yet would be behind what was removed, and read by nobody."""
    async with db.transaction(ONE) as late:
        await log.append(late, ONE, SEVEN, [event(1)])
        async with db.transaction(ONE) as conn:
            await log.append(conn, ONE, EIGHT, [event(1)])
        was_there = await mark(db, SIGNER, ONE, await now(db))

    assert not was_there
    assert await mark(db, SIGNER, ONE, await now(db))


async def as_superuser(dsn: str, statement: str) -> None:
    conn = await asyncpg.connect(dsn)
    await conn.execute(statement)
    await conn.close()


async def place(db: Database, cursor: str, stream: Stream | None = None) -> Any:
    async with db.transaction(ONE) as conn:
        return await feed.place(conn, ONE, cursor, stream)


@pytest.mark.parametrize("is_swept", [False, True])
async def test_who_had_not_read_what_was_removed_is_told_so_and_nobody_else(
    db: Database, is_swept: bool
) -> None:
    for stream in (7, 8, 7, 7):
        await append(db, stream, GONE)
    there = await everything(db)
    cursors = [feed.cursor_of(entry) for entry in there]
    await mark(db, SIGNER, ONE, there[2].at)  # the first two
    assert not is_swept or await sweep(db, SIGNER, ONE) == 2

    with pytest.raises(PlaceRemoved):
        await place(db, cursors[0])
    for cursor, entry in list(zip(cursors, there, strict=True))[1:]:
        assert await place(db, cursor) == feed.place_of(entry)
    assert await place(db, cursors[0], Stream(7)) == feed.place_of(there[0])  # of 7 nothing is missing
    with pytest.raises(PlaceRemoved):
        await place(db, cursors[0], Stream(8))
    with pytest.raises(PlaceLost):
        await place(db, feed._packed(feed.place_of(there[1]), bytes(6)))
    with pytest.raises(PlaceLost):
        await place(db, feed._packed((there[1].position, 9, 1), bytes(6)))
    async with db.transaction(ONE) as conn:
        assert await feed.read(conn, ONE) == there[2:]
        assert await feed.read(conn, ONE, stream=Stream(7)) == there[2:]
        with pytest.raises(PlaceRemoved):
            await feed.read(conn, ONE, feed.place_of(there[0]))


async def test_a_page_and_a_stream_tell_that_they_are_not_from_the_beginning(
    app: FastAPI, db: Database
) -> None:
    for _ in range(3):
        await append(db, ANNS, GONE)
    there = await everything(db)
    async with served(app, await key_of(db, ONE)) as client:
        whole = (await client.get(PATH)).json()
        await mark(db, SIGNER, ONE, there[2].at)
        await sweep(db, SIGNER, ONE)
        rest = (await client.get(PATH)).json()
        refused = [
            await client.get(path, params={"after": feed.cursor_of(there[0])})
            for path in (PATH, f"{PATH}/stream")
        ]
        async for one in events(client, f"{PATH}/stream", after="start"):
            if one.event == "ready":
                ready = one.data
                continue
            break
        async for again in events(client, f"{PATH}/stream", ready["cursor"]):
            if again.event != "ready":
                break

    assert whole["removed_until"] is None
    assert rest["removed_until"] == ready["removed_until"] == _written(there[1].at)
    assert [entry["seq"] for entry in rest["entries"]] == [one.data["seq"]] == [3]
    assert again.data == one.data
    assert {(answer.status_code, answer.json()["code"]) for answer in refused} == {
        (409, "events.place_removed")
    }


def _written(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


async def test_of_other_accounts_who_is_limited_misses_nothing(
    api: Client, db: Database, connect: Connect
) -> None:
    async with db.transaction(ONE) as conn:
        ann = await accounts.get_by_id(conn, ONE, ANNS)
    limited = connect((await keys.create(db, ONE, "anns", accounts=[ann.public_id]))[1])
    await append(db, ANNS, GONE)
    await append(db, 9, GONE)
    cursor = (await limited.get(PATH)).json()["next"]
    await mark(db, SIGNER, ONE, await now(db))
    await sweep(db, SIGNER, ONE)
    await append(db, ANNS, GONE)
    mine = await limited.get(PATH, params={"after": cursor})
    alls = await api.get(PATH, params={"after": cursor})

    assert [entry["seq"] for entry in mine.json()["entries"]] == [2]
    assert alls.json()["code"] == "events.place_removed"


async def test_a_replay_that_is_not_from_the_beginning_is_refused(db: Database) -> None:
    _, before = await cut(db)
    await mark(db, SIGNER, ONE, before)
    await sweep(db, SIGNER, ONE)
    async with db.transaction(ONE) as conn:
        entries = await log.read(conn, ONE, SEVEN)

    with pytest.raises(NotFromTheBeginning):
        replay(entries)


class TwoDaysAgo(datetime):
    """A clock."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        return datetime.now(tz) - timedelta(days=2)


@pytest.mark.parametrize("keep", [None, timedelta(days=1)])
async def test_the_duty_removes_what_every_tenant_keeps_no_longer(
    db: Database, monkeypatch: pytest.MonkeyPatch, keep: timedelta | None
) -> None:
    with monkeypatch.context() as then:
        then.setattr(log, "datetime", TwoDaysAgo)
        for tenant in (ONE, TWO):
            await append(db, 7, GONE, GONE, tenant=tenant)
    for tenant in (ONE, TWO):
        await append(db, 7, GONE, tenant=tenant)
    work = Work(means(db), timedelta(minutes=15), keep_events=keep)
    [duty] = [duty for duty in duties(work, polls=False) if duty.name == "events.remove"]
    await duty.work()
    marked = [await rows(db, tenant) for tenant in (ONE, TWO)]
    await duty.work()
    left = [await rows(db, tenant) for tenant in (ONE, TWO)]

    assert marked == [[(7, 1), (7, 2), (7, 3)]] * 2
    assert left == (marked if keep is None else [[(7, 3)]] * 2)


async def test_a_consumer_of_a_quiet_account_may_stay_where_it_stands(api: Client, db: Database) -> None:
    """What was removed behind its cursor was others'."""
    async with db.transaction(ONE) as conn:
        ann = await accounts.get_by_id(conn, ONE, ANNS)
    await append(db, ANNS, GONE)
    await append(db, 9, GONE)
    await api.put(f"{PATH}/consumers/anns", json={"cursor": "start"})
    asked = {"consumer": "anns", "account": str(ann.public_id)}
    first = (await api.get(PATH, params=asked)).json()
    await api.put(f"{PATH}/consumers/anns", json={"cursor": first["next"]})
    await mark(db, SIGNER, ONE, await now(db))
    page = (await api.get(PATH, params=asked)).json()
    stays = await api.put(f"{PATH}/consumers/anns", json={"cursor": page["next"], "if_cursor": page["after"]})
    whole = await api.get(PATH, params={"consumer": "anns"})

    assert (len(first["entries"]), page["entries"]) == (1, [])
    assert (stays.status_code, stays.json()["problem"]) == (200, "events.place_removed")
    assert whole.json()["code"] == "events.place_removed"


async def test_what_was_removed_of_ten_thousand_others_is_not_looked_at_for_one(
    db: Database, dsn: str
) -> None:
    """Also by a plan that lasts, which a statement has from its sixth time on."""
    await append(db, 7, GONE)
    await as_superuser(dsn, MANY)
    async with db.transaction(ONE, lasting_plans=True) as conn:
        before = await conn.fetchval(READ)
        for stream in [Stream(1), Stream(7), Stream(5000), None] * 10:
            await feed.read(conn, ONE, stream=stream)
        after = await conn.fetchval(READ)

    assert after - before < 100
