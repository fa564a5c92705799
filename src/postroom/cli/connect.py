"""`postroom connect`: log in to a mailbox, say how much is in it, and remember it."""

import os
import sys
from collections.abc import Coroutine, Mapping
from dataclasses import replace
from datetime import datetime
from enum import StrEnum
from getpass import getpass
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from postroom.accounts.autodiscover import FoundBy
from postroom.accounts.connect import Connected, Wish
from postroom.accounts.connect import connect as connect_account
from postroom.accounts.grant import BadGrant, Grant, Granted, given
from postroom.accounts.guess import by_table, normal_address
from postroom.accounts.model import Scope
from postroom.accounts.seeker import Seeker
from postroom.cli import screen
from postroom.cli.installation import unlocked
from postroom.cli.options import AsJson, Data, DatabaseUrl, command
from postroom.cli.run import carry_out
from postroom.errors import Invalid
from postroom.providers.imap.compression import Compress
from postroom.providers.imap.settings import from_url, to_url
from postroom.providers.known import LoginRule, by_address
from postroom.settings import Settings
from postroom.sync.halt import begin_anew

app = command()

PASSWORD = "POSTROOM_PASSWORD"
LONGEST = 1 << 16
FOUND = {
    FoundBy.TABLE: "its provider is well known",
    FoundBy.MX: "the mail of its domain goes to that provider",
    FoundBy.SRV: "its domain's DNS says so (SRV)",
    FoundBy.AUTOCONFIG: "its domain says so (autoconfig)",
    FoundBy.ISPDB: "Mozilla's collection of mail servers says so",
    FoundBy.GUESS: "that was guessed",
}


class Starttls(StrEnum):
    REQUIRE = "require"
    AUTO = "auto"
    OFF = "off"


WhetherToCompress = Annotated[
    Compress, typer.Option(help="Whether to compress what comes from the server: auto does on a slow link.")
]
DailyBytes = Annotated[
    int | None,
    typer.Option(min=1 << 20, help="To download in a day; as its provider has it without it."),
]
Folders = Annotated[
    str | None,
    typer.Option(metavar="PATTERN", help="Such as 'INBOX,Archive*,-Spam'; everything without it."),
]
WatchFolders = Annotated[
    str | None,
    typer.Option(
        metavar="PATTERN", help="Folders to be told of beside the inbox, where that costs a connection each."
    ),
]


class NoPassword(Invalid):
    code = "cli.no_password"


