"""`postroom jobs`: what runs, what waits and what failed; follow it, cancel it, have it done again."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, TypeAlias
from uuid import UUID

import typer
from asyncpg import Connection

from postroom.cli import joblook, screen
from postroom.cli.following import News, follow
from postroom.cli.installation import Installation, account_named, opened
from postroom.cli.joblook import Names
from postroom.cli.options import AsJson, Data, DatabaseUrl, command
from postroom.cli.run import carry_out, fail
from postroom.cli.watching import Which, watch
from postroom.errors import Conflict, PostroomError
from postroom.ids import AccountId, TenantId
from postroom.jobs import store
from postroom.jobs.model import Job, JobEvent, JobId, NoSuchJob, State
from postroom.jobs.store import names
from postroom.settings import Settings

app = command("List, follow, cancel and requeue jobs: what runs, what waits, what failed.")

PAGE = 1000
TAKEN = "A running `postroom up` or `postroom executor` takes what waits."

JobName = Annotated[str, typer.Argument(metavar="ID", help="As `postroom jobs list` shows it.")]
OfKind = Annotated[str | None, typer.Option("--kind", metavar="KIND", help="Such as sync.account.")]
OfAccount = Annotated[str | None, typer.Option("--account", metavar="ADDRESS", help="Only this account's.")]
Limit = Annotated[int, typer.Option(min=1, max=PAGE, help="How many at most.")]
Lines = Annotated[
    bool, typer.Option("--json", help="Write one line of JSON for each change, and nothing else.")
]

Shown: TypeAlias = tuple[list[Job], Names]
Change: TypeAlias = Callable[[Connection, TenantId, UUID], Awaitable[Job]]


@dataclass(slots=True)
class Changed:
    """What became of jobs that were to be changed."""

    called: Names
    done: list[Job] = field(default_factory=list)
    refused: list[tuple[Job, PostroomError]] = field(default_factory=list)


@app.command("list")
def list_(
    state: Annotated[State | None, typer.Option(help="Only those in this state.")] = None,
    kind: OfKind = None,
    account: OfAccount = None,
    limit: Limit = 20,
    data: Data = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """List jobs, the latest first."""
    (found, called), has_more = carry_out(
        lambda settings: _list(settings, state, kind, account, limit), data, database_url, as_json=as_json
    )
    if as_json:
        screen.document({"jobs": _documents(found, called), "has_more": has_more})
        return
    if not found:
        screen.say("There are no such jobs." if state or kind or account else "There are no jobs.")
        return
    joblook.printed(joblook.table(found, called))
    if has_more:
        screen.say("There are more: --limit shows them.")
    if state is State.FAILED:
        screen.say("Have them done again: `postroom jobs requeue ID...`, or all of them: `--failed`.")


@app.command()
def show(job: JobName, data: Data = None, database_url: DatabaseUrl = None, as_json: AsJson = False) -> None:
    """Show all there is to know of a job: how it stands, what it said, what came of it."""
    (found, called), said = carry_out(
        lambda settings: _read(settings, job), data, database_url, as_json=as_json
    )
    if as_json:
        [document] = _documents(found, called)
        screen.document({**document, "events": [joblook.event_described(event) for event in said]})
        return
    joblook.show(found[0], called)
    for event in said:
        screen.say(f"  {joblook.event_line(event)}")


@app.command()
def cancel(
    jobs: Annotated[list[str], typer.Argument(metavar="ID...", help="Which.")],
    data: Data = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Cancel what waits, and ask what runs to stop."""
    changed = carry_out(
        lambda settings: _change(settings, jobs, store.cancel), data, database_url, as_json=as_json
    )
    if not as_json:
        for job in changed.done:
            is_asked = job.state is State.RUNNING
            screen.say(f"{changed.called.short(job)} is {'asked to stop' if is_asked else 'cancelled'}.")
    _end(changed, as_json=as_json)


