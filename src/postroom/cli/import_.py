"""`postroom import`: copy mail from a Maildir or mbox into an account of its own."""

from pathlib import Path
from typing import Annotated

import typer

from postroom.accounts import store as accounts
from postroom.accounts.connect import Wish, connect
from postroom.accounts.guess import normal_address
from postroom.accounts.model import Account, AccountState, AlreadyConnected
from postroom.cli import screen
from postroom.cli.installation import Installation, unlocked
from postroom.cli.options import AsJson, Data, DatabaseUrl, command
from postroom.cli.run import carry_out
from postroom.cli.sync import described, is_complete, report, stored, sync_accounts
from postroom.settings import Settings
from postroom.sync.halt import begin_anew
from postroom.sync.perform import Outcome

app = command()

KIND = "files"
DOMAIN = "files.invalid"
IMPORTED = "imported from files"


@app.command()
def main(
    path: Annotated[
        Path, typer.Argument(exists=True, readable=True, help="A Maildir, an mbox, or a folder of them.")
    ],
    name: Annotated[
        str | None,
        typer.Option("--as", metavar="ADDRESS", help=f"The account's address; by default NAME@{DOMAIN}."),
    ] = None,
    data: Data = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Copy mail from a Maildir or mbox. Called again, it copies what has been added since."""
    source = path.absolute()
    address = name or f"{source.name.removesuffix('.mbox') or 'mail'}@{DOMAIN}"
    outcome, messages = carry_out(
        lambda settings: _import(settings, source, address, quiet=as_json),
        data,
        database_url,
        as_json=as_json,
    )
    if as_json:
        screen.document({"accounts": [described(outcome, messages)]})
    else:
        report(outcome)
    if not is_complete(outcome):
        raise typer.Exit(1)


async def _import(settings: Settings, source: Path, address: str, *, quiet: bool) -> tuple[Outcome, int]:
    async with unlocked(settings) as house:
        account = await _account(house, source, address)
        [outcome] = await sync_accounts(house, [account], quiet=quiet)
        (messages,) = await stored(house, [account])
        return outcome, messages


async def _account(house: Installation, source: Path, address: str) -> Account:
    """The account of these files, made at the first import."""
    settings = {"path": str(source)}
    async with house.database.transaction(house.tenant) as conn:
        known = await accounts.find(conn, house.tenant, normal_address(address))
    if known is not None:
        if known.provider != KIND or dict(known.settings) != settings:
            raise AlreadyConnected(f"There is an account {address} already; name this one with --as ADDRESS.")
        return known
    wish = Wish(address, "", KIND, settings)
    made = await connect(house.database, house.vault, house.providers, house.tenant, wish, begin_anew)
    async with house.database.transaction(house.tenant) as conn:
        # Files that do not change by themselves need no polling.
        await accounts.set_state(conn, house.tenant, made.account.id, AccountState.PAUSED, IMPORTED)
        return await accounts.get_by_id(conn, house.tenant, made.account.id)
