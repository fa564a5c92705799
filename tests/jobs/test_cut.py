"""A database that goes away under a job says nothing of the job, unless it does so again and again."""

import asyncio
from datetime import timedelta

import asyncpg
import pytest
from jobs.executing import executing, job, until, until_state, want

from postroom.db.model import Busy, DiskFull, Refused, Unreachable
from postroom.db.pool import Database
from postroom.errors import PostroomError
from postroom.jobs import rules
from postroom.jobs.attempt import Attempt
from postroom.jobs.model import NotNow, State, Wish

pytestmark = pytest.mark.usefixtures("tenants")

KILL_MYSELF = "SET LOCAL ROLE NONE; SELECT pg_terminate_backend(pg_backend_pid())"


async def kill_own_backend(attempt: Attempt) -> None:
    async with attempt.db.transaction(attempt.job.tenant_id) as conn:
        await conn.execute(KILL_MYSELF)


async def test_a_connection_that_is_lost_under_a_job_is_no_failure_of_it(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "AFTER_CUT", timedelta(milliseconds=10))

    async def once(attempt: Attempt) -> None:
        if attempt.job.attempts == 1:
            await kill_own_backend(attempt)

    async with executing(db, once=once):
        (one,) = await want(db, Wish("test.once", tries=1))
        found = await until_state(db, one, State.COMPLETED)

    assert (found.attempts, found.failures) == (2, 0)


async def test_what_is_handed_back_says_why_and_waits_no_minute(db: Database) -> None:
    async with executing(db, kill=kill_own_backend):
        (one,) = await want(db, Wish("test.kill", tries=1))
        found = await until(db, one, lambda now: now.error is not None)

    assert found.error is not None
    assert (found.state, found.failures, found.error.code) == (State.PENDING, 0, "db.unreachable")
    assert found.run_at - found.created_at < rules.FIRST_RETRY / 2


@pytest.mark.parametrize("is_kept", [True, False])
async def test_a_job_that_kills_its_own_connection_ends(
    db: Database, dsn: str, monkeypatch: pytest.MonkeyPatch, is_kept: bool
) -> None:
    monkeypatch.setattr(rules, "AFTER_CUT", timedelta(milliseconds=10))
    monkeypatch.setattr(rules, "FIRST_RETRY", timedelta(milliseconds=10))
    began = []

    async def kill(attempt: Attempt) -> None:
        began.append((attempt.job.cuts, attempt.job.failures))
        await kill_own_backend(attempt)

    superuser = await asyncpg.connect(dsn)
    async with executing(db, kill=kill):
        (one,) = await want(db, Wish("test.kill", is_kept=is_kept))
        async with asyncio.timeout(30):
            while await superuser.fetchval(UNFINISHED):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    await superuser.close()

    in_vain = [(cuts, 0) for cuts in range(rules.CUTS + 1)]
    assert began == ([*in_vain, (rules.CUTS + 1, 1), (rules.CUTS + 2, 2)] if is_kept else in_vain)
    if is_kept:
        found = await job(db, one)
        assert (found.state, found.failures) == (State.FAILED, 3)


UNFINISHED = "SELECT count(*) FROM postroom.jobs_job WHERE finished_at IS NULL"


async def test_only_cuts_in_a_row_count(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "AFTER_CUT", timedelta(milliseconds=10))
    cuts = []

    async def now_and_then(attempt: Attempt) -> None:
        cuts.append(attempt.job.cuts)
        if attempt.job.attempts % 3:
            await kill_own_backend(attempt)
        if attempt.job.attempts < 3 * rules.CUTS:
            raise NotNow("Something else.", wait=timedelta())

    async with executing(db, work=now_and_then):
        (one,) = await want(db, Wish("test.work", tries=1))
        found = await until_state(db, one, State.COMPLETED)

    assert (found.failures, cuts) == (0, [0, 1, 2] * rules.CUTS)


@pytest.mark.parametrize("error", [Unreachable("x"), Refused("x"), DiskFull("x"), Busy("x")])
async def test_whatever_the_database_lacks_is_no_failure_of_the_job(
    db: Database, error: PostroomError
) -> None:
    async def fail(_attempt: Attempt) -> None:
        raise error

    async with executing(db, fail=fail):
        (one,) = await want(db, Wish("test.fail", tries=1))
        found = await until(db, one, lambda now: now.error is not None)

    assert (found.state, found.failures) == (State.PENDING, 0)