@app.command()
def requeue(
    jobs: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Which.")] = None,
    failed: Annotated[bool, typer.Option("--failed", help="All that failed.")] = False,
    data: Data = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Have jobs done again that failed or were cancelled, with all their tries."""
    if bool(jobs) == failed:
        raise typer.BadParameter("Name what to do again: some IDs, or --failed.")
    changed = carry_out(
        lambda settings: _change(settings, jobs or None, store.requeue), data, database_url, as_json=as_json
    )
    if not as_json and changed.done:
        count = len(changed.done)
        screen.say(f"{count:,} {'waits' if count == 1 else 'wait'} again. {TAKEN}")
    elif not as_json and failed:
        screen.say("No job failed.")
    _end(changed, as_json=as_json)


@app.command("watch")
def watch_(
    job: Annotated[str | None, typer.Argument(metavar="[ID]", help="One job, until it is over.")] = None,
    kind: OfKind = None,
    account: OfAccount = None,
    limit: Limit = 20,
    data: Data = None,
    database_url: DatabaseUrl = None,
    as_json: Lines = False,
) -> None:
    """Watch jobs as they go, until Ctrl-C; one of them until it is over: status 1 unless it completed."""
    if job is None:
        carry_out(
            lambda settings: _watch(settings, kind, account, limit, as_json=as_json), data, database_url
        )
        return
    if kind or account:
        raise typer.BadParameter("--kind and --account choose among jobs; an ID is one.")
    ended = carry_out(lambda settings: _follow(settings, job, as_json=as_json), data, database_url)
    if ended is None:
        return
    if ended.error is not None and ended.state is State.FAILED:
        fail(ended.error.code, ended.error.message, as_json=False)
    if ended.state is State.CANCELLED:
        fail("jobs.cancelled", "The job was cancelled.", as_json=False)


async def _list(
    settings: Settings, state: State | None, kind: str | None, address: str | None, limit: int
) -> tuple[Shown, bool]:
    async with opened(settings) as house:
        account = await _account(house, address)
        async with house.database.transaction(house.tenant) as conn:
            found = await store.page(
                conn, house.tenant, limit=limit + 1, state=state, kind=kind, account=account
            )
        return await _named(house, found[:limit]), len(found) > limit


async def _read(settings: Settings, name: str) -> tuple[Shown, list[JobEvent]]:
    async with opened(settings) as house:
        async with house.database.transaction(house.tenant) as conn:
            job = await names.find(conn, house.tenant, name)
            said = [event async for event in _events(conn, house.tenant, job.id)]
        return await _named(house, [job]), said


async def _events(conn: Connection, tenant: TenantId, job: JobId) -> AsyncIterator[JobEvent]:
    after = 0
    while page := await store.events(conn, tenant, job, after=after, limit=PAGE):
        for event in page:
            yield event
        after = page[-1].id


async def _change(settings: Settings, given: Sequence[str] | None, change: Change) -> Changed:
    """Change these jobs, or all that failed, each by itself.

    Raises what `names.find` raises of any of them; then nothing has changed.
    """
    async with opened(settings) as house:
        async with house.database.transaction(house.tenant) as conn:
            if given is None:
                jobs = [job async for job in _failed(conn, house.tenant)]
            else:
                found = [await names.find(conn, house.tenant, name) for name in given]
                jobs = list({job.id: job for job in found}.values())
        changed = Changed((await _named(house, jobs))[1])
        for job in jobs:
            try:
                async with house.database.transaction(house.tenant) as conn:
                    changed.done.append(await change(conn, house.tenant, job.public_id))
            except (Conflict, NoSuchJob) as error:
                if given is not None:  # else somebody did the same in this moment
                    changed.refused.append((job, error))
    return changed


async def _failed(conn: Connection, tenant: TenantId) -> AsyncIterator[Job]:
    before = None
    while page := await store.page(conn, tenant, limit=PAGE, before=before, state=State.FAILED):
        for job in page:
            yield job
        before = page[-1].id


def _end(changed: Changed, *, as_json: bool) -> None:
    """Status 1, and why, if some could not be changed."""
    called = changed.called
    if as_json:
        refused = [
            {"id": job.public_id, "error": {"code": error.code, "message": error.message}}
            for job, error in changed.refused
        ]
        screen.document({"jobs": _documents(changed.done, called), "refused": refused})
    for job, error in changed.refused:
        screen.warn(f"postroom: {called.short(job)}: {error.message} [{error.code}]")
    if changed.refused:
        raise typer.Exit(1)


async def _watch(
    settings: Settings, kind: str | None, address: str | None, limit: int, *, as_json: bool
) -> None:
    async with opened(settings) as house:
        which = Which(limit, kind, await _account(house, address))
        await watch(house, which, _tell_json if as_json else _tell, as_table=not as_json)


def _tell(job: Job, called: Names) -> None:
    tries = f"try {joblook.tried(job)} of {job.tries}" if job.state is State.RUNNING else ""
    reason = f"{screen.line(job.error.message)} [{job.error.code}]" if job.error else ""
    parts = (called.short(job), job.kind, called.address(job), joblook.standing(job), joblook.progress(job))
    said = "  ".join(screen.line(part) for part in (*parts, tries, reason) if part)
    screen.say(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}  {said}")


def _tell_json(job: Job, called: Names) -> None:
    screen.say(joblook.json({"job": joblook.described(job, called.account(job))}))


async def _follow(settings: Settings, name: str, *, as_json: bool) -> Job | None:
    async with opened(settings) as house:
        async with house.database.transaction(house.tenant) as conn:
            job = await names.find(conn, house.tenant, name)
        _, called = await _named(house, [job])
        standing = ""

        def told(news: News) -> None:
            nonlocal standing
            if isinstance(news, JobEvent):
                event = joblook.event_described(news)
                screen.say(joblook.json({"event": event}) if as_json else joblook.event_line(news))
            elif as_json:
                _tell_json(news, called)
            elif joblook.standing(news) != standing:
                standing = joblook.standing(news)
                _tell(news, called)

        return await follow(house, job.id, called=called.address(job) or job.kind, told=told)


async def _account(house: Installation, address: str | None) -> AccountId | None:
    return None if address is None else (await account_named(house, address)).id


async def _named(house: Installation, jobs: list[Job]) -> Shown:
    called = Names(house)
    await called.learn(jobs)
    return jobs, called


def _documents(jobs: Iterable[Job], called: Names) -> list[dict[str, Any]]:
    return [joblook.described(job, called.account(job)) for job in jobs]
