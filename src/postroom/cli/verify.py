"""`postroom verify`: compare a copy with its server, folder by folder, and mend it."""

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import Annotated

import typer

from postroom.cli import progress, screen
from postroom.cli.installation import account_named, unlocked
from postroom.cli.means import means_of
from postroom.cli.options import AsJson, Data, DatabaseUrl, command
from postroom.cli.run import carry_out
from postroom.cli.sync import patiently
from postroom.settings import Settings
from postroom.sync.model import Counts
from postroom.sync.perform import perform
from postroom.sync.repair import Repair, repair
from postroom.sync.verify import FolderDifference, verify
from postroom.sync.workshop import workshop

app = command()


@app.command()
def main(
    address: Annotated[str, typer.Argument(help="The account.")],
    mend: Annotated[
        bool, typer.Option("--repair", help="Mend what differs, by a sync that compares everything.")
    ] = False,
    data: Data = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Compare a copy with its server, folder by folder. Status 0 only if they are equal, or are now."""
    work = partial(_repair, quiet=as_json) if mend else _verify
    found = carry_out(lambda settings: work(settings, address), data, database_url, as_json=as_json)
    if as_json:
        folders = [asdict(folder) for folder in found.after]
        repaired = {"repaired": [_numbers(folder) for folder in found.repaired]} if mend else {}
        screen.document({"address": address, "folders": folders, **repaired})
    else:
        _show(address, found)
    if not all(folder.is_equal for folder in found.after):
        raise typer.Exit(1)


async def _verify(settings: Settings, address: str) -> Repair:
    async with unlocked(settings) as house:
        account = await account_named(house, address)
        return Repair((), await verify(means_of(house), account))


async def _repair(settings: Settings, address: str, *, quiet: bool) -> Repair:
    counts = Counts()
    async with unlocked(settings) as house:
        account = await account_named(house, address)
        with workshop() as shop:
            means = means_of(house, shop)
            every = house.settings.sync_interval
            full = partial(perform, means, account, every=every, counts=counts, full=True)
            async with progress.shown({account.address: counts}, quiet=quiet):
                return await repair(means, account, partial(patiently, full))


def _show(address: str, found: Repair) -> None:
    for folder in found.repaired:
        screen.say(f"~ {screen.line(folder.path)}: repaired {_told(folder)}")
    for folder in found.after:
        numbers = f"server {folder.server:,}  stored {folder.stored:,}"
        if not folder.is_equal:
            numbers += f"  {_told(folder)}"
        screen.say(f"{'=' if folder.is_equal else '!'} {screen.line(folder.path)}: {numbers}")
    screen.say(f"{screen.line(address)}: {_state(found.after)}")


def _state(folders: Sequence[FolderDifference]) -> str:
    unequal = [folder for folder in folders if not folder.is_equal]
    total = sum(folder.stored for folder in folders)
    state = f"{len(unequal)} of {len(folders)} folders differ" if unequal else "equal to the server"
    return f"{total:,} messages in {len(folders)} folders, {state}"


def _told(folder: FolderDifference) -> str:
    return f"missing {folder.missing:,}  extra {folder.extra:,}  flags {folder.flags_differ:,}"


def _numbers(folder: FolderDifference) -> dict[str, object]:
    mended = asdict(folder)
    del mended["server"], mended["stored"]
    return mended
