"""Jobs on the command line: listed, shown, cancelled, done again, followed."""

import asyncio
import json
import os
import pty
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from servers.tenants import ONE

from postroom.accounts import store as accounts
from postroom.accounts.model import Scope
from postroom.db.listen import open_hints
from postroom.db.pool import Database
from postroom.ids import AccountId, TenantId, new_public_id
from postroom.jobs import store
from postroom.jobs.model import Enqueued, Job, Level, Progress, Reason, State, Wish
from postroom.jobs.store import names
from postroom.jobs.store import queue as executors
from postroom.jobs.store.queue import End
from postroom.people import keys

from .conftest import COMMAND, Cli, Ended, slowly

ANN = "ann@example.org"
REFUSED = Reason("providers.wrong_password", "The password is refused.")
NOBODY = "00000000-0000-7"
LEASE = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Queue:
    """The jobs of an installation, which go on as the test says."""

    db: Database
    tenant: TenantId

    async def want(self, *wishes: Wish) -> list[Enqueued]:
        async with self.db.transaction(self.tenant) as conn:
            return await store.enqueue(conn, self.tenant, wishes)

    async def take(self) -> list[Job]:
        async with self.db.unbound() as conn:
            return await executors.claim(conn, "somebody", ["test.a", "test.b"], 100, LEASE, 0)

    async def end(self, job: Job, state: State, **more: Any) -> None:
        async with self.db.unbound() as conn:
            assert await executors.finish(conn, [End(job, state, **more)]) == {job.id}

    async def say(self, job: Job, message: str, **data: Any) -> None:
        async with self.db.transaction(self.tenant) as conn:
            await store.say(conn, job, message, level=Level.WARNING, data=data)

    async def progress(self, job: Job, *so_far: int) -> None:
        async with self.db.transaction(self.tenant) as conn:
            await store.progress(conn, job, Progress(*so_far))

    async def short(self, one: Enqueued | Job) -> str:
        async with self.db.transaction(self.tenant) as conn:
            return (await names.short(conn, self.tenant, [one.public_id]))[one.public_id]

    async def failed(self, count: int = 1) -> list[Job]:
        await self.want(*[Wish("test.a")] * count)
        jobs = await self.take()
        for job in jobs:
            await self.end(job, State.FAILED, counts=True, error=REFUSED)
        return jobs


@pytest.fixture
async def queue(db: Database) -> AsyncIterator[Queue]:
    async with open_hints(db):
        yield Queue(db, await keys.our_tenant(db))


async def account(db: Database, tenant: TenantId) -> AccountId:
    async with db.transaction(tenant) as conn:
        made = await accounts.add(
            conn,
            tenant,
            new_public_id(),
            address=ANN,
            provider="imap",
            settings={},
            secret=None,
            scope=Scope(),
        )
    assert made is not None
    return made.id


async def says(cli: Cli, *words: str) -> Ended:
    return await asyncio.to_thread(cli, "jobs", *words)


async def a_line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return await asyncio.to_thread(process.stdout.readline)


async def told(process: "subprocess.Popen[str]") -> Any:
    return json.loads(await a_line(process))


async def test_jobs_are_listed_with_how_they_stand(cli: Cli, db: Database, queue: Queue) -> None:
    ann = await account(db, queue.tenant)
    later = datetime.now(UTC) + timedelta(hours=3, minutes=1)
    made = await queue.want(
        Wish("test.a", account=ann),
        Wish("test.b", key="k"),
        Wish("test.b", key="k"),
        Wish("test.a", run_at=later),
        Wish("test.a"),
        Wish("test.c"),
    )
    jobs = {job.id: job for job in await queue.take()}
    await queue.progress(jobs[made[0].id], 1200, 20_000)
    await queue.end(jobs[made[4].id], State.FAILED, counts=True, error=REFUSED)
    async with db.transaction(queue.tenant) as conn:
        await store.cancel(conn, queue.tenant, made[1].public_id)

    heading, *rows = (await says(cli, "list")).out.splitlines()

    assert heading.split() == ["ID", "KIND", "ACCOUNT", "STATE", "PROGRESS", "TRIES", "AGE", "ERROR"]
    expected = ("pending", "failed", "due in 3 h", "behind its key", "asked to stop", "running")
    for row, one, standing in zip(rows, reversed(made), expected, strict=True):
        assert str(one.public_id).startswith(row.split()[0])
        assert standing in row
        assert len(row) <= 100
    assert "1,200/20,000  1/3" in rows[-1]
    assert ANN[:8] in rows[-1]
    assert REFUSED.code[:8] in rows[1]


