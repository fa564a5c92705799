"""`postroom verify`: compare a copy with its server, folder by folder."""

from dataclasses import asdict
from typing import Annotated

import typer

from postroom.cli import screen
from postroom.cli.installation import account_named, opened
from postroom.cli.options import AsJson, Data, DatabaseUrl, command
from postroom.cli.run import carry_out
from postroom.settings import Settings
from postroom.sync.verify import FolderDifference, verify

app = command()


@app.command()
def main(
    address: Annotated[str, typer.Argument(help="The account.")],
    data: Data = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Compare a copy with its server, folder by folder. Status 0 only if they are equal."""
    folders = carry_out(lambda settings: _verify(settings, address), data, database_url, as_json=as_json)
    unequal = [folder for folder in folders if not folder.is_equal]
    if as_json:
        screen.document({"address": address, "folders": [asdict(folder) for folder in folders]})
    else:
        for folder in folders:
            _show(folder)
        total = sum(folder.stored for folder in folders)
        state = f"{len(unequal)} of {len(folders)} folders differ" if unequal else "equal to the server"
        screen.say(f"{screen.line(address)}: {total:,} messages in {len(folders)} folders, {state}")
    if unequal:
        raise typer.Exit(1)


async def _verify(settings: Settings, address: str) -> list[FolderDifference]:
    async with opened(settings) as house:
        account = await account_named(house, address)
        return await verify(house.means(), account)


def _show(folder: FolderDifference) -> None:
    mark = "=" if folder.is_equal else "!"
    numbers = f"server {folder.server:,}  stored {folder.stored:,}"
    if not folder.is_equal:
        numbers += f"  missing {folder.missing:,}  extra {folder.extra:,}  flags {folder.flags_differ:,}"
    screen.say(f"{mark} {screen.line(folder.path)}: {numbers}")
