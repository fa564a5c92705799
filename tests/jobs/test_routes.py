"""/v1/jobs: lists, single jobs, what can be done with them; and how the queue does."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from servers.api import Client, key_of
from servers.copies import Copy
from servers.tenants import ANNS, ONE, TWO

from postroom.db.pool import Database
from postroom.http.caller import Scope
from postroom.ids import AccountId, TenantId
from postroom.jobs import store
from postroom.jobs.model import Job, Reason, State, Wish
from postroom.jobs.store import duties

from .speaking import KIND, end, get_on, say, started

Copies = Callable[[TenantId, AccountId], Copy]
SOME_ID = "0197a3b0-0000-7000-8000-000000000000"


def path(job: Job, *more: str) -> str:
    return "/".join(["/v1/jobs", str(job.public_id), *more])


async def test_jobs_are_listed_the_latest_first_page_by_page(api: Client, db: Database) -> None:
    jobs = [await started(db) for _ in range(5)]
    await started(db, TWO)
    seen: list[str] = []
    cursor = None
    while cursor is not None or not seen:
        asked = {"page_size": 2} | ({"cursor": cursor} if cursor else {})
        page = (await api.get("/v1/jobs", params=asked)).json()
        seen += [item["id"] for item in page["items"]]
        cursor = page["next"]
        assert page["has_next"] == (cursor is not None)

    assert seen == [str(job.public_id) for job in reversed(jobs)]


async def test_a_list_is_narrowed(api: Client, db: Database, copy: Copies) -> None:
    anns = str(await copy(ONE, ANNS).id())
    first, second = await started(db, account=ANNS), await started(db)
    await end(db, second, State.FAILED, error=Reason("a.b", "It is broken."))
    async with db.transaction(ONE) as conn:
        await store.enqueue(conn, ONE, [Wish("test.other")])

    async def found(**asked: str) -> list[str]:
        return [item["id"] for item in (await api.get("/v1/jobs", params=asked)).json()["items"]]

    assert await found(state="running") == await found(account=anns) == [str(first.public_id)]
    assert await found(state="failed") == await found(state="failed", kind=KIND) == [str(second.public_id)]
    assert await found(state="failed", account=anns) == []
    assert len(await found(kind="test.other")) == 1
    assert (await api.get(path(first))).json()["account"] == anns


@pytest.mark.parametrize(
    ("asked", "status", "code"),
    [
        ({"state": "done"}, 422, "http.invalid_request"),
        ({"kind": "a\0b"}, 422, "http.invalid_request"),
        ({"account": "ann"}, 422, "http.invalid_request"),
        ({"account": SOME_ID}, 404, "accounts.not_found"),
        ({"cursor": "canary"}, 400, "http.bad_cursor"),
        ({"page_size": "0"}, 422, "http.invalid_request"),
    ],
    ids=str,
)
async def test_a_list_that_makes_no_sense_says_why(
    api: Client, asked: dict[str, str], status: int, code: str
) -> None:
    answer = await api.get("/v1/jobs", params=asked)

    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_a_job_is_shown_as_it_stands(api: Client, db: Database) -> None:
    job = await started(db)
    await get_on(db, job, 7, found=2)
    told = (await api.get(path(job))).json()
    await end(db, job, State.FAILED, counts=True, error=Reason("a.b", "It is broken."))
    after = (await api.get(path(job))).json()

    assert (told["state"], told["kind"], told["worker"], told["account"]) == (
        "running",
        KIND,
        "machine.1",
        None,
    )
    assert told["progress"] == {"processed": 7, "total_estimate": 100, "items_found": 2}
    assert (told["attempts"], told["failures"], told["tries"]) == (1, 0, 3)
    assert (after["state"], after["error"]) == ("failed", {"code": "a.b", "message": "It is broken."})
    assert after["finished_at"] is not None


async def test_a_job_is_cancelled_and_wanted_again(api: Client, db: Database) -> None:
    async with db.transaction(ONE) as conn:
        (made,) = await store.enqueue(conn, ONE, [Wish("test.a")])
    where = f"/v1/jobs/{made.public_id}"

    assert (await api.post(f"{where}/requeue")).json()["code"] == "jobs.not_over"
    assert (await api.post(f"{where}/cancel")).json()["state"] == "cancelled"
    again = await api.post(f"{where}/cancel")
    assert (again.status_code, again.json()["code"]) == (409, "jobs.is_over")
    assert (await api.post(f"{where}/requeue")).json()["state"] == "pending"


async def test_one_that_runs_is_asked_to_stop(api: Client, db: Database) -> None:
    job = await started(db)
    told = (await api.post(path(job, "cancel"))).json()

    assert (told["state"], told["cancel_requested"]) == ("running", True)


async def test_another_tenants_job_is_none(api: Client, db: Database) -> None:
    job = await started(db, TWO)
    await say(db, job, "canary")
    for where in (path(job), f"/v1/jobs/{SOME_ID}"):
        answers = [
            await api.get(where),
            await api.get(f"{where}/events"),
            await api.get(f"{where}/events", headers={"Last-Event-ID": "0.end"}),
            await api.post(f"{where}/cancel"),
            await api.post(f"{where}/requeue"),
        ]
        assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {
            (404, "jobs.not_found")
        }
        assert {answer.json()["detail"] for answer in answers} == {"There is no such job."}


async def test_reading_is_not_enough_to_cancel(
    api: Client, db: Database, connect: Callable[[str | None], Client]
) -> None:
    job = await started(db)
    reader = connect(await key_of(db, ONE, Scope.READ))

    assert (await api.get(path(job))).status_code == (await reader.get(path(job))).status_code == 200
    for verb in ("cancel", "requeue"):
        assert (await reader.post(path(job, verb))).json()["code"] == "http.missing_scope"


async def test_the_overview_counts_ones_own_jobs(api: Client, db: Database) -> None:
    for tenant in (ONE, TWO):
        running, failed = await started(db, tenant, key="k"), await started(db, tenant)
        await end(db, failed, State.FAILED, error=Reason("a.b", "It is broken."))
        async with db.transaction(tenant) as conn:
            later = running.created_at + timedelta(hours=1)
            await store.enqueue(conn, tenant, [Wish("test.a"), Wish("test.b", run_at=later)])
    async with db.unbound() as conn:
        await duties.plan(conn, ["jobs.clean"], [timedelta(hours=1)], [timedelta()])
        await duties.claim(conn, "me", ["jobs.clean"], timedelta(minutes=1), [])
        await duties.done(conn, "jobs.clean", "me", seconds=1.5, error="/canary [db.unreachable]", jitter=1.0)

    told = (await api.get("/v1/jobs/overview")).json()
    (duty,) = told.pop("duties")
    assert told.pop("oldest_ready_seconds") >= 0
    assert told.pop("oldest_ready_at") is not None
    assert told == {
        "pending": {"ready": 1, "later": 1, "behind": 0},
        "running": 1,
        "workers": [{"worker": "machine.1", "running": 1}],
        "failed": [{"code": "a.b", "jobs": 1}],
        "ended_last_hour": {"completed": 0, "failed": 1, "cancelled": 0},
    }
    assert (duty["name"], duty["every_seconds"], duty["is_running"]) == ("jobs.clean", 3600, False)
    assert (duty["last_seconds"], duty["last_error"]) == (1.5, "db.unreachable")
    assert duty["last_at"] < duty["next_at"]


async def test_an_empty_queue_has_an_overview_too(api: Client) -> None:
    told = (await api.get("/v1/jobs/overview")).json()

    assert (told["oldest_ready_seconds"], told["running"], told["failed"], told["duties"]) == (
        None,
        0,
        [],
        [],
    )


async def test_metrics_count_the_jobs_of_all(stranger: Client, db: Database, tenants: None) -> None:
    del tenants
    for tenant in (ONE, TWO):
        await started(db, tenant)
        await end(db, await started(db, tenant), State.FAILED, error=Reason("a.b", "It is broken."))
        async with db.transaction(tenant) as conn:
            await store.enqueue(conn, tenant, [Wish("test.a")])
    text = (await stranger.get("/metrics")).text

    for line in (
        'postroom_jobs{state="ready"} 2.0',
        'postroom_jobs{state="running"} 2.0',
        'postroom_jobs_running{worker="machine.1"} 2.0',
        'postroom_jobs_failed{code="a.b"} 2.0',
        'postroom_jobs_ended_last_minute{state="failed"} 2.0',
    ):
        assert line in text
    assert "postroom_jobs_oldest_ready_seconds 0." in text
