"""How syncs go reaches pages that are open, in whichever process they run."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from servers.api import key_of
from servers.live import events, served
from servers.tenants import ANNS, BOBS, ONE, TWO
from sync.lab import connected, sync
from websockets.asyncio.client import connect

from postroom.accounts import store as accounts
from postroom.accounts.model import AccountState
from postroom.db.listen import Hints, open_hints
from postroom.db.pool import Database, open_pool
from postroom.ids import AccountId
from postroom.lab.server import serve
from postroom.sync import live
from postroom.sync.live import Hinted, Syncs, What, syncs
from postroom.sync.model import Counts

pytestmark = pytest.mark.usefixtures("tenants")


@asynccontextmanager
async def elsewhere(dsn: str) -> AsyncIterator[Database]:
    """The database of another process, with hints of its own."""
    async with open_pool(dsn) as theirs, open_hints(theirs):
        yield theirs


@asynccontextmanager
async def listening(db: Database) -> AsyncIterator[tuple[Syncs, Hints]]:
    """Once PostgreSQL listens for us: what is told in the moment in which it begins to may be missed."""
    async with asyncio.timeout(60), open_hints(db) as hints, syncs(db, hints) as found:
        with hints.hear("tests") as hearing:
            assert (await anext(hearing), await anext(hearing)) == (None, None)  # ours began, theirs did
        yield found, hints


async def told(aside: live.Aside, wake: asyncio.Event) -> list[live.News]:
    await wake.wait()
    wake.clear()
    return list(aside.take())


async def test_the_result_of_a_sync_elsewhere_reaches_an_open_page(
    app: FastAPI, db: Database, dsn: str
) -> None:
    key = await key_of(db, ONE)
    async with (
        serve(messages=3, folder_count=1) as server,
        elsewhere(dsn) as theirs,
        served(app, None) as page,
    ):
        account = await connected(theirs, server)
        await sync(theirs, account)
        url = str(page.base_url).replace("http", "ws", 1)
        async with connect(f"{url}/v1/events/ws", proxy=None) as socket:
            await socket.send(json.dumps({"type": "resume", "key": key, "types": ["sync", "sync_started"]}))
            await socket.recv()
            server.arrive()
            outcome = await sync(theirs, account)
            found: dict[str, Any] = json.loads(await socket.recv())
            while found["type"] == "sync_started":
                found = json.loads(await socket.recv())
            server.faults.switch_on("greeting-bye")
            failed = await sync(theirs, account, full=True)
            trouble: dict[str, Any] = json.loads(await socket.recv())
            while trouble["type"] == "sync_started":
                trouble = json.loads(await socket.recv())
        async with db.transaction(ONE) as conn:
            now = await accounts.get_by_id(conn, ONE, account.id)

    assert outcome.status == "success"
    assert found.pop("at")
    assert found == {
        "type": "sync",
        "account": str(account.public_id),
        "status": "success",
        "added": 1,
        "removed": 0,
        "error": None,
    }
    assert failed.error is not None
    assert now.last_sync_at is not None
    assert trouble["error"] == {"code": failed.error.code, "message": failed.error.message}
    assert (trouble["status"], trouble["at"]) == (
        "failed",
        now.last_sync_at.isoformat().replace("+00:00", "Z"),
    )


async def test_a_stream_tells_of_syncs_as_well_unless_it_is_narrowed(app: FastAPI, db: Database) -> None:
    async with serve(messages=1, folder_count=1) as server, served(app, await key_of(db, ONE)) as page:
        account = await connected(db, server)
        async for one in events(page, "/v1/events/stream", types="sync,mail.folder_removed"):
            if one.event == "ready":
                await sync(db, account)
                continue
            seen = one
            break

    assert (seen.event, seen.id, seen.data["account"]) == ("sync", None, str(account.public_id))


async def test_that_a_sync_has_begun_is_told_while_it_runs(db: Database) -> None:
    async with listening(db) as (found, _), serve(messages=3, folder_count=1) as server:
        account = await connected(db, server)
        wake = asyncio.Event()
        aside = found.aside(ONE, {account.id}, wake)
        server.faults.switch_on("greeting-late")
        syncing = asyncio.create_task(sync(db, account))
        [(type, data)] = await told(aside, wake)
        syncing.cancel()
        await asyncio.wait([syncing])

    assert (type, data["account"]) == ("sync_started", account.public_id)


async def test_what_says_nothing_of_the_account_is_told_to_have_stopped(db: Database) -> None:
    async with listening(db) as (found, _):
        wake = asyncio.Event()
        aside = found.aside(ONE, None, wake)
        async with serve(messages=1, folder_count=1) as server:
            account = await connected(db, server)
            server.faults.switch_on("greeting-late")
            syncing = asyncio.create_task(sync(db, account))
            await told(aside, wake)
            async with db.transaction(ONE) as conn:
                await accounts.set_state(conn, ONE, account.id, AccountState.PAUSED)
        outcome = await syncing
        [(type, data)] = await told(aside, wake)

    assert outcome.status == "busy"
    assert (type, data["status"], data["error"]) == ("sync", "stopped", None)


async def test_one_tenant_or_account_hears_nothing_of_another(db: Database) -> None:
    async with listening(db) as (found, _):
        wakes = [asyncio.Event() for _ in range(3)]
        ours, theirs = found.aside(ONE, None, wakes[0]), found.aside(TWO, None, wakes[1])
        other = found.aside(ONE, {AccountId(99)}, wakes[2])
        async with db.transaction(TWO) as conn:
            bobs = await accounts.get_by_id(conn, TWO, BOBS)
            await accounts.mark_sync_succeeded(conn, TWO, BOBS, wait=timedelta())
        live.tell(db, bobs, What.ENDED, Counts())
        [news] = await told(theirs, wakes[1])

    assert news[1]["account"] == bobs.public_id
    assert (ours.take(), other.take()) == ([], [])


async def test_a_hint_that_comes_twice_is_told_once(db: Database) -> None:
    async with listening(db) as (found, hints):
        wake = asyncio.Event()
        aside = found.aside(ONE, None, wake)
        async with db.transaction(ONE) as conn:
            await accounts.mark_sync_succeeded(conn, ONE, ANNS, wait=timedelta())
        hints.tell(live.SYNCS, "1 1 ended 1 0 7")
        news = await told(aside, wake)
        hints.tell(live.SYNCS, "1 1 ended 1 0 7")
        hints.tell(live.SYNCS, "1 1 ended 2 0 8")
        news += await told(aside, wake)

    assert [data["added"] for _, data in news] == [1, 2]


async def test_nothing_is_asked_where_nobody_listens(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    async def results(*args: Any) -> dict[Any, Any]:
        asked.append(args)
        return {}

    monkeypatch.setattr(live, "results", results)
    async with listening(db) as (found, hints), db.transaction(ONE) as conn:
        anns = await accounts.get_by_id(conn, ONE, ANNS)
        aside = found.aside(ONE, None, asyncio.Event())
        aside.close()
        other = found.aside(TWO, None, asyncio.Event())
        for _ in range(3):
            live.tell(db, anns, What.ENDED, Counts())
        with hints.hear(live.SYNCS) as hearing:
            await anext(hearing)
        await asyncio.sleep(3 * live.GATHER_SECONDS)
        other.close()

    assert asked == []


async def test_a_reader_who_does_not_take_keeps_only_the_latest(db: Database) -> None:
    async with listening(db) as (found, _):
        aside = found.aside(ONE, None, asyncio.Event())
        for number in range(live.WAITING + 5):
            aside.hear(ANNS, ("sync", {"n": number}))

    kept = aside.take()
    assert (len(kept), kept[0][1], aside.take()) == (live.WAITING, {"n": 5}, [])


@pytest.mark.parametrize(
    ("subject", "hinted"),
    [
        ("1 2 ended 3 4 5", Hinted(ONE, AccountId(2), What.ENDED, 3, 4, 5)),
        ("", None),
        ("1 2 ended 3 4", None),
        ("1 2 other 3 4 5", None),
        ("1 2 ended 3 4 5 6", None),
        ("x 2 ended 3 4 5", None),
    ],
)
def test_a_hint_that_makes_no_sense_is_passed_over(subject: str, hinted: Hinted | None) -> None:
    assert live.read(subject) == hinted
