"""`postroom keys`: make, list and revoke API keys."""

from collections.abc import Coroutine, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

import typer

from postroom.cli import screen
from postroom.cli.installation import account_named, opened
from postroom.cli.options import AsJson, Data, DatabaseUrl, command
from postroom.cli.run import carry_out
from postroom.http.caller import Scope
from postroom.people import keys
from postroom.people.model import Key, NoSuchKey
from postroom.settings import Settings

app = command("Make, list and revoke API keys.")

Made = tuple[str, dict[str, object]]
"""A key, and what else there is to say of it."""


@app.command()
def create(
    name: Annotated[
        str, typer.Argument(help="What it is for; without a name the first key is made anew.")
    ] = "",
    scope: Annotated[list[Scope] | None, typer.Option(help="What it may do; everything by default.")] = None,
    days: Annotated[int | None, typer.Option(min=1, help="How long it is good.")] = None,
    account: Annotated[
        list[str] | None, typer.Option(metavar="ADDRESS", help="It sees this one only; may be repeated.")
    ] = None,
    data: Data = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and show it, this once. Without a name: a new first key, in the file api.key."""
    if account and not name:
        raise typer.BadParameter("The first key sees all accounts; one for some of them needs a name.")

    def begin(settings: Settings) -> Coroutine[Any, Any, Made]:
        return _create(settings, name, scope, days, account) if name else _remake(settings)

    text, more = carry_out(begin, data, database_url, as_json=as_json)
    if as_json:
        screen.document({**more, "key": text})
    else:
        screen.say(text)


async def _create(
    settings: Settings, name: str, scopes: list[Scope] | None, days: int | None, addresses: list[str] | None
) -> Made:
    expires = datetime.now(UTC) + timedelta(days=days) if days else None
    may = frozenset(scopes or keys.EVERYTHING)
    async with opened(settings) as house:
        found = [(await account_named(house, address)).public_id for address in addresses or ()]
        key, text = await keys.create(house.database, house.tenant, name, may, expires, found or None)
    return text, _document(key)


async def _remake(settings: Settings) -> Made:
    async with opened(settings) as house:
        made = await keys.remake_first_key(house.database, house.tenant, house.data)
    return made.text, {"file": str(settings.data / keys.FILE)}


@app.command("list")
def list_(data: Data = None, database_url: DatabaseUrl = None, as_json: AsJson = False) -> None:
    """List all keys; of each only how it begins is known."""
    found = carry_out(_list, data, database_url, as_json=as_json)
    if as_json:
        screen.document({"keys": [_document(key) for key in found]})
        return
    for key in found:
        state = "revoked" if key.revoked_at else f"last used {screen.ago(key.last_used_at)}"
        scopes = ",".join(sorted(key.scopes)) + ("" if key.accounts is None else f" of {_some(key.accounts)}")
        screen.say(f"{key.public_id}  {key.start}...  {scopes}  {state}  {screen.line(key.name)}")


def _some(accounts: Sequence[UUID]) -> str:
    return f"{len(accounts)} account{'' if len(accounts) == 1 else 's'}"


async def _list(settings: Settings) -> list[Key]:
    async with opened(settings) as house:
        return await keys.listed(house.database, house.tenant)


@app.command()
def revoke(
    key: Annotated[str, typer.Argument(help="Its id, or how it begins.")],
    data: Data = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """End a key at once."""
    ended = carry_out(lambda settings: _revoke(settings, key), data, database_url, as_json=as_json)
    if as_json:
        screen.document(_document(ended))
    else:
        screen.say(f"The key {ended.start}... is revoked.")


async def _revoke(settings: Settings, wanted: str) -> Key:
    start = wanted.rstrip(".")
    async with opened(settings) as house:
        known = await keys.listed(house.database, house.tenant)
        fitting = [key for key in known if wanted == str(key.public_id) or start.startswith(key.start)]
        if len(fitting) != 1:
            raise NoSuchKey(f"No key, or more than one, is {start[:12]}; see `postroom keys list`.")
        return await keys.revoke(house.database, house.tenant, fitting[0].public_id)


def _document(key: Key) -> dict[str, object]:
    return {
        "id": key.public_id,
        "name": key.name,
        "start": key.start,
        "scopes": sorted(key.scopes),
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
        "last_used_at": key.last_used_at,
        "accounts": key.accounts,
    }
