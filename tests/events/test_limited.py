"""What is told live to who may see some accounts only: their events, and no trace of others'."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from uuid import UUID, uuid4

import asyncpg
import pytest
from events.following import MAIL, append, everything, heard, live, write
from fastapi import FastAPI
from servers.live import events, served
from servers.tenants import ANNS, ONE, TWO
from websockets.asyncio.client import connect

from postroom.accounts import store as accounts
from postroom.accounts.model import Account
from postroom.db.beside import beside
from postroom.db.listen import open_hints
from postroom.db.pool import Database, open_pool
from postroom.events import feed, follow
from postroom.events.follow import Following
from postroom.events.model import TENANT, Entry, Event, Place, stream_of
from postroom.events.wanted import Wanted
from postroom.ids import AccountId
from postroom.jobs import store as jobs
from postroom.jobs.model import Enqueued, Wish
from postroom.people import keys
from postroom.sync.live import What, tell
from postroom.sync.model import Counts

pytestmark = pytest.mark.usefixtures("tenants")

PATH = "/v1/events/stream"
GONE = Event("mail.removed", {"message": MAIL})
ANOTHER = """
    INSERT INTO accounts_account (tenant_id, public_id, address, provider, settings)
    VALUES ($1, $2, 'carol@example.org', 'imap', '{}') RETURNING id
"""
READ = """
    SELECT sum(pg_stat_get_xact_tuples_fetched(c.oid) + pg_stat_get_xact_tuples_returned(c.oid))
      FROM pg_class c WHERE c.relname LIKE 'events_event%'
"""


@dataclass(frozen=True, slots=True)
class House:
    """Tenant ONE has Ann's and Carol's accounts; the key sees Ann's only."""

    anns: Account
    carols: Account
    text: str
    app: FastAPI


@pytest.fixture
async def house(app: FastAPI, db: Database) -> House:
    async with db.transaction(ONE) as conn:
        carol = AccountId(await conn.fetchval(ANOTHER, ONE, uuid4()))
        anns, carols = [await accounts.get_by_id(conn, ONE, account) for account in (ANNS, carol)]
    _, text = await keys.create(db, ONE, "anns", accounts=[anns.public_id])
    return House(anns, carols, text, app)


def failed(job: UUID) -> Event:
    return Event("jobs.failed", {"job": str(job), "kind": "sync.account", "code": "a.b"})


async def job_of(db: Database, account: AccountId) -> Enqueued:
    async with db.transaction(ONE) as conn:
        return (await jobs.enqueue(conn, ONE, [Wish("sync.account", account=account)]))[0]


async def write_all(db: Database, house: House) -> None:
    """Of both accounts, of their jobs, and of the tenant."""
    ours, theirs = await job_of(db, house.anns.id), await job_of(db, house.carols.id)
    await append(db, house.carols.id, GONE, GONE)
    await append(db, house.anns.id, GONE)
    await append(db, 0, failed(theirs.public_id), failed(ours.public_id))
    await append(db, 0, Event("accounts.removed", {"account": str(house.carols.public_id)}))
    await append(db, house.carols.id, GONE)
    await append(db, house.anns.id, GONE)


async def cursors_of(db: Database, house: House) -> list[str]:
    """The events that the key may see."""
    ours = [one for one in await everything(db) if one.stream == stream_of(house.anns.id) or _is_ours(one)]
    return [feed.cursor_of(one) for one in ours]


def _is_ours(entry: Entry) -> bool:
    """Of the tenant's stream `write_all` writes what is Ann's second."""
    return entry.stream == 0 and entry.seq % 3 == 2


@pytest.mark.parametrize("is_live", [False, True])
async def test_a_stream_tells_of_its_keys_accounts_only(house: House, db: Database, is_live: bool) -> None:
    if not is_live:
        await write_all(db, house)
    seen: list[str | None] = []
    async with served(house.app, house.text) as client:
        async for one in events(client, PATH, after="start"):
            if one.event == "ready":
                if is_live:
                    await write_all(db, house)
                continue
            seen.append(one.id)
            if len(seen) == 3:
                break

    assert seen == await cursors_of(db, house)


