"""`postroom webhooks`: have events posted to a program, and see how that goes."""

from typing import Annotated
from uuid import UUID

import typer

from postroom.cli import screen
from postroom.cli.installation import Installation, account_named, opened, unlocked
from postroom.cli.options import AsJson, Data, DatabaseUrl, command
from postroom.cli.run import carry_out
from postroom.settings import Settings
from postroom.webhooks import change, store
from postroom.webhooks.model import Behind, NoSuchWebhook, Outcome, Webhook

app = command("Have events posted to a program of yours.")

Which = Annotated[str, typer.Argument(metavar="WEBHOOK", help="Its id, or how it begins.")]
Told = tuple[Webhook, Behind]


@app.command()
def add(
    url: Annotated[str, typer.Argument(help="Where events are posted.")],
    type_: Annotated[
        list[str] | None, typer.Option("--type", help="As mail.added or sync.*; may be repeated.")
    ] = None,
    account: Annotated[
        list[str] | None, typer.Option(metavar="ADDRESS", help="Of this one only; may be repeated.")
    ] = None,
    description: Annotated[str, typer.Option(help="What it is for.")] = "",
    data: Data = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Post what happens from now on. Shows the secret that signs it, this once."""
    made, secret = carry_out(
        lambda settings: _add(settings, url, type_, account, description),
        data,
        database_url,
        as_json=as_json,
    )
    if as_json:
        screen.document({**_document(made), "secret": secret})
    else:
        screen.say(f"The webhook {made.public_id} is there; its secret, which nobody can ask for again:")
        screen.say(secret)


async def _add(
    settings: Settings, url: str, types: list[str] | None, addresses: list[str] | None, description: str
) -> tuple[Webhook, str]:
    async with unlocked(settings) as house:
        accounts = [(await account_named(house, address)).id for address in addresses or ()]
        return await change.create(
            house.database,
            house.vault,
            house.tenant,
            url=url,
            types=types or None,
            accounts=accounts or None,
            description=description,
        )


@app.command("list")
def list_(data: Data = None, database_url: DatabaseUrl = None, as_json: AsJson = False) -> None:
    """List all webhooks, and how far behind each is."""
    found = carry_out(_list, data, database_url, as_json=as_json)
    if as_json:
        told = [{**_document(one), "behind": behind.events} for one, behind in found]
        screen.document({"webhooks": told})
        return
    for one, behind in found:
        how = f"fails: {one.failure}" if one.failing_since else one.state
        last = f"last delivered {screen.ago(one.delivered_at)}"
        screen.say(f"{one.public_id}  {how}  {behind.events:,} behind  {last}  {screen.line(one.url)}")


async def _list(settings: Settings) -> list[Told]:
    async with opened(settings) as house, house.database.transaction(house.tenant) as conn:
        return [(one, await store.behind(conn, one)) for one in await store.listed(conn, house.tenant)]


@app.command("test")
def try_out(
    which: Which, data: Data = None, database_url: DatabaseUrl = None, as_json: AsJson = False
) -> None:
    """Post a message now, and show what the receiver answers."""
    outcome = carry_out(lambda settings: _test(settings, which), data, database_url, as_json=as_json)
    if as_json:
        screen.document({"status": outcome.status, "code": outcome.code, "said": outcome.said})
    else:
        answer = f"It answers {outcome.status}." if outcome.status else outcome.said
        screen.say(answer if outcome.code is None else f"{answer} [{outcome.code}]")
    if outcome.code is not None:
        raise typer.Exit(1)


async def _test(settings: Settings, which: str) -> Outcome:
    async with unlocked(settings) as house:
        found = await _named(house, which)
        return await change.try_out(change.Prober(house.vault, house.allowed), found)


@app.command()
def replay(
    which: Which,
    after: Annotated[
        str, typer.Option(metavar="CURSOR", help="All behind it; `start`: everything that there is.")
    ],
    data: Data = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Post again what was posted, under the same ids."""
    changed, behind = carry_out(
        lambda settings: _replay(settings, which, after), data, database_url, as_json=as_json
    )
    if as_json:
        screen.document({**_document(changed), "behind": behind.events})
    else:
        screen.say(f"{behind.events:,} events are gone through anew.")


async def _replay(settings: Settings, which: str, after: str) -> Told:
    async with opened(settings) as house:
        found = await _named(house, which)
        async with house.database.transaction(house.tenant) as conn:
            changed = await change.replay(conn, house.tenant, found.public_id, after, None)
            return changed, await store.behind(conn, changed)


async def _named(house: Installation, which: str) -> Webhook:
    """Raises `NoSuchWebhook`."""
    async with house.database.transaction(house.tenant) as conn:
        found = [one for one in await store.listed(conn, house.tenant) if _begins(one.public_id, which)]
    if len(found) != 1:
        raise NoSuchWebhook(f"No webhook, or more than one, is {which[:36]}; see `postroom webhooks list`.")
    return found[0]


def _begins(public_id: UUID, which: str) -> bool:
    return str(public_id).startswith(which.lower())


def _document(webhook: Webhook) -> dict[str, object]:
    return {
        "id": webhook.public_id,
        "url": webhook.url,
        "description": webhook.description,
        "types": webhook.types,
        "state": webhook.state,
        "created_at": webhook.created_at,
        "delivered_at": webhook.delivered_at,
        "failing_since": webhook.failing_since,
        "failure": webhook.failure,
    }
