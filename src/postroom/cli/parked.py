"""`postroom parked`: what could not be copied, why, and trying it again."""

import sys
from dataclasses import asdict
from typing import Annotated, Any
from uuid import UUID

import typer

from postroom.cli import screen
from postroom.cli.installation import Installation, account_named, opened
from postroom.cli.options import AsJson, Data, DatabaseUrl, command
from postroom.cli.run import carry_out
from postroom.ids import AccountId
from postroom.settings import Settings
from postroom.sync import parked
from postroom.sync.quarantine import Entry, Kind, NoSuchParked, advice
from postroom.sync.store import quarantine

app = command("Tell what could not be copied and why, and try it again.")

InAccount = Annotated[
    str | None, typer.Option("--account", metavar="ADDRESS", help="Only what is parked there.")
]
EntryId = Annotated[str, typer.Argument(metavar="ID", help="As `postroom parked list` shows it.")]


@app.command("list")
def list_(
    account: InAccount = None,
    data: Data = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """List what is parked: failing accounts first, then folders, then messages."""
    found = carry_out(lambda settings: _list(settings, account), data, database_url, as_json=as_json)
    if as_json:
        screen.document({"parked": [_document(entry) for entry in found]})
        return
    for entry in found:
        screen.say(f"{entry.id}  {_where(entry)}: {screen.line(entry.reason)} [{entry.code}]")
    if not found:
        screen.say("Nothing is parked.")


@app.command()
def show(
    entry: EntryId,
    raw: Annotated[bool, typer.Option("--raw", help="The bytes of a message, where they are kept.")] = False,
    data: Data = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Show why something is parked, since when, and when it is tried again."""
    if raw and as_json:
        raise typer.BadParameter("--raw and --json exclude each other.")
    if raw:
        carry_out(lambda settings: _write_raw(settings, entry), data, database_url)
        return
    found = carry_out(lambda settings: _read(settings, entry), data, database_url, as_json=as_json)
    if as_json:
        screen.document(_document(found))
    else:
        _show(found)


@app.command()
def retry(
    entries: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Which.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Everything that is parked.")] = False,
    account: InAccount = None,
    data: Data = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Try these again at once: their accounts are due, and the next sync, or a running `up`, takes them."""
    if bool(entries) + everything + (account is not None) != 1:
        raise typer.BadParameter("Name what to retry: some IDs, or --account, or --all.")
    found = carry_out(
        lambda settings: _retry(settings, entries or None, account), data, database_url, as_json=as_json
    )
    if as_json:
        screen.document({"retried": [_document(entry) for entry in found]})
    elif found:
        screen.say(f"{len(found):,} tried again by the next sync, or at once where `postroom up` runs.")
    else:
        screen.say("Nothing is parked.")


async def _list(settings: Settings, address: str | None) -> list[Entry]:
    async with opened(settings) as house:
        account = await _account(house, address)
        async with house.database.transaction(house.tenant) as conn:
            return await quarantine.waiting(conn, house.tenant, account=account)


async def _read(settings: Settings, entry: str) -> Entry:
    async with opened(settings) as house, house.database.transaction(house.tenant) as conn:
        return await parked.entry(conn, house.tenant, _id(entry))


async def _write_raw(settings: Settings, entry: str) -> None:
    async with opened(settings) as house:
        async with house.database.transaction(house.tenant) as conn:
            found = await parked.entry(conn, house.tenant, _id(entry))
        async for piece in parked.raw(house.database, house.tenant, found):
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()


async def _retry(settings: Settings, entries: list[str] | None, address: str | None) -> list[Entry]:
    ids = None if entries is None else [_id(entry) for entry in entries]
    async with opened(settings) as house:
        account = await _account(house, address)
        async with house.database.transaction(house.tenant) as conn:
            return await parked.retry(conn, house.tenant, ids=ids, account=account)


async def _account(house: Installation, address: str | None) -> AccountId | None:
    return None if address is None else (await account_named(house, address)).id


def _id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise NoSuchParked(f"{text[:50]} is no such id; `postroom parked list` shows ids.") from None


def _where(entry: Entry) -> str:
    """`ann@example.org, Archive, message 17`."""
    message = None if entry.uid is None else f"message {entry.uid}"
    return ", ".join(screen.line(part) for part in (entry.address, entry.path, message) if part)


def _show(entry: Entry) -> None:
    times = "once" if entry.attempts == 1 else f"{entry.attempts} times"
    screen.say(_where(entry))
    screen.say(f"  reason     {screen.line(entry.reason)} [{entry.code}]")
    screen.say(f"  meaning    {advice(entry)}")
    screen.say(
        f"  failed     {times} since {entry.since:%Y-%m-%d %H:%M} UTC, last {screen.ago(entry.last_at)}"
    )
    screen.say(f"  next try   {'not by itself' if entry.retry_at is None else screen.ago(entry.retry_at)}")
    if entry.kind is Kind.MESSAGE:
        screen.say(f"  size       {'not known' if entry.size is None else screen.amount(entry.size)}")
        kept = f"kept; write them out: postroom parked show {entry.id} --raw > mail.eml"
        screen.say(f"  its bytes  {'were never handed out' if entry.digest is None else kept}")
    screen.say(f"  try now    postroom parked retry {entry.id}")


def _document(entry: Entry) -> dict[str, Any]:
    facts = asdict(entry)
    for internal in ("number", "account_number", "digest"):
        del facts[internal]
    return {**facts, "advice": advice(entry), "has_raw": entry.digest is not None}
