"""/v1/jobs/{id}/events, from a server of its own: live, cut off and resumed, to the end."""

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import FastAPI
from servers.api import Client, key_of
from servers.live import Told, events, served
from servers.tenants import ONE

from postroom.db.beside import beside
from postroom.db.pool import Database
from postroom.jobs.model import Job, Reason, State
from postroom.people import keys

from .speaking import KIND, end, get_on, said, say, started


def path(job: Job, *more: str) -> str:
    return "/".join(["/v1/jobs", str(job.public_id), *more])


@pytest.fixture
async def live(app: FastAPI, db: Database, tenants: None) -> AsyncIterator[Client]:
    del tenants
    async with served(app, await key_of(db, ONE)) as client:
        yield client


def stream(live: Client, job: Job, last: str | None = None, **asked: Any) -> AsyncIterator[Told]:
    return events(live, path(job, "events"), last, **asked)


async def whole(live: Client, job: Job, last: str | None = None, **asked: Any) -> list[Told]:
    return [told async for told in stream(live, job, last, **asked)]


def ids(told: list[Told]) -> list[int]:
    return [one.data["id"] for one in told if one.event == "job_event"]


async def talk(db: Database, job: Job, times: int = 30) -> None:
    for n in range(times):
        await say(db, job, "hello")
        await get_on(db, job, n + 1, found=n // 2)
    await end(db, job, result={"items": ["a", "b"]})


async def talked(live: Client, db: Database, job: Job, **asked: Any) -> list[Told]:
    """All that is told by a stream that was open before anything was said."""
    telling = stream(live, job, **asked)
    told = [await anext(telling)]
    async with beside(talk(db, job)):
        return told + [one async for one in telling]


async def test_a_stream_tells_what_happens_and_ends_with_its_job(live: Client, db: Database) -> None:
    job = await started(db)
    told = await talked(live, db, job)

    events, (*statuses, last) = (
        [one for one in told if one.event == name] for name in ("job_event", "job_status")
    )
    assert ids(told) == await said(db, job)
    assert [one.id for one in events] == [str(number) for number in ids(told)]
    assert events[0].data.keys() == {"id", "at", "level", "message", "data"}
    assert (told[-1], last.data["state"], last.data["result"]) == (last, "completed", {"items": ["a", "b"]})
    assert last.data == (await live.get(path(job))).json()
    assert {one.data["state"] for one in statuses} == {"running"}
    assert {one.id for one in statuses} == {None}


@pytest.mark.parametrize("seed", range(3))
async def test_a_stream_that_is_cut_and_resumed_shows_every_event_once(
    live: Client, db: Database, seed: int
) -> None:
    rng, job = random.Random(seed), await started(db)
    seen: list[int] = []
    last, is_over = None, False
    async with beside(talk(db, job, 60)):
        while not is_over:
            left = rng.randrange(1, 12)
            asked: dict[str, Any] = (
                {"last": last} if rng.random() < 0.5 else {"after": seen[-1] if seen else 0}
            )
            async for told in stream(live, job, **asked):
                last = told.id or last
                seen += ids([told])
                is_over = told.event == "job_status" and told.data["state"] == "completed"
                left -= 1
                if left == 0:
                    break

    assert seen == await said(db, job)


async def test_streams_of_jobs_at_once_never_mix(live: Client, db: Database) -> None:
    jobs = [await started(db) for _ in range(3)]
    async with beside(*(talk(db, job) for job in jobs)):
        heard = await asyncio.gather(*(whole(live, job) for job in jobs))

    for job, told in zip(jobs, heard, strict=True):
        assert ids(told) == await said(db, job)
        assert {one.data["data"]["job"] for one in told if one.event == "job_event"} == {job.id}
        assert {one.data["id"] for one in told if one.event == "job_status"} == {str(job.public_id)}


async def test_who_saw_the_end_is_told_to_stay_away(live: Client, db: Database) -> None:
    job = await started(db)
    await talk(db, job, 3)
    told = await whole(live, job)
    assert told[-1].id == f"{ids(told)[-1]}.end"

    again = await live.get(path(job, "events"), headers={"Last-Event-ID": told[-1].id or ""})
    assert (again.status_code, again.content) == (204, b"")
    assert [one.event for one in await whole(live, job, str(ids(told)[-1]))] == ["job_status"]


async def test_one_that_was_wanted_again_is_followed_from_its_end(live: Client, db: Database) -> None:
    job = await started(db)
    await say(db, job, "before")
    await end(db, job, State.FAILED, error=Reason("a.b", "It is broken."))
    first = await whole(live, job)
    await live.post(path(job, "requeue"))
    async with beside(live_again(live, job)):
        told = await whole(live, job, first[-1].id)

    assert [one.data["message"] for one in first if one.event == "job_event"] == ["before", "It is broken."]
    assert [one.data["state"] for one in told] == ["pending", "cancelled"]


async def live_again(live: Client, job: Job) -> None:
    await asyncio.sleep(0.05)
    await live.post(path(job, "cancel"))


@pytest.mark.parametrize("last", ["x", "-1", "1.5", ".end", "1.end.end", "9" * 19, "9" * 5000, "１"])
async def test_a_last_event_id_that_is_none_of_ours_is_refused(api: Client, db: Database, last: str) -> None:
    job = await started(db)
    headers = [(b"Last-Event-ID", last.encode("utf-8"))]
    answer = await api.get(path(job, "events"), headers=headers)

    assert (answer.status_code, answer.json()["code"]) == (400, "jobs.bad_event_id")


@pytest.mark.parametrize(
    "asked", [{"after": "x"}, {"after": "-1"}, {"after": str(1 << 63)}, {"format": "xml"}]
)
async def test_a_stream_that_makes_no_sense_says_why(
    api: Client, db: Database, asked: dict[str, str]
) -> None:
    job = await started(db)
    answer = await api.get(path(job, "events"), params=asked)

    assert (answer.status_code, answer.json()["code"]) == (422, "http.invalid_request")


async def test_chat_clients_get_progress_in_batches(live: Client, db: Database) -> None:
    job = await started(db)
    *progress, last = await talked(live, db, job, format="batch")

    assert {one.event for one in progress} == {"batch_progress"}
    assert progress[0].data.keys() == {"tool", "processed", "total_estimate", "items_found", "has_more"}
    assert [one.data["processed"] for one in progress] == sorted(one.data["processed"] for one in progress)
    assert all(one.data["has_more"] for one in progress)
    assert (last.event, last.data) == (
        "batch_complete",
        {"tool": KIND, "total_items": 14, "processed": 30, "items": ["a", "b"]},
    )


async def test_a_batch_that_failed_says_so(live: Client, db: Database) -> None:
    job = await started(db)
    await end(db, job, State.FAILED, error=Reason("a.b", "It is broken."))
    (told,) = await whole(live, job, format="batch")

    assert told.data == {
        "tool": KIND,
        "total_items": 0,
        "processed": 0,
        "items": [],
        "error": {"code": "a.b", "message": "It is broken."},
    }


@pytest.mark.parametrize("form", ["events", "batch"])
async def test_a_job_that_vanishes_ends_its_stream(live: Client, db: Database, form: str) -> None:
    job = await started(db, is_kept=False)
    told = []
    async for one in stream(live, job, format=form):
        told.append(one)
        if len(told) == 1:
            await end(db, job, kept=False)

    assert [one.event for one in told] == {
        "events": ["job_status", "job_status"],
        "batch": ["batch_progress", "batch_complete"],
    }[form]
    assert told[-1].data.get("is_gone") == (True if form == "events" else None)


async def test_a_revoked_key_sees_no_more(app: FastAPI, db: Database, tenants: None) -> None:
    del tenants
    job = await started(db)
    key, text = await keys.create(db, ONE, "test", keys.EVERYTHING)
    async with served(app, text) as live:
        told = []
        async for one in stream(live, job):
            told.append(one)
            await keys.revoke(db, ONE, key.public_id)

    assert [one.event for one in told] == ["job_status"]
    assert (await started(db)).state is State.RUNNING