@pytest.mark.slow
async def test_some_jobs_can_be_chosen(cli: Cli, db: Database, queue: Queue) -> None:
    assert (await says(cli, "list")).out == "There are no jobs.\n"
    ann = await account(db, queue.tenant)
    [broken] = await queue.failed()
    [of_ann, _other] = await queue.want(Wish("test.a", account=ann), Wish("test.b", account=ann))

    failed = await says(cli, "list", "--state", "failed")
    chosen = (await says(cli, "list", "--account", "ann@EXAMPLE.org", "--kind", "test.a", "--json")).json
    two = (await says(cli, "list", "--limit", "2", "--json")).json

    assert failed.out.splitlines()[1].startswith(await queue.short(broken))
    assert "postroom jobs requeue" in failed.out
    assert [job["id"] for job in chosen["jobs"]] == [str(of_ann.public_id)]
    assert chosen["jobs"][0]["address"] == ANN
    assert (len(two["jobs"]), two["has_more"], chosen["has_more"]) == (2, True, False)
    assert (await says(cli, "list", "--kind", "test.none")).out == "There are no such jobs.\n"
    assert (await says(cli, "list", "--account", "nobody@example.org")).status == 1


@pytest.mark.usefixtures("tenants")
async def test_jobs_of_other_tenants_are_not_seen(cli: Cli, db: Database, queue: Queue) -> None:
    async with db.transaction(ONE) as conn:
        [foreign] = await store.enqueue(conn, ONE, [Wish("test.a")])
    [own] = await queue.want(Wish("test.a"))

    listed = await says(cli, "list", "--json")
    cancelled = await says(cli, "cancel", str(own.public_id), str(foreign.public_id))

    assert [job["id"] for job in listed.json["jobs"]] == [str(own.public_id)]
    assert (cancelled.status, cancelled.err.rstrip()[-16:]) == (1, "[jobs.not_found]")
    assert len(await queue.take()) == 2


async def test_a_job_is_shown_with_all_that_it_said_and_its_result(cli: Cli, queue: Queue) -> None:
    [one] = await queue.want(Wish("test.a", {"number": 21}, key="k"))
    [job] = await queue.take()
    await queue.say(job, "odd \x1b[31m thing", folder="INBOX")
    await queue.end(job, State.COMPLETED, result={"twice": 42})

    shown = await says(cli, "show", await queue.short(one))
    document = (await says(cli, "show", str(one.public_id), "--json")).json

    assert shown.out.startswith(f"{one.public_id}  test.a\n  state      completed\n")
    assert "warning  odd \\x1b[31m thing  folder=INBOX" in shown.out
    assert '  with       {"number":21}' in shown.out
    assert '  result     {"twice":42}' in shown.out
    assert (document["state"], document["result"], document["args"]) == (
        "completed",
        {"twice": 42},
        {"number": 21},
    )
    [event] = document["events"]
    assert (event["level"], event["data"]) == ("warning", {"folder": "INBOX"})


async def test_jobs_are_cancelled_and_what_is_over_is_said_to_be_so(
    cli: Cli, db: Database, queue: Queue
) -> None:
    [failed] = await queue.failed()
    [running] = await queue.want(Wish("test.a"))
    await queue.take()
    [waiting] = await queue.want(Wish("test.a"))
    over, asked, idle = [await queue.short(one) for one in (failed, running, waiting)]

    done = await says(cli, "cancel", idle, over, asked)
    again = await says(cli, "cancel", idle, "--json")

    assert done.out == f"{idle} is cancelled.\n{asked} is asked to stop.\n"
    assert done.err.startswith(f"postroom: {over}: ")
    assert (done.status, done.err.count("\n"), done.err.rstrip()[-14:]) == (1, 1, "[jobs.is_over]")
    assert (again.status, again.json["jobs"]) == (1, [])
    assert again.json["refused"][0]["error"]["code"] == "jobs.is_over"
    async with db.transaction(queue.tenant) as conn:
        assert (await store.get_by_id(conn, queue.tenant, running.id)).cancel_requested


async def test_what_failed_is_done_again_one_or_all(cli: Cli, queue: Queue) -> None:
    jobs = await queue.failed(3)

    one = await says(cli, "requeue", str(jobs[0].public_id), "--json")
    rest = await says(cli, "requeue", "--failed")

    assert [job["state"] for job in one.json["jobs"]] == ["pending"]
    assert rest.out.startswith("2 wait again. ")
    assert {job.id for job in await queue.take()} == {job.id for job in jobs}


@pytest.mark.slow
async def test_what_did_not_fail_is_not_done_again(cli: Cli, queue: Queue) -> None:
    [one] = await queue.want(Wish("test.a"))

    none = await says(cli, "requeue", "--failed")
    refused = await says(cli, "requeue", str(one.public_id))

    assert (none.status, none.out) == (0, "No job failed.\n")
    assert (refused.status, refused.err.rstrip()[-15:]) == (1, "[jobs.not_over]")


@pytest.mark.parametrize("name", [4, *slowly(NOBODY, "x")])
async def test_a_name_of_no_job_or_of_several_changes_nothing(
    cli: Cli, queue: Queue, name: str | int
) -> None:
    jobs = await queue.failed(2)
    other = str(jobs[1].public_id)[:name] if isinstance(name, int) else name

    done = await says(cli, "requeue", str(jobs[0].public_id), other)

    assert (done.status, done.out, done.err.count("\n")) == (1, "", 1)
    assert f"[jobs.{'ambiguous' if isinstance(name, int) else 'not_found'}]" in done.err
    assert await queue.take() == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ("cancel",),
        ("requeue",),
        ("requeue", NOBODY, "--failed"),
        ("list", "--state", "nonsense"),
        ("list", "--limit", "0"),
        ("watch", NOBODY, "--kind", "test.a"),
    ],
    ids=" ".join,
)
async def test_a_call_that_makes_no_sense_is_status_2(cli: Cli, words: tuple[str, ...]) -> None:
    assert (await says(cli, *words)).status == 2


