"""How jobs look: in a few words, as rows of a table, and as JSON."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
from rich.table import Table
from rich.text import Text

from postroom.accounts import store as accounts
from postroom.accounts.model import Account, NoSuchAccount
from postroom.cli import screen
from postroom.cli.installation import Installation
from postroom.ids import AccountId
from postroom.jobs.model import OVER, Job, JobEvent, State
from postroom.jobs.store import names

COLUMNS = ("ID", "KIND", "ACCOUNT", "STATE", "PROGRESS", "TRIES", "AGE", "ERROR")
CUT = {"ACCOUNT", "ERROR"}  # where there is no room for all
WIDTH = 100  # of a table that no terminal bounds


@dataclass(slots=True)
class Names:
    """What jobs and their accounts are called; each is looked up once."""

    house: Installation
    _accounts: dict[AccountId, Account | None] = field(default_factory=dict)
    _short: dict[UUID, str] = field(default_factory=dict)

    async def learn(self, jobs: Sequence[Job]) -> None:
        """What is to be known to show these, and forget all else."""
        ids = {job.public_id for job in jobs}
        owners = {job.account_id for job in jobs if job.account_id is not None}
        self._short = {known: short for known, short in self._short.items() if known in ids}
        self._accounts = {known: one for known, one in self._accounts.items() if known in owners}
        new, unknown = ids - self._short.keys(), owners - self._accounts.keys()
        if not new and not unknown:
            return
        tenant = self.house.tenant
        async with self.house.database.transaction(tenant) as conn:
            self._short |= await names.short(conn, tenant, list(new))
            for owner in unknown:
                try:
                    self._accounts[owner] = await accounts.get_by_id(conn, tenant, owner)
                except NoSuchAccount:
                    self._accounts[owner] = None

    def short(self, job: Job) -> str:
        """As much of its id as names it."""
        return self._short[job.public_id]

    def account(self, job: Job) -> Account | None:
        return None if job.account_id is None else self._accounts[job.account_id]

    def address(self, job: Job) -> str:
        """Empty for a job of no account."""
        found = self.account(job)
        if found is None:
            return "" if job.account_id is None else "(removed)"
        return screen.line(found.address)


def standing(job: Job, now: datetime | None = None) -> str:
    """`running`, `asked to stop`, `again in 58 s`, `due in 5 min`, `behind its key`, `failed` ..."""
    if job.state is State.RUNNING and job.cancel_requested:
        return "asked to stop"
    if job.state is not State.PENDING:
        return job.state
    if job.is_behind:
        return "behind its key"
    now = now or datetime.now(UTC)
    if job.run_at > now:
        return f"{'again' if job.failures else 'due'} {screen.ago(job.run_at, now)}"
    return job.state


def progress(job: Job) -> str:
    """`1,200/20,000`, without the total where nobody knows it, empty at the beginning."""
    so_far = job.progress
    total = f"/{so_far.total_estimate:,}" if so_far.total_estimate else ""
    return f"{so_far.processed:,}{total}" if so_far.processed or total else ""


def tried(job: Job) -> int:
    """How many tries were made, the one under way among them; handed back is no try."""
    return job.failures + (job.state in {State.RUNNING, State.COMPLETED})


def table(jobs: Iterable[Job], called: Names, now: datetime | None = None) -> Table:
    """A row for each."""
    found = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in COLUMNS:
        found.add_column(name, no_wrap=name not in CUT, justify="right" if name == "PROGRESS" else "left")
    for job in jobs:
        cells = (
            called.short(job),
            screen.line(job.kind),
            called.address(job),
            standing(job, now),
            progress(job),
            f"{tried(job)}/{job.tries}",
            screen.span((now or datetime.now(UTC)) - job.created_at),
            screen.line(job.error.code) if job.error else "",
        )
        found.add_row(*(Text(cell, no_wrap=True, overflow="ellipsis") for cell in cells))
    return found


def printed(rows: Table) -> None:
    """As wide as the terminal."""
    console = screen.console()
    if not console.is_terminal:
        console.width = WIDTH
    with console.capture() as written:
        console.print(rows)
    screen.say("\n".join(row.rstrip() for row in written.get().splitlines()))


def show(job: Job, called: Names) -> None:
    """All there is to know of it."""
    address = called.address(job)
    screen.say("  ".join(part for part in (str(job.public_id), screen.line(job.kind), address) if part))
    for name, what in _facts(job):
        if what:
            screen.say(f"  {name:<10} {what}")
    if job.state in {State.FAILED, State.CANCELLED}:
        screen.say(f"  again      postroom jobs requeue {called.short(job)}")
    elif job.state not in OVER and not job.cancel_requested:
        screen.say(f"  stop       postroom jobs cancel {called.short(job)}")


def _facts(job: Job) -> Iterable[tuple[str, str]]:
    so_far = job.progress
    found = f"{so_far.items_found:,} found" if so_far.items_found else ""
    reason = f"{screen.line(job.error.message)} [{job.error.code}]" if job.error else ""
    failures = f", {job.failures} failed" if job.failures else ""
    taken = f"; taken {job.attempts} times" if job.attempts > tried(job) else ""
    ran = job.finished_at - job.started_at if job.finished_at and job.started_at else None
    return (
        ("state", standing(job)),
        ("error", reason),
        ("progress", ", ".join(part for part in (progress(job), found) if part)),
        ("tries", f"{tried(job)} of {job.tries}{failures}{taken}"),
        ("key", screen.line(job.key)),
        ("priority", str(job.priority) if job.priority else ""),
        ("limit", f"{screen.span(job.limit)} a try"),
        ("run by", screen.line(job.holder)),
        ("wanted", _moment(job.created_at)),
        ("begun", _moment(job.started_at)),
        ("over", _moment(job.finished_at) + (f", after {screen.span(ran)}" if ran is not None else "")),
        ("with", screen.line(json(job.args)) if job.args else ""),
        ("result", screen.line(json(job.result)) if job.result else ""),
    )


def _moment(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC, {screen.ago(moment)}" if moment else ""


def json(content: Any) -> str:
    """On one line."""
    return orjson.dumps(content, default=str).decode()


def described(job: Job, account: Account | None) -> dict[str, Any]:
    """A job as JSON."""
    waits = job.state is State.PENDING and (
        "key" if job.is_behind else "time" if job.run_at > datetime.now(UTC) else "executor"
    )
    return {
        "id": job.public_id,
        "kind": job.kind,
        "account": account.public_id if account else None,
        "address": account.address if account else None,
        "state": job.state,
        "waits_for": waits or None,
        "cancel_requested": job.cancel_requested,
        "priority": job.priority,
        "key": job.key,
        "args": job.args,
        "progress": asdict(job.progress),
        "tries": job.tries,
        "failures": job.failures,
        "attempts": job.attempts,
        "limit_seconds": job.limit.total_seconds(),
        "error": asdict(job.error) if job.error else None,
        "result": job.result,
        "worker": job.holder,
        "run_at": job.run_at,
        "created_at": job.created_at,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
    }


def event_described(event: JobEvent) -> dict[str, Any]:
    """An event of a job as JSON."""
    return asdict(event)


def event_line(event: JobEvent) -> str:
    """`2026-11-21 15:22:05  warning  message  code=...`; what says nothing is left out."""
    said = [f"{name}={value}" for name, value in event.data.items() if value is not None]
    parts = (
        f"{event.at:%Y-%m-%d %H:%M:%S}",
        event.level,
        screen.line(event.message),
        screen.line(" ".join(said)),
    )
    return "  ".join(part for part in parts if part)
