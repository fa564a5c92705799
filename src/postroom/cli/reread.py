"""`postroom reread`: read stored mail again after a change of the parser, without the server."""

import asyncio
from dataclasses import dataclass
from time import monotonic
from typing import Annotated, Any

import typer

from postroom.accounts.model import Account
from postroom.cli import progress, screen
from postroom.cli.installation import Installation, account_named, all_accounts, opened
from postroom.cli.options import AsJson, Data, DatabaseUrl, command
from postroom.cli.run import carry_out
from postroom.cli.sync import AGAIN_SECONDS, PATIENCE_SECONDS
from postroom.db.model import LeaseHeld
from postroom.settings import Settings
from postroom.sync.reread import Tally, reread
from postroom.sync.workshop import Workshop, workshop

app = command()


@dataclass(frozen=True, slots=True)
class Done:
    """One account's mail, read again; not, where another process was at work on it all the time."""

    account: Account
    tally: Tally
    seconds: float
    is_done: bool


@app.command()
def main(
    account: Annotated[
        str | None, typer.Option("--account", metavar="ADDRESS", help="Only mail of this one.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="All mail, not only what an older parser has read.")
    ] = False,
    data: Data = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Read stored mail again from its raw bytes, and what is parked with its bytes, without the server."""
    done = carry_out(
        lambda settings: _reread(settings, account, everything=everything, quiet=as_json),
        data,
        database_url,
        as_json=as_json,
    )
    if as_json:
        screen.document({"accounts": [_document(one) for one in done]})
    else:
        for one in done:
            _report(one)
    if not all(one.is_done for one in done):
        raise typer.Exit(1)


async def _reread(settings: Settings, address: str | None, *, everything: bool, quiet: bool) -> list[Done]:
    async with opened(settings) as house:
        chosen = [await account_named(house, address)] if address else await all_accounts(house)
        tallies = {account.address: Tally() for account in chosen}
        watched = {address: tally.counts for address, tally in tallies.items()}
        with workshop() as shop:
            async with progress.shown(watched, quiet=quiet):
                return [
                    await _patiently(house, account, shop, tallies[account.address], everything=everything)
                    for account in chosen
                ]


async def _patiently(
    house: Installation, account: Account, shop: Workshop, tally: Tally, *, everything: bool
) -> Done:
    """Read one account's mail again. While another process syncs it, wait for the turn."""
    began = monotonic()
    while True:
        try:
            await reread(house.database, account, shop, tally, everything=everything)
        except LeaseHeld:
            if monotonic() - began > PATIENCE_SECONDS:
                return Done(account, tally, monotonic() - began, is_done=False)
            await asyncio.sleep(AGAIN_SECONDS)
        else:
            return Done(account, tally, monotonic() - began, is_done=True)


def _report(done: Done) -> None:
    address, tally = screen.line(done.account.address), done.tally
    if not done.is_done:
        screen.warn(f"{address}: another process is at work on it; try again later [db.lease_held]")
        return
    told = [f"{tally.read:,} read again"]
    told += [
        f"{number:,} {what}"
        for number, what in (
            (tally.changed, "changed"),
            (tally.released, "no longer parked"),
            (tally.counts.parked, "still parked"),
            (tally.unreadable, "left as they were, see the log"),
        )
        if number
    ]
    screen.say(f"{address}: {', '.join(told)} in {done.seconds:.1f} s")


def _document(done: Done) -> dict[str, Any]:
    tally = done.tally
    return {
        "address": done.account.address,
        "status": "success" if done.is_done else "busy",
        "read": tally.read,
        "changed": tally.changed,
        "released": tally.released,
        "parked": tally.counts.parked,
        "unreadable": tally.unreadable,
        "seconds": round(done.seconds, 3),
    }
