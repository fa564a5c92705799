"""`postroom lab imap`: a scriptable mail server for demonstrations and tests."""

import re
from datetime import timedelta
from typing import Annotated

import typer

from postroom.cli import screen
from postroom.cli.options import command
from postroom.cli.run import carry_out
from postroom.lab.catalogue import reference
from postroom.lab.faults import FAULTS
from postroom.lab.offers import OFFERS
from postroom.lab.run import run
from postroom.lab.server import LabServer

app = command("A mail server on loopback, with realistic mail in it, that can misbehave on demand.")

SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|min|h)?")
RATE = re.compile(r"(\d+(?:\.\d+)?)\s*/\s*(s|m|min|h)")
SECONDS = {None: 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


def span(text: str) -> timedelta:
    """`20s`, `500ms`, `2min`; a number alone is seconds."""
    found = SPAN.fullmatch(text.strip())
    if found is None or not float(found[1]):
        raise typer.BadParameter(f"{text} is not a length of time such as 20s or 2min.")
    return timedelta(seconds=float(found[1]) * SECONDS[found[2]])


def rate(text: str) -> timedelta:
    """How long apart `5/s`, `30/min` or `100/h` are."""
    found = RATE.fullmatch(text.strip())
    if found is None or not float(found[1]):
        raise typer.BadParameter(f"{text} is not a rate such as 5/s or 30/min.")
    return timedelta(seconds=SECONDS[found[2]] / float(found[1]))


def fault(name: str) -> str:
    if name not in FAULTS:
        raise typer.BadParameter(f"there is no fault {name}; see `postroom lab faults`.")
    return name


def offer(name: str) -> str:
    if name not in OFFERS:
        raise typer.BadParameter(f"there is no offer {name}; there are {', '.join(OFFERS)}.")
    return name


@app.command()
def imap(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")] = 0,
    messages: Annotated[
        int | None,
        typer.Option(min=0, help="How many an account has at first: 300, or 5 where there are several."),
    ] = None,
    accounts: Annotated[
        int, typer.Option(min=1, help="How many there are: robin@, robin1@, robin2@ ... lab.example.")
    ] = 1,
    arrive_every: Annotated[
        timedelta | None,
        typer.Option(parser=span, metavar="TIME", help="How often a new mail arrives, such as 20s."),
    ] = None,
    arrivals: Annotated[
        timedelta | None,
        typer.Option(parser=rate, metavar="RATE", help="The same said otherwise: 5/s, 30/min."),
    ] = None,
    faults: Annotated[
        list[str] | None,
        typer.Option("--fault", parser=fault, metavar="NAME", help="How to misbehave; may be given again."),
    ] = None,
    offers: Annotated[
        list[str] | None,
        typer.Option(
            "--offer", parser=offer, metavar="NAME", help=f"{', '.join(OFFERS)}; may be given again."
        ),
    ] = None,
    prefix: Annotated[str, typer.Option(help="What names of folders begin with, such as INBOX.")] = "",
    delimiter: Annotated[str, typer.Option(help="What parts the levels of their names.")] = "/",
    seed: Annotated[int, typer.Option(help="The same seed makes the same mail.")] = 1,
) -> None:
    """Serve a generated mailbox over IMAP until Ctrl-C."""
    carry_out(
        lambda _settings: run(
            port=port,
            messages=messages if messages is not None else 300 if accounts == 1 else 5,
            accounts=accounts,
            arrive_every=arrivals or arrive_every,
            faults=faults or [],
            offers=offers or [],
            prefix=prefix,
            delimiter=delimiter,
            seed=seed,
            when_ready=_ready,
        )
    )


@app.command()
def faults(
    as_page: Annotated[bool, typer.Option("--reference", help="As the page of the reference.")] = False,
) -> None:
    """List the ways to misbehave."""
    if as_page:
        screen.say(reference().rstrip())
        return
    for each in sorted(FAULTS.values(), key=lambda known: known.name):
        screen.say(f"{each.name:28}{each.does}")


def _ready(server: LabServer) -> None:
    screen.say(f"imap://{server.host}:{server.port}  {server.address}  password: {server.password}")