async def test_a_socket_tells_of_its_keys_accounts_only(house: House, db: Database) -> None:
    await write_all(db, house)
    seen = []
    async with served(house.app, None) as client:
        url = str(client.base_url).rstrip("/").replace("http", "ws", 1)
        async with connect(f"{url}/v1/events/ws", proxy=None) as socket:
            await socket.send(json.dumps({"type": "resume", "key": house.text, "after": "start"}))
            await socket.recv()
            for _ in range(3):
                seen.append(json.loads(await socket.recv())["cursor"])
            await append(db, house.carols.id, GONE)
            tell(db, house.carols, What.ENDED, Counts())
            await append(db, house.anns.id, GONE)
            seen.append(json.loads(await socket.recv())["cursor"])

    assert seen == await cursors_of(db, house)


async def test_of_syncs_a_stream_tells_those_of_its_keys_accounts(house: House, db: Database) -> None:
    async with served(house.app, house.text) as client:
        async for one in events(client, PATH, types="sync"):
            if one.event == "ready":
                tell(db, house.carols, What.STOPPED, Counts())
                tell(db, house.anns, What.STOPPED, Counts())
                continue
            break

    assert one.data["account"] == str(house.anns.public_id)


async def test_where_a_stream_begins_and_stands_says_nothing_of_others(house: House, db: Database) -> None:
    await append(db, house.anns.id, GONE)
    await append(db, house.carols.id, GONE)
    async with served(house.app, house.text) as client:
        async for one in events(client, PATH):
            ready = one.id
            break
    async with live(db) as it:
        follower = it.follower(ONE, frozenset({house.anns.id}), Wanted(), feed.START)
        [first] = await heard(follower)
        await append(db, house.carols.id, GONE)
        other = it.follower(ONE, None, Wanted(), (first.position, first.stream, first.seq))
        came = await heard(other)
        while len(came) < 2:  # the news has reached this process
            came += await heard(other)
        assert await follower.take() == []

    assert ready == feed.cursor_of(first)
    assert follower.last == first


async def test_a_stream_begins_behind_all_that_is_there(house: House, db: Database) -> None:
    ours = await job_of(db, house.anns.id)
    await append(db, house.anns.id, GONE)
    await append(db, 0, failed(ours.public_id))
    seen = []
    async with served(house.app, house.text) as client:
        async for one in events(client, PATH):
            if one.event == "ready":
                await append(db, house.anns.id, GONE)
                continue
            seen.append(one.id)
            break

    assert seen == [feed.cursor_of((await everything(db))[-1])]


async def test_the_cursor_and_account_of_others_are_as_none(house: House, db: Database) -> None:
    await append(db, house.carols.id, GONE)
    [theirs] = await everything(db)
    nobodys = Entry(**{name: getattr(theirs, name) for name in theirs.__slots__} | {"seq": 77})
    async with served(house.app, house.text) as client:
        cursors = [await client.get(PATH, params={"after": feed.cursor_of(one)}) for one in (theirs, nobodys)]
        ids = [
            await client.get(PATH, params={"account": str(id)}) for id in (house.carols.public_id, uuid4())
        ]

    assert [answer.status_code for answer in cursors + ids] == [409, 409, 404, 404]
    assert cursors[0].content == cursors[1].content
    assert ids[0].content == ids[1].content


async def test_a_stream_ends_when_an_account_leaves_its_key(house: House, db: Database) -> None:
    _, text = await keys.create(db, ONE, "both", accounts=[house.anns.public_id, house.carols.public_id])
    async with served(house.app, text) as client:
        seen = []
        async for one in events(client, PATH):
            seen.append(one.event)
            async with db.transaction(ONE) as conn:
                await accounts.remove(conn, ONE, house.carols.id)

    assert seen == ["ready"]
    caller = await keys.find(db, text)
    assert caller is not None
    assert caller.accounts == frozenset({house.anns.id})


async def test_the_previous_release_does_not_let_a_limited_key_in(house: House, db: Database) -> None:
    whole = (await keys.create(db, TWO, "all"))[1]
    async with db.single() as conn:
        found = [
            await conn.fetch("SELECT * FROM people_find_key($1)", keys.digest_of(text))
            for text in (house.text, whole)
        ]

    assert [len(rows) for rows in found] == [0, 1]