async def test_one_job_is_followed_to_its_end(cli: Cli, queue: Queue) -> None:
    [one] = await queue.want(Wish("test.a"))
    with cli.running("jobs", "watch", await queue.short(one), "--json") as process:
        assert (await told(process))["job"]["state"] == "pending"
        [job] = await queue.take()
        assert (await told(process))["job"]["state"] == "running"
        await queue.say(job, "first", n=1)
        await queue.say(job, "second", n=2)
        assert [(await told(process))["event"]["message"] for _ in range(2)] == ["first", "second"]
        await queue.progress(job, 5, 10, 2)
        assert (await told(process))["job"]["progress"]["processed"] == 5
        await queue.end(job, State.COMPLETED, result={"ok": True})
        last = (await told(process))["job"]
        rest, _ = await asyncio.to_thread(process.communicate)

    assert (last["state"], last["result"]) == ("completed", {"ok": True})
    assert (rest, process.returncode) == ("", 0)


async def test_following_what_failed_or_was_cancelled_ends_with_status_1(
    cli: Cli, db: Database, queue: Queue
) -> None:
    [failed] = await queue.failed()
    [waiting] = await queue.want(Wish("test.a"))
    async with db.transaction(queue.tenant) as conn:
        await store.cancel(conn, queue.tenant, waiting.public_id)

    of_failed, of_cancelled = [await says(cli, "watch", await queue.short(one)) for one in (failed, waiting)]

    said, standing = of_failed.out.splitlines()
    assert said.endswith(f"error  {REFUSED.message}  code={REFUSED.code} tries=3 failures=1")
    assert "  failed  " in standing
    assert (of_failed.status, of_failed.err) == (1, f"postroom: {REFUSED.message} [{REFUSED.code}]\n")
    assert (of_cancelled.status, of_cancelled.err.rstrip()[-16:]) == (1, "[jobs.cancelled]")


@pytest.mark.usefixtures("tenants")
async def test_every_change_of_all_jobs_is_a_line_until_ctrl_c(cli: Cli, db: Database, queue: Queue) -> None:
    await queue.failed()
    made = await queue.want(Wish("test.a"), Wish("test.b", key="k"))
    with cli.running("jobs", "watch") as process:
        first = [await a_line(process) for _ in made]
        async with db.transaction(ONE) as conn:
            await store.enqueue(conn, ONE, [Wish("other.kind")])
        jobs = await queue.take()
        second = [await a_line(process) for _ in made]
        for job in jobs:
            await queue.end(job, State.COMPLETED)
        third = [await a_line(process) for _ in made]
        process.send_signal(signal.SIGINT)
        rest, errors = await asyncio.to_thread(process.communicate)

    for lines, standing in ((first, "pending"), (second, "running  try 1 of 3"), (third, "completed")):
        assert sorted(line.split("  ", 2)[2].rstrip() for line in lines) == [
            f"test.a  {standing}",
            f"test.b  {standing}",
        ]
    assert (rest, process.returncode) == ("", 130)
    assert "Traceback" not in errors


class Terminal:
    """What a command shows on a terminal."""

    def __init__(self, cli: Cli, *words: str) -> None:
        self._ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [*COMMAND, *words],
            stdout=theirs,
            stderr=theirs,
            env=cli.environment(TERM="xterm", COLUMNS="100", LINES="24"),
        )
        os.close(theirs)
        self.seen = b""

    async def shows(self, text: bytes) -> None:
        while text not in self.seen:
            self.seen += await asyncio.to_thread(os.read, self._ours, 4096)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)


@pytest.mark.slow
@pytest.mark.parametrize("is_one", [True, False])
async def test_a_terminal_shows_them_live(cli: Cli, queue: Queue, *, is_one: bool) -> None:
    [one] = await queue.want(Wish("test.a"))
    words = ("jobs", "watch", str(one.public_id)) if is_one else ("jobs", "watch")
    with closing(Terminal(cli, *words)) as terminal:
        await terminal.shows(b"pending")
        [job] = await queue.take()
        await queue.progress(job, 1234, 20_000)
        await terminal.shows(b"1,234/20,000")
        if is_one:
            await queue.say(job, "half way")
            await terminal.shows(b"half way")
        await queue.end(job, State.COMPLETED)
        await terminal.shows(b"completed")
        if not is_one:
            terminal.process.send_signal(signal.SIGINT)
        status = await asyncio.to_thread(terminal.process.wait)

    assert status == (0 if is_one else 130)
    assert b"Traceback" not in terminal.seen
