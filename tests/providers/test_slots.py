"""How many connections there may be, over processes that live, wait, die and forget."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta

import pytest
from servers.tenants import ONE, TWO
from sync.mailboxes import VAULT

from postroom.accounts import credentials
from postroom.accounts import store as accounts
from postroom.accounts.model import Scope
from postroom.db import processes
from postroom.db.listen import open_hints
from postroom.db.model import Unreachable
from postroom.db.pool import Database
from postroom.ids import TenantId, new_public_id
from postroom.providers import slots as module
from postroom.providers.model import NoConnection
from postroom.providers.slots import Slot, Slots, open_slots, store
from postroom.providers.target import Purpose, Target

pytestmark = pytest.mark.usefixtures("tenants")

SYNC, WATCH, COMMAND = Purpose.SYNC, Purpose.WATCH, Purpose.COMMAND
SOON, LONG = timedelta(seconds=0.3), timedelta(seconds=30)
ROWS = "SELECT granted_at IS NOT NULL FROM providers_connection"
HOST = "mail.example"


@asynccontextmanager
async def process(db: Database, *, ceiling: int = 2, of_host: int = 100) -> AsyncIterator[Slots]:
    async with open_hints(db) as hints, open_slots(db, hints, ceiling=ceiling, of_host=of_host) as slots:
        yield slots


@pytest.fixture
async def here(db: Database) -> AsyncIterator[Slots]:
    async with process(db) as slots:
        yield slots


@pytest.fixture
async def there(db: Database) -> AsyncIterator[Slots]:
    async with process(db) as slots:
        yield slots


async def target(
    db: Database, name: str = "ann", *, tenant: TenantId = ONE, host: str = HOST, most: int | None = None
) -> Target:
    public_id = new_public_id()
    async with db.transaction(tenant) as conn:
        account = await accounts.add(
            conn,
            tenant,
            public_id,
            address=f"{name}@mail.example",
            provider="imap",
            settings={},
            secret=credentials.seal(VAULT, tenant, public_id, "secret"),
            scope=Scope(),
        )
    assert account is not None
    return Target(tenant, account.id, host, 1, most)


async def rows(db: Database, tenant: TenantId = ONE) -> list[bool]:
    """Of each whether it is granted."""
    async with db.transaction(tenant) as conn:
        return [row[0] for row in await conn.fetch(ROWS)]


async def until(true: Callable[[list[bool]], bool], db: Database) -> None:
    async with asyncio.timeout(20):
        while not true(await rows(db)):
            pass


async def refused(slots: Slots, of: Target, purpose: Purpose = SYNC, patience: timedelta = SOON) -> bool:
    try:
        await slots.give_back([await slots.take(of, purpose, patience)])
    except NoConnection:
        return True
    return False


async def test_an_account_has_no_more_than_its_ceiling_in_all_processes(
    db: Database, here: Slots, there: Slots
) -> None:
    ann, bob = await target(db), await target(db, "bob")
    one = await here.take(ann, SYNC, LONG)
    await there.take(ann, SYNC, LONG)

    assert await refused(here, ann, SYNC, SOON)
    assert await refused(there, ann, SYNC, SOON)
    assert not await refused(there, bob, SYNC, LONG)
    await here.give_back([one])
    assert not await refused(there, ann, SYNC, LONG)


async def test_a_watcher_that_does_not_wait_gets_what_is_free_and_leaves_no_trace(
    db: Database, here: Slots, there: Slots
) -> None:
    ann = await target(db)
    first = await here.take_free(ann)
    second = await there.take_free(ann)
    assert first is not None
    assert second is not None

    assert await there.take_free(ann) is None
    assert await rows(db) == [True, True]
    await here.give_back([first])
    assert await there.take_free(ann) is not None


@pytest.mark.parametrize(
    ("host", "own", "most"),
    [(HOST, None, 2), (HOST, 5, 5), ("imap.gmail.com", None, 10), ("imap.gmail.com", 1, 1)],
)
async def test_an_account_has_what_its_owner_says_or_its_provider_or_the_setting(
    host: str, own: int | None, most: int, db: Database, here: Slots
) -> None:
    ann = await target(db, host=host, most=own)
    for _ in range(most):
        await here.take(ann, SYNC, LONG)

    assert await refused(here, ann)


async def test_many_who_ask_at_once_are_never_more_than_may_be(
    db: Database, here: Slots, there: Slots
) -> None:
    ann, held, most = await target(db, most=3), 0, 0

    async def use(slots: Slots) -> None:
        nonlocal held, most
        slot = await slots.take(ann, SYNC, LONG)
        held += 1
        most = max(most, held)
        await rows(db)
        held -= 1
        await slots.give_back([slot])

    async with asyncio.TaskGroup() as group:
        for number in range(40):
            group.create_task(use(here if number % 2 else there))
    assert most == 3
    assert await rows(db) == []


async def test_the_longest_waiting_is_first_over_all_processes(
    db: Database, here: Slots, there: Slots
) -> None:
    ann, order = await target(db, most=1), list[int]()
    first = await here.take(ann, SYNC, LONG)

    async def wait(number: int, slots: Slots) -> None:
        slot = await slots.take(ann, SYNC, LONG)
        order.append(number)
        await slots.give_back([slot])

    async with asyncio.TaskGroup() as group:
        for number in range(6):
            group.create_task(wait(number, (here, there)[number % 2]))
            await until(lambda found, number=number: len(found) == number + 2, db)  # type: ignore[misc]
        await here.give_back([first])
    assert order == [0, 1, 2, 3, 4, 5]


async def test_who_waits_is_told_at_once(
    db: Database, here: Slots, there: Slots, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOMENT", 3600.0)  # nobody looks
    ann = await target(db, most=1)
    slot = await here.take(ann, SYNC, LONG)
    async with asyncio.TaskGroup() as group:
        other = group.create_task(there.take(ann, SYNC, LONG))
        await until(lambda found: len(found) == 2, db)
        await here.give_back([slot])
    assert other.result().target is ann


async def test_a_hint_that_is_lost_delays_and_does_no_more(
    db: Database, here: Slots, there: Slots, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = await target(db, most=1)
    slot = await here.take(ann, SYNC, LONG)
    monkeypatch.setattr(here, "_tell", lambda _topic, _subject: None)
    async with asyncio.TaskGroup() as group:
        other = group.create_task(there.take(ann, SYNC, LONG))
        await until(lambda found: len(found) == 2, db)
        await here.give_back([slot])
    assert other.result().target is ann


async def test_who_does_not_want_to_wait_any_more_leaves_no_row(
    db: Database, here: Slots, there: Slots
) -> None:
    ann = await target(db, most=1)
    await here.take(ann, SYNC, LONG)
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(there.take(ann, SYNC, LONG))
        await until(lambda found: len(found) == 2, db)
        waiting.cancel()
    assert await rows(db) == [True]


@pytest.mark.parametrize("steps", range(12))
async def test_who_is_cut_off_while_it_asks_leaves_no_row_for_long(
    steps: int, db: Database, here: Slots, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STRAYS_EVERY", 0.05)
    ann = await target(db, most=1)
    async with process(db) as there, asyncio.TaskGroup() as group:
        assert not await refused(there, ann, SYNC, LONG)
        asking = group.create_task(there.take(ann, SYNC, LONG))
        for _ in range(steps):
            await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait([asking])
        if not asking.cancelled():
            await there.give_back([asking.result()])
        await until(lambda found: not found, db)
        assert not await refused(here, ann, SYNC, LONG)


async def test_what_cannot_be_given_back_is_given_back_later(
    db: Database, here: Slots, there: Slots, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = await target(db, most=1)
    slot = await here.take(ann, SYNC, LONG)
    with monkeypatch.context() as patch:

        async def away(_conn: object, _keys: object) -> list[object]:
            raise Unreachable("The database is away.")

        patch.setattr(store, "give_back", away)
        await here.give_back([slot])
    assert not await refused(there, ann, SYNC, LONG)


async def test_a_process_that_is_killed_frees_what_it_has_at_once(db: Database, here: Slots) -> None:
    ann = await target(db, most=1)
    code = "from postroom.db import process; print(process.identity(), flush=True); input()"
    other = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", code),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert other.stdout is not None
    identity = f"{(await other.stdout.readline()).decode().strip()} one"
    question = store.Question(identity, SYNC, 100)
    async with db.unbound() as conn:
        await conn.execute(processes.RENEW, identity, "executor", "here", timedelta(hours=1))
        assert (await store.ask(conn, [(ann, 1, 1)], question))[0].verdict == "granted"
    assert await refused(here, ann, SYNC, SOON)

    other.kill()
    await other.wait()

    assert not await refused(here, ann, SYNC, LONG)


async def test_a_process_that_is_not_heard_of_holds_nothing_and_waits_for_nothing(
    db: Database, here: Slots
) -> None:
    ann, gone = await target(db, most=1), store.Question("elsewhere 1 5 one", SYNC, 100)
    async with db.unbound() as conn:
        await conn.execute(processes.RENEW, gone.process, "executor", "elsewhere", timedelta(hours=1))
        answers = [await store.ask(conn, [(ann, number, 1)], gone) for number in (1, 2)]
        assert [answer.verdict for (answer,) in answers] == ["granted", "waiting"]
        await conn.execute(processes.END, gone.process)

    assert not await refused(here, ann, SYNC, LONG)


async def test_a_watcher_gives_way_to_a_sync_and_comes_back_after_it(
    db: Database, here: Slots, there: Slots
) -> None:
    ann, order = await target(db, most=1), list[str]()

    async def watch() -> None:
        slot = await here.take(ann, WATCH, LONG)
        order.append("watched")
        await slot.wanted.wait()
        again = asyncio.ensure_future(here.take(ann, WATCH, LONG))
        await until(lambda found: len(found) == 3, db)
        await here.give_back([slot])
        await here.give_back([await again])
        order.append("watched")

    async with asyncio.TaskGroup() as group:
        group.create_task(watch())
        await until(lambda found: len(found) == 1, db)
        slot = await there.take(ann, SYNC, LONG)
        order.append("synced")
        await there.give_back([slot])
    assert order == ["watched", "synced", "watched"]


async def test_of_several_watchers_one_gives_way_for_each_who_waits(
    db: Database, here: Slots, there: Slots
) -> None:
    ann = await target(db, most=3)
    held = [await here.take(ann, WATCH, LONG) for _ in range(3)]
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(there.take(ann, COMMAND, LONG))
        async with asyncio.timeout(20):
            await held[2].wanted.wait()  # the youngest
        assert await refused(there, ann, WATCH, timedelta(seconds=2))  # it looks more than once
        assert [slot.wanted.is_set() for slot in held] == [False, False, True]
        await here.give_back([held[2]])
    assert waiting.result().purpose is COMMAND


async def test_a_watcher_is_not_asked_at_once_while_a_sync_may_end(
    db: Database, here: Slots, there: Slots, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOMENT", 3600.0)
    ann = await target(db, most=2)
    watching, syncing = await here.take(ann, WATCH, LONG), await here.take(ann, SYNC, LONG)
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(there.take(ann, SYNC, LONG))
        await until(lambda found: len(found) == 3, db)
        await here.give_back([syncing])
    assert waiting.result().purpose is SYNC
    assert not watching.wanted.is_set()


async def test_a_limit_that_the_server_has_taught_holds_in_all_processes_for_a_day(
    db: Database, here: Slots, there: Slots
) -> None:
    ann, bob = await target(db, most=5), await target(db, "bob", most=5)
    held = [await here.take(ann, SYNC, LONG) for _ in range(3)]

    assert await here.learn(held[2]) == 3
    await here.give_back([held[2]])

    assert await refused(there, ann, SYNC, SOON)
    assert await there.take(bob, SYNC, LONG)
    async with db.transaction(ONE) as conn:
        await conn.execute("UPDATE providers_limit SET expires_at = now()")
    assert not await refused(there, ann, SYNC, LONG)


async def test_a_server_that_refuses_the_only_one_teaches_nothing(db: Database, here: Slots) -> None:
    ann = await target(db)
    slot = await here.take(ann, SYNC, LONG)

    assert await here.learn(slot) == 1
    await here.give_back([slot])
    assert not await refused(here, ann)


async def test_a_host_has_no_more_than_may_be_for_all_tenants_but_for_watchers(db: Database) -> None:
    ours = [await target(db, name) for name in ("ann", "bob", "cid")]
    theirs, elsewhere = await target(db, tenant=TWO), await target(db, "dan", host="other.example")
    async with process(db, of_host=3) as here, process(db, of_host=3) as there:
        slots = [await here.take(one, SYNC, LONG) for one in (*ours[:2], theirs)]

        with pytest.raises(NoConnection) as full:
            await there.take(ours[2], SYNC, LONG)
        assert full.value.data["is_of_host"]
        assert not await refused(there, elsewhere, SYNC, LONG)
        assert not await refused(there, ours[2], WATCH, LONG)
        await here.give_back(slots[:1])
        assert not await refused(there, ours[2], SYNC, LONG)


async def test_those_of_an_account_that_is_removed_go_with_it(db: Database, here: Slots) -> None:
    ann = await target(db)
    slot = await here.take(ann, SYNC, LONG)
    async with db.transaction(ONE) as conn:
        await accounts.remove(conn, ONE, ann.account)

    assert await rows(db) == []
    assert await refused(here, ann, SYNC, LONG)
    await here.give_back([slot])


async def test_who_was_taken_for_dead_is_asked_to_give_back_all(db: Database, here: Slots) -> None:
    slot = await here.take(await target(db), WATCH, LONG)
    async with db.unbound() as conn:
        await conn.execute("DELETE FROM db_process")
    async with asyncio.timeout(20):
        await slot.wanted.wait()


async def test_what_nobody_meets_is_swept(db: Database, here: Slots) -> None:
    await here.take(await target(db), SYNC, LONG)
    async with process(db) as there:
        await there.take(await target(db, "bob"), SYNC, LONG)

    async with db.single() as conn:
        assert await store.sweep(conn) == 1
    assert await rows(db) == [True]


async def test_a_slot_that_stands_costs_nothing(db: Database, here: Slots) -> None:
    """Its row is never written again."""
    async with AsyncExitStack():
        slots: list[Slot] = [await here.take(await target(db), WATCH, LONG)]
        async with db.transaction(ONE) as conn:
            before = await conn.fetchval("SELECT xmin::text FROM providers_connection")
        async with db.unbound() as conn:
            ends = now = await conn.fetchval("SELECT max(expires_at) FROM db_process")
        async with asyncio.timeout(20):
            while now == ends:
                async with db.unbound() as conn:
                    now = await conn.fetchval("SELECT max(expires_at) FROM db_process")
        async with db.transaction(ONE) as conn:
            assert await conn.fetchval("SELECT xmin::text FROM providers_connection") == before
        await here.give_back(slots)