@app.command()
def main(
    address: Annotated[str, typer.Argument(help="The mailbox's address.")],
    server: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="imaps://HOST:PORT or imap://HOST:PORT; found by the address without it."
        ),
    ] = None,
    starttls: Annotated[
        Starttls,
        typer.Option(help="For imap://: whether the connection must, may or shall not be encrypted."),
    ] = Starttls.REQUIRE,
    username: Annotated[str | None, typer.Option(help="Where it is not the address.")] = None,
    password_file: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|-", help=f"Its first line is the password.  Else {PASSWORD}, else you are asked."
        ),
    ] = None,
    oauth: Annotated[
        str | None,
        typer.Option(metavar="FILE|-", help="A grant in JSON to log in by, instead of a password."),
    ] = None,
    ca_file: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="Certificates to trust instead of the usual ones (PEM)."
        ),
    ] = None,
    folders: Folders = None,
    since: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Older mail stays on the server.")
    ] = None,
    compress: WhetherToCompress = Compress.AUTO,
    daily_bytes: DailyBytes = None,
    watch_folders: WatchFolders = None,
    data: Data = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Connect a mailbox: log in, show how much a first sync would copy, and remember it."""
    scope = Scope(folders=folders, since=since.date() if since else None)
    trusted = str(ca_file.absolute()) if ca_file else None

    def begin(settings: Settings) -> Coroutine[Any, Any, Connected]:
        at = _server(address, server, starttls, by_grant=oauth is not None)
        grant, granted = _grant(oauth) if oauth is not None else (None, None)
        secret = "" if grant else _password(address, password_file, is_asking=not as_json)
        wish = Wish(address, secret, "imap", at, username, trusted, scope)
        wish = replace(wish, compress=compress, daily_bytes=daily_bytes, watch_folders=watch_folders)
        wish = replace(wish, grant=grant, granted=granted)
        return _connect(settings, wish)

    made = carry_out(begin, data, database_url, as_json=as_json)
    if as_json:
        screen.document(_document(made))
    else:
        _show(made)


async def _connect(settings: Settings, wish: Wish) -> Connected:
    async with unlocked(settings) as house:
        seek = Seeker(house.allowed, ispdb=settings.autoconfig_ispdb)
        return await connect_account(
            house.database, house.vault, house.providers, house.tenant, wish, begin_anew, house.oauth, seek
        )


def _server(
    address: str, server: str | None, starttls: Starttls, *, by_grant: bool
) -> Mapping[str, Any] | None:
    """None: to be found; what can be said against that is said before a password is asked for."""
    if server is not None:
        return from_url(server, starttls=starttls)
    by_table(normal_address(address), by_grant=by_grant)
    return None


def _password(address: str, file: str | None, *, is_asking: bool) -> str:
    """From a file, the environment or a person; never from the command line, where others could read it."""
    if file is not None:
        return _first_line(file)
    if given := os.environ.get(PASSWORD):
        return given
    if not is_asking or not sys.stdin.isatty():
        raise NoPassword(
            f"There is nobody to ask for a password; give it with --password-file or {PASSWORD}."
        )
    known = by_address(address)
    if known and known.rule is LoginRule.APP_PASSWORD:
        screen.warn(known.advice)
    return getpass(f"Password of {screen.line(address)}: ")


def _grant(file: str) -> tuple[Grant, Granted | None]:
    """As `POST /v1/accounts` takes it under `oauth`. Raises `BadGrant`."""
    try:
        if file == "-":
            raw = sys.stdin.buffer.read(LONGEST)
        else:
            with open(file, "rb") as opened_file:
                raw = opened_file.read(LONGEST)
        values = orjson.loads(raw)
    except OSError as error:
        raise BadGrant(f"The file {file} cannot be read: {error.strerror}.") from error
    except orjson.JSONDecodeError:  # which holds it all
        raise BadGrant(f"{'Standard input' if file == '-' else file} is not JSON.") from None
    if not isinstance(values, dict):
        raise BadGrant("A grant is a JSON object with a refresh_token, a token_url and a client_id.")
    return given(values)


def _first_line(file: str) -> str:
    try:
        if file == "-":
            raw = sys.stdin.buffer.readline(LONGEST)
        else:
            with open(file, "rb") as opened_file:
                raw = opened_file.readline(LONGEST)
        password = raw.rstrip(b"\r\n").decode()
    except OSError as error:
        raise NoPassword(f"The password file {file} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise NoPassword(f"The password file {file} is not text in UTF-8.") from error
    if not password:
        raise NoPassword(f"The first line of {'standard input' if file == '-' else file} holds no password.")
    return password


def _show(made: Connected) -> None:
    account, estimate = made.account, made.estimate
    size = "" if estimate.bytes is None else f", about {screen.amount(estimate.bytes)}"
    address = screen.line(account.address)
    screen.say(
        f"{address} is connected: {estimate.messages:,} messages in {estimate.folders} folders{size}; "
        f"the first sync takes about {screen.duration(estimate.seconds)}."
    )
    if made.found_by is not None:
        screen.say(f"Its server is {screen.line(to_url(account.settings))}: {FOUND[made.found_by]}.")
    screen.say(f"Copy it now: postroom sync {address}   (`postroom up` keeps it up to date)")


def _document(made: Connected) -> dict[str, Any]:
    account, estimate = made.account, made.estimate
    return {
        "id": account.public_id,
        "address": account.address,
        "provider": account.provider,
        "server": {key: account.settings[key] for key in ("host", "port", "security")},
        "found_by": made.found_by,
        "estimate": {
            "folders": estimate.folders,
            "messages": estimate.messages,
            "bytes": estimate.bytes,
            "seconds": round(estimate.seconds, 1),
        },
    }
