"""`postroom login`: a link that opens a session in a browser."""

from datetime import timedelta
from typing import Annotated

import typer

from postroom.cli import screen
from postroom.cli.installation import opened
from postroom.cli.options import AsJson, Data, DatabaseUrl, Host, Port, command
from postroom.cli.run import carry_out
from postroom.people import sessions
from postroom.settings import Settings

app = command()


@app.command()
def main(
    minutes: Annotated[int, typer.Option(min=1, max=60, help="How long the link is good.")] = 10,
    host: Host = None,
    port: Port = None,
    data: Data = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Print a link that signs whoever opens it in, once, while `postroom up` or `serve` runs."""
    good_for = timedelta(minutes=minutes)
    url, link = carry_out(
        lambda settings: _login(settings, good_for),
        data,
        database_url,
        as_json=as_json,
        host=host,
        port=port,
    )
    if as_json:
        screen.document({"url": url, "expires_at": link.expires_at})
    else:
        screen.say(url)
        screen.warn(f"Good once, for {minutes} minutes. Whoever has it is in.")


async def _login(settings: Settings, good_for: timedelta) -> tuple[str, sessions.Link]:
    async with opened(settings) as house:
        link = await sessions.new_link(house.database, house.tenant, good_for)
    return f"{_where(settings)}/v1/people/login?link={link.text}", link


def _where(settings: Settings) -> str:
    """Where a browser finds the API."""
    if settings.public_url is not None:
        return settings.public_url
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"