async def test_a_cursor_behind_a_job_that_is_forgotten_is_not_lost(house: House, db: Database) -> None:
    """An event of the tenant's stream is theirs for as long as its job is kept."""
    job = await job_of(db, house.anns.id)
    await append(db, TENANT, failed(job.public_id))
    async with served(house.app, house.text) as limited:
        first = (await limited.get("/v1/events")).json()
        async with db.transaction(ONE) as conn:
            await conn.execute("DELETE FROM jobs_job")
        await append(db, house.anns.id, GONE)
        answer = await limited.get("/v1/events", params={"after": first["next"]})

    assert [one["kind"] for one in first["entries"]] == ["jobs.failed"]
    assert answer.status_code == 200, answer.text
    assert [one["kind"] for one in answer.json()["entries"]] == ["mail.removed"]


@dataclass(slots=True)
class Reader:
    """Sees some accounts; comes and goes, and is slow now and then."""

    accounts: frozenset[AccountId]
    rng: random.Random
    after: Place = feed.START
    seen: list[Entry] = field(default_factory=list)

    async def read(self, live: Following) -> None:
        while True:
            async with self.following(live) as follower:
                for _ in range(self.rng.randrange(1, 8)):
                    for entry in await heard(follower):
                        self.seen.append(entry)
                        self.after = feed.place_of(entry)
                    if self.rng.random() < 0.2:
                        await asyncio.sleep(self.rng.random() / 20)

    def following(self, live: Following) -> "Closing":
        return Closing(live.follower(ONE, self.accounts, Wanted(), self.after))

    async def catch_up(self, live: Following, last: Place) -> None:
        async with self.following(live) as follower:
            while follower.after <= last:
                self.seen += [one.entry for one in await follower.take()]
                await asyncio.sleep(0)


@dataclass(frozen=True, slots=True)
class Closing:
    follower: follow.Follower

    async def __aenter__(self) -> follow.Follower:
        return self.follower

    async def __aexit__(self, *_: object) -> None:
        self.follower.close()


@pytest.fixture
async def theirs(dsn: str) -> AsyncIterator[Database]:
    async with open_pool(dsn) as pool, open_hints(pool):
        yield pool


@pytest.mark.parametrize("seed", range(3))
async def test_who_sees_some_accounts_is_given_exactly_their_events_once_in_order(
    db: Database, theirs: Database, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(follow, "KEPT", 10)
    monkeypatch.setattr(follow, "PAGE", 7)
    rng = random.Random(seed)
    readers = [
        Reader(frozenset(map(AccountId, rng.sample(range(1, 21), rng.randrange(5)))), random.Random(n))
        for n in range(30)
    ]
    async with live(db) as it:
        async with beside(*(one.read(it) for one in readers)), asyncio.TaskGroup() as writers:
            for stream in range(1, 21):
                writers.create_task(write(theirs, stream, 10, random.Random(rng.random())))
            writers.create_task(write(theirs, 0, 10, random.Random(rng.random())))
        there = await everything(db)
        for one in readers:
            await one.catch_up(it, feed.place_of(there[-1]))

    assert len(there) > 200
    for one in readers:
        mine = {stream_of(account) for account in one.accounts}
        assert one.seen == [entry for entry in there if entry.stream in mine]


async def test_what_a_busy_neighbour_writes_is_not_read_by_who_may_not_see_it(
    house: House, db: Database, dsn: str
) -> None:
    """Where an account has been quiet for long, its end is found without walking over its neighbours'."""
    for account in (house.anns.id, house.carols.id):
        for _ in range(10):
            await append(db, account, *[GONE] * 500)
    conn = await asyncpg.connect(dsn)
    await conn.execute("VACUUM ANALYZE postroom.events_event")
    await conn.close()
    async with db.limited_to([house.anns.id]).transaction(ONE) as bound:
        before = await bound.fetchval(READ)
        _, cursor = await feed.end_of_some(bound, ONE, [stream_of(house.anns.id)])
        after = await bound.fetchval(READ)

    assert cursor == feed.cursor_of((await everything(db))[4999])
    assert after - before < 100
