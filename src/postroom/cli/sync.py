"""`postroom sync`: bring the copies of mailboxes up to date, in the foreground."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from functools import partial
from time import monotonic
from typing import Annotated, Any
from uuid import UUID

import typer

from postroom.accounts.model import Account, AccountState, NoSuchAccount
from postroom.cli import progress, screen
from postroom.cli.installation import Installation, account_named, all_accounts, unlocked
from postroom.cli.means import means_of
from postroom.cli.options import AsJson, Data, DatabaseUrl, command
from postroom.cli.run import carry_out
from postroom.mail.store import browse
from postroom.settings import Settings
from postroom.sync import halt
from postroom.sync.logins import TooSoon
from postroom.sync.model import Counts, IsPaused, Outdated
from postroom.sync.perform import Outcome, perform
from postroom.sync.workshop import workshop

app = command()

PATIENCE_SECONDS = 120
AGAIN_SECONDS = 0.25


@app.command()
def main(
    addresses: Annotated[
        list[str] | None, typer.Argument(metavar="[ADDRESS]...", help="Which accounts; all but paused ones.")
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="Compare every message and flag, as is done once a day.")
    ] = False,
    data: Data = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Bring copies of mailboxes up to date, in the foreground. Status 1 if an account or a folder fails."""
    outcomes, messages = carry_out(
        lambda settings: _sync(settings, addresses or [], quiet=as_json, full=full),
        data,
        database_url,
        as_json=as_json,
    )
    if as_json:
        screen.document({"accounts": [described(*one) for one in zip(outcomes, messages, strict=True)]})
    elif not outcomes:
        screen.say("No mailbox is connected yet; connect one: postroom connect you@example.com")
    else:
        for outcome in outcomes:
            report(outcome)
    if not all(map(is_complete, outcomes)):
        raise typer.Exit(1)


async def _sync(
    settings: Settings, addresses: list[str], *, quiet: bool, full: bool
) -> tuple[list[Outcome], list[int]]:
    """The outcomes; and if `quiet`, for a program, how many messages each account's copy now holds."""
    async with unlocked(settings) as house:
        if addresses:
            chosen = [await account_named(house, address) for address in dict.fromkeys(addresses)]
        else:
            chosen = [a for a in await all_accounts(house) if a.state is not AccountState.PAUSED]
        outcomes = await sync_accounts(house, chosen, quiet=quiet, full=full)
        return outcomes, await stored(house, chosen) if quiet else []


async def stored(house: Installation, accounts: Sequence[Account]) -> list[int]:
    """How many messages each copy holds. As servers count: a message in two folders is two."""
    only = accounts[0].id if len(accounts) == 1 else None
    async with house.database.transaction(house.tenant) as conn:
        folders = await browse.folders(conn, house.tenant, only, counted=True)
    found: Counter[UUID] = Counter()
    for folder in folders:
        found[folder.account] += folder.messages or 0
    return [found[account.public_id] for account in accounts]


async def sync_accounts(
    house: Installation, accounts: list[Account], *, quiet: bool, full: bool = False
) -> list[Outcome]:
    """Sync these, some at a time, showing how far they are unless `quiet`."""
    watched = {account.address: Counts() for account in accounts}
    places = asyncio.Semaphore(house.settings.sync_parallel)

    async def one(account: Account) -> Outcome:
        async with places:
            counts, every = watched[account.address], house.settings.sync_interval
            began = monotonic()
            try:
                async with halt.unless_outgrown(house.database, account):
                    return await patiently(
                        partial(perform, means, account, every=every, counts=counts, full=full)
                    )
            except (IsPaused, Outdated, NoSuchAccount) as error:
                return Outcome(account, "failed", counts, monotonic() - began, error)

    with workshop() as shop:
        means = means_of(house, shop)
        async with progress.shown(watched, quiet=quiet), asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(account)) for account in accounts]
    return [task.result() for task in tasks]


async def patiently(sync: Callable[[], Awaitable[Outcome]]) -> Outcome:
    """Wait for the turn while another process is at it, such as `up`, and while the server is left alone."""
    loop = asyncio.get_running_loop()
    until = loop.time() + PATIENCE_SECONDS
    while True:
        outcome = await sync()
        wait = outcome.error.wait if isinstance(outcome.error, TooSoon) else None
        pause = wait.total_seconds() if wait is not None else AGAIN_SECONDS
        if not (outcome.status == "busy" or wait is not None) or loop.time() + pause > until:
            return outcome
        await asyncio.sleep(pause)


def is_complete(outcome: Outcome) -> bool:
    """Whether the copy is that of every folder."""
    return outcome.status == "success" and not outcome.counts.skipped


def described(outcome: Outcome, messages: int) -> dict[str, Any]:
    """One account of the JSON document; `error` only where there is one."""
    counts = outcome.counts
    entry = {
        "address": outcome.account.address,
        "status": "incomplete"
        if outcome.status == "success" and not is_complete(outcome)
        else outcome.status,
        "messages": messages,
        "added": counts.added,
        "moved": counts.moved,
        "removed": counts.removed,
        "flags_changed": counts.flags_changed,
        "parked": counts.parked,
        "skipped": [asdict(folder) for folder in counts.skipped],
        "bytes": counts.bytes,
        "seconds": round(outcome.seconds, 3),
    }
    if outcome.error is not None:
        entry["error"] = {"code": outcome.error.code, "message": outcome.error.message}
    return entry


def report(outcome: Outcome) -> None:
    """What came of it, for people: results on standard output, reasons on standard error."""
    address, counts = screen.line(outcome.account.address), outcome.counts
    if outcome.error is not None:
        screen.warn(f"{address}: {screen.line(outcome.error.message)} [{outcome.error.code}]")
        return
    changed = [
        f"{number:,} {what}"
        for number, what in (
            (counts.added, "new"),
            (counts.moved, "moved"),
            (counts.removed, "removed"),
            (counts.flags_changed, "with other flags"),
            (counts.parked, "set aside because they cannot be copied"),
        )
        if number
    ]
    size = f" ({screen.amount(counts.bytes)})" if counts.bytes else ""
    rate = counts.added / outcome.seconds if outcome.seconds else 0
    pace = f", {rate:,.0f} messages/s" if counts.added >= 100 else ""
    told = ", ".join(changed) or "nothing new"
    screen.say(f"{address}: {told}{size} in {outcome.seconds:.1f} s{pace}")
    for skipped in counts.skipped:
        where = "" if skipped.path in skipped.message else f"{skipped.path}: "
        screen.warn(f"{address}: {screen.line(where + skipped.message)} [{skipped.code}]")
