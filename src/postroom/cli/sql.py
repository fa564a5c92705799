"""`postroom sql`: logins that read a tenant's mail in SQL."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated

import typer

from postroom.cli import screen
from postroom.cli.installation import Installation, opened
from postroom.cli.options import AsJson, Data, DatabaseUrl, command
from postroom.cli.run import carry_out
from postroom.ids import TenantId
from postroom.people import readers
from postroom.settings import Settings

app = command("Let a BI tool read a tenant's mail in SQL, by a login that sees nothing else.")

Whose = Annotated[
    str, typer.Argument(metavar="TENANT", help="Its id or name; without one the tenant of the command line.")
]


@app.command()
def grant(
    tenant: Whose = "",
    seconds: Annotated[
        int, typer.Option(min=1, max=86_400, help="How long one of its statements may take.")
    ] = int(readers.LIMIT.total_seconds()),
    connections: Annotated[
        int, typer.Option(min=1, max=1000, help="How many it may have.")
    ] = readers.CONNECTIONS,
    data: Data = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Make the login of a tenant, or give it a new password, and show its URL, this once."""
    limit = timedelta(seconds=seconds)
    made = carry_out(
        lambda settings: _grant(settings, tenant, limit, connections), data, database_url, as_json=as_json
    )
    if as_json:
        screen.document(
            {"tenant": made.tenant.public_id, "role": made.role, "url": made.url, "statements": made.left}
        )
        return
    screen.say(made.url)
    _tell_left(made.left, "It works once an administrator has run, in this database:")


@app.command()
def revoke(
    tenant: Whose = "", data: Data = None, database_url: DatabaseUrl = None, as_json: AsJson = False
) -> None:
    """End the login of a tenant, and its sessions, at once."""
    left = carry_out(lambda settings: _revoke(settings, tenant), data, database_url, as_json=as_json)
    if as_json:
        screen.document({"statements": left})
        return
    screen.say("Nobody reads this tenant's mail in SQL any more.")
    _tell_left(left, "To remove the login, which reads nothing now, let an administrator run:")


async def _grant(settings: Settings, tenant: str, limit: timedelta, connections: int) -> readers.Reader:
    async with opened(settings) as house:
        return await readers.grant(
            house.database, await _named(house, tenant), limit=limit, connections=connections
        )


async def _revoke(settings: Settings, tenant: str) -> Sequence[str]:
    async with opened(settings) as house:
        return await readers.revoke(house.database, await _named(house, tenant))


async def _named(house: Installation, wanted: str) -> TenantId:
    return await readers.named(house.database, wanted) if wanted else house.tenant


def _tell_left(statements: Sequence[str], why: str) -> None:
    if statements:
        screen.warn(why)
        for statement in statements:
            screen.warn(f"    {statement};")
