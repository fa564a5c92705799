"""Both clients follow, are cut off, and miss nothing."""

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from events.following import append, everything
from fastapi import FastAPI
from histories.proxy import Break, Plan
from jobs.speaking import end, get_on, say, started
from servers.tenants import ANNS

from postroom.client import Client, Conflict, Invalid
from postroom.client.model import BatchComplete, Event, JobEvent, JobStatus, Ready
from postroom.db.beside import beside
from postroom.db.pool import Database
from postroom.events import feed
from postroom.events.model import Event as Logged

from .conftest import Both


def gone() -> Logged:
    return Logged("mail.removed", {"message": str(uuid4())})


async def test_what_happened_is_told_and_then_what_happens(both: Both, db: Database) -> None:
    await append(db, ANNS, gone(), gone())
    ready, first, second = await both.some(lambda client: client.follow_events(after="start"), 3)
    [_, last] = await both.some(lambda client: client.follow_events(after=first.cursor), 2)

    assert isinstance(ready, Ready)
    assert isinstance(first, Event)
    assert (first.kind, first.seq, second.seq, last) == ("mail.removed", 1, 2, second)
    assert first.data.keys() == {"message", "v"}


async def test_only_what_is_wanted_is_told(both: Both, db: Database) -> None:
    await append(db, ANNS, Logged("mail.folder_added", {"folder": str(uuid4())}), gone())
    told = await both.some(lambda client: client.follow_events(types=["mail.removed"], after="start"), 2)

    assert [type(each) for each in told] == [Ready, Event]
    assert told[1].kind == "mail.removed"


@pytest.mark.parametrize("how", [Break.RESET, Break.CLOSE])
async def test_a_stream_that_is_cut_off_goes_on_and_misses_nothing(
    both: Both, db: Database, how: Break
) -> None:
    await append(db, ANNS, *(gone() for _ in range(40)))
    both.proxy.plan = Plan(how, 4000)  # in the midst of an event
    told = await both.some(lambda client: client.follow_events(after="start"), 42)

    events = [each.cursor for each in told if isinstance(each, Event)]
    assert events == [feed.cursor_of(entry) for entry in await everything(db)]
    assert [isinstance(each, Ready) for each in told].count(True) == 2  # said again after the cut
    assert both.proxy.broken == 1


async def test_what_is_live_is_told_after_any_number_of_cuts(both: Both, db: Database) -> None:
    heard = asyncio.Event()
    loop = asyncio.get_running_loop()
    seen: list[int] = []

    def note(each: Any) -> None:
        if isinstance(each, Event):
            seen.append(each.seq)
            loop.call_soon_threadsafe(heard.set)

    async def write() -> None:
        for number in range(1, 6):
            await append(db, ANNS, gone())
            while seen[-1:] != [number]:
                heard.clear()
                await heard.wait()
            both.proxy.reset_all()

    async with beside(write()):
        await _until(both, note, lambda: len(seen) == 5)

    assert seen == [1, 2, 3, 4, 5]
    assert len(both.waits) >= 3


async def _until(both: Both, note: Callable[[Any], None], is_enough: Callable[[], bool]) -> None:
    if isinstance(both.client, Client):
        await asyncio.to_thread(_listen, both.client, note, is_enough)
        return
    following = both.client.follow_events(after="start")
    async for each in following:
        note(each)
        if is_enough():
            break
    await following.aclose()


def _listen(client: Client, note: Callable[[Any], None], is_enough: Callable[[], bool]) -> None:
    following = client.follow_events(after="start")
    for each in following:
        note(each)
        if is_enough():
            break
    following.close()


async def test_a_wrong_question_ends_a_stream_at_once(both: Both, db: Database) -> None:
    await append(db, ANNS, gone())
    [_, event] = await both.some(lambda client: client.follow_events(after="start"), 2)
    lost = event.cursor[:-4] + "AAAA"
    with pytest.raises(Invalid) as unknown:
        await both.some(lambda client: client.follow_events(types=["mail.nothing"]))
    with pytest.raises((Conflict, Invalid)) as elsewhere:
        await both.some(lambda client: client.follow_events(after=lost))

    assert unknown.value.code == "events.no_such_type"
    assert elsewhere.value.code in {"events.place_lost", "events.bad_cursor"}
    assert both.waits == []


async def test_a_job_is_followed_to_its_end(both: Both, db: Database) -> None:
    job = await started(db)

    async def talk() -> None:
        for number in range(20):
            await say(db, job, "hello")
            await get_on(db, job, number + 1, found=number)
        await end(db, job, result={"items": ["a"]})

    both.proxy.plan = Plan(Break.RESET, 3000)
    async with beside(talk()):
        told = await both.some(lambda client: client.follow_job(job.public_id))

    events = [each.id for each in told if isinstance(each, JobEvent)]
    last = told[-1]
    assert events == sorted(set(events))
    assert len(events) >= 20
    assert isinstance(last, JobStatus)
    assert (last.state, last.is_over, last.result) == ("completed", True, {"items": ["a"]})


async def test_a_job_is_followed_in_batches(both: Both, db: Database, app: FastAPI) -> None:
    del app
    job = await started(db)
    await get_on(db, job, 3, found=2)
    await end(db, job, result={"items": ["a", "b"]})
    *_, last = await both.some(lambda client: client.follow_job_batches(job.public_id))

    assert isinstance(last, BatchComplete)
    assert (last.processed, last.items, last.error) == (3, ("a", "b"), None)
