"""`postroom status`: how accounts are doing."""

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from postroom.accounts.model import Account
from postroom.accounts.status import status
from postroom.cli import screen
from postroom.cli.installation import Installation, account_named, all_accounts, opened
from postroom.cli.options import AsJson, Data, DatabaseUrl, command
from postroom.cli.run import carry_out
from postroom.db import leases
from postroom.events import store as events
from postroom.mail.reading import Filters
from postroom.mail.store import browse, read
from postroom.providers import budget
from postroom.providers import store as budgets
from postroom.settings import Settings
from postroom.sync.model import key
from postroom.sync.store import quarantine

app = command()

COUNTED = 10**9
ALERTS = 3  # of what the server wants its user to read
MARKS = {"success": "in order", "failed": "failed", "in_progress": "syncing", None: "not synced yet"}


@app.command()
def main(
    address: Annotated[str | None, typer.Argument(help="One account; all of them by default.")] = None,
    data: Data = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Tell how accounts are doing: state, last sync, next sync, how much is stored."""
    found = carry_out(lambda settings: _status(settings, address), data, database_url, as_json=as_json)
    if as_json:
        screen.document({"accounts": found})
        return
    if not found:
        screen.say("No mailbox is connected yet; connect one: postroom connect you@example.com")
    for entry in found:
        _show(entry)


async def _status(settings: Settings, address: str | None) -> list[dict[str, Any]]:
    async with opened(settings) as house:
        await _warn(house)
        chosen = [await account_named(house, address)] if address else await all_accounts(house)
        return [await _entry(house, account) for account in chosen]


async def _warn(house: Installation) -> None:
    """What whoever hosts the database withholds costs something, and fails nothing."""
    async with house.database.unbound() as conn:
        missing = await events.withheld(conn)
    if missing:
        screen.warn(
            f"PostgreSQL does not tell postroom its {' and its '.join(missing)}, so the log's epoch may stay "
            "the same when the database goes back to a backup; docs/howto/own-postgresql.md says more."
        )


async def _entry(house: Installation, account: Account) -> dict[str, Any]:
    async with house.database.transaction(house.tenant) as conn:
        folders = await browse.folders(conn, house.tenant, account.id, counted=True)
        messages = await read.count(conn, house.tenant, Filters(account=account.id), COUNTED)
        leased = await leases.is_held(conn, house.tenant, key(account.id))
        parked = await quarantine.count(conn, house.tenant, account.id)
        today = await budgets.today(conn, house.tenant, account.id)
    state = status(account, leased=leased)
    return {
        "id": account.public_id,
        "address": account.address,
        "provider": account.provider,
        "state": state.state,
        "reason": state.reason,
        "is_syncing": state.is_syncing,
        "last_sync_at": state.last_sync_at,
        "last_sync_status": state.last_sync_status,
        "last_sync_error": state.last_sync_error,
        "sync_count": state.sync_count,
        "verified_fresh_at": state.verified_fresh_at,
        "next_sync_at": state.next_sync_at,
        "throttled_until": state.throttled_until,
        "throttled_by": state.throttled_by,
        "bytes_today": today.bytes,
        "daily_bytes": budget.limit(account.settings, account.address),
        "alerts": list(today.alerts),
        "parked": parked,
        "messages": messages,
        "folders": [
            {"path": folder.path, "role": folder.role, "messages": folder.messages} for folder in folders
        ],
    }


def _show(entry: dict[str, Any]) -> None:
    folders = [folder for folder in entry["folders"] if folder["messages"]]
    screen.say(f"{screen.line(entry['address'])}: {entry['state']}")
    if entry["reason"]:
        screen.say(f"  reason     {screen.line(entry['reason'])}")
    screen.say(f"  stored     {entry['messages']:,} messages in {len(folders)} folders")
    if entry["parked"]:
        screen.say(f"  parked     {entry['parked']:,}; see `postroom parked list`")
    last = entry["last_sync_at"]
    when = f", {screen.ago(last)}" if last else ""
    screen.say(f"  last sync  {MARKS[entry['last_sync_status']]}{when}")
    if entry["verified_fresh_at"]:
        screen.say(f"  verified   equal to the server {screen.ago(entry['verified_fresh_at'])}")
    if entry["throttled_until"]:
        screen.say(f"  throttled  until {entry['throttled_until']:%Y-%m-%d %H:%M} UTC")
        screen.say(f"             {screen.line(entry['throttled_by'] or '')}")
    if entry["daily_bytes"]:
        today, most = screen.amount(entry["bytes_today"]), screen.amount(entry["daily_bytes"])
        screen.say(f"  today      {today} of {most} downloaded")
    for alert in entry["alerts"][:ALERTS]:
        screen.say(f"  server     {screen.line(alert['text'])}")
    if entry["next_sync_at"]:
        due = max(entry["next_sync_at"], datetime.now(UTC))
        screen.say(f"  next sync  {screen.ago(due)}, while `postroom up` runs")
