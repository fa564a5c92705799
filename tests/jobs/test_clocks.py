"""When something is due is decided by the database's clock, whatever that of an executor's machine says."""

from datetime import timedelta
from pathlib import Path

import pytest
from jobs.executing import executing, until, want

import postroom
from postroom.db.pool import Database
from postroom.errors import TryLater
from postroom.jobs.attempt import Attempt
from postroom.jobs.model import NotNow, State, Wish

pytestmark = pytest.mark.usefixtures("tenants")

ROOT = Path(postroom.__file__).parent
DECIDE = [
    "accounts",
    "executor",
    "jobs",
    "sync/ask.py",
    "sync/due.py",
    "sync/jobs.py",
    "sync/perform.py",
    "sync/run.py",
]
DECIDE += [
    "sync/allowance.py",
    "sync/verdict.py",
    "providers/budget.py",
    "sync/remove.py",
    "sync/verify.py",
    "sync/quarantine.py",
    "sync/logins.py",
    "db/leases.py",
]
SINCE = "SELECT $1::timestamptz - now()"


@pytest.mark.parametrize("place", DECIDE)
def test_nobody_who_decides_when_asks_this_machines_clock(place: str) -> None:
    path = ROOT / place
    for file in [path] if path.is_file() else path.rglob("*.py"):
        text = file.read_text("utf-8")
        assert "datetime.now" not in text, file
        assert "import time\n" not in text, file
        assert "from time import time" not in text, file


@pytest.mark.parametrize(
    "error", [TryLater("x", wait=timedelta(hours=9)), NotNow("x", wait=timedelta(hours=9))]
)
async def test_what_waits_again_waits_from_the_databases_now(db: Database, error: TryLater) -> None:
    async def fail(_attempt: Attempt) -> None:
        raise error

    async with executing(db, fail=fail):
        (one,) = await want(db, Wish("test.fail"))
        found = await until(db, one, lambda now: now.attempts == 1 and now.state is State.PENDING)
        async with db.unbound() as conn:
            left = await conn.fetchval(SINCE, found.run_at)

    assert timedelta(hours=8.9) < left < timedelta(hours=10)


async def test_a_wish_may_wait_and_the_later_of_its_times_counts(db: Database) -> None:
    hour = timedelta(hours=1)
    async with db.unbound() as conn:
        now = await conn.fetchval("SELECT now()")
    wishes = [
        Wish("test.a"),
        Wish("test.a", wait=hour),
        Wish("test.a", wait=hour, run_at=now + 2 * hour),
        Wish("test.a", wait=2 * hour, run_at=now + hour),
    ]
    made = await want(db, *wishes)

    waits = [(await until(db, one, lambda _: True)).run_at - now for one in made]
    assert [round(wait / hour) for wait in waits] == [0, 1, 2, 2]
