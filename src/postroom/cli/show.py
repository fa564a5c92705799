"""`postroom show`: one message, as text, as HTML, raw or as JSON."""

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

import typer

from postroom.cli import screen
from postroom.cli.installation import opened
from postroom.cli.options import AsJson, Data, DatabaseUrl, command
from postroom.cli.run import carry_out
from postroom.mail import content
from postroom.mail.model import NoSuchMessage
from postroom.mail.reading import Content, NoHtml, Person, Row
from postroom.mail.store import read
from postroom.settings import Settings

app = command()


@dataclass(frozen=True, slots=True)
class Shown:
    row: Row
    content: Content


@app.command()
def main(
    message: Annotated[str, typer.Argument(metavar="MESSAGE_ID", help="As `postroom search` shows it.")],
    raw: Annotated[bool, typer.Option("--raw", help="The bytes as the server has them.")] = False,
    html: Annotated[bool, typer.Option("--html", help="The HTML, made safe to open in a browser.")] = False,
    data: Data = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Show one message."""
    if raw + html + as_json > 1:
        raise typer.BadParameter("--raw, --html and --json exclude each other.")
    if raw:
        carry_out(lambda settings: _write_raw(settings, message), data, database_url)
    elif html:
        screen.say(carry_out(lambda settings: _html(settings, message), data, database_url))
    else:
        shown = carry_out(lambda settings: _read(settings, message), data, database_url, as_json=as_json)
        if as_json:
            screen.document(_document(shown))
        else:
            _show(shown)


def _id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise NoSuchMessage(f"{text[:50]} is not the id of a message; `postroom search` shows ids.") from None


async def _read(settings: Settings, message: str) -> Shown:
    async with opened(settings) as house, house.database.transaction(house.tenant) as conn:
        row = await read.message(conn, house.tenant, _id(message))
        return Shown(row, await read.content(conn, house.tenant, row.number))


async def _write_raw(settings: Settings, message: str) -> None:
    async with opened(settings) as house:
        async with house.database.transaction(house.tenant) as conn:
            digest, size = await read.source(conn, house.tenant, _id(message))
        async for piece in content.read(house.database, house.tenant, digest, 0, size):
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()


async def _html(settings: Settings, message: str) -> str:
    async with opened(settings) as house:
        async with house.database.transaction(house.tenant) as conn:
            digest, size = await read.source(conn, house.tenant, _id(message))
        found = (await content.shown(house.database, house.tenant, digest, size)).html
    if found is None:
        raise NoHtml("This message has no HTML; show it without --html.")
    return found.html


def _people(people: Iterable[Person]) -> str:
    return screen.line(
        ", ".join(f"{who.name} <{who.address}>" if who.name else who.address for who in people)
    )


def _show(shown: Shown) -> None:
    row = shown.row
    lines = {
        "From": _people([row.sender]),
        "To": _people(row.to),
        "Cc": _people(row.cc),
        "Date": f"{row.sent_at or row.received_at:%Y-%m-%d %H:%M %Z}",
        "Subject": screen.line(row.subject),
        "Folders": screen.line(", ".join(place.path for place in row.folders)),
    }
    for name, value in lines.items():
        if value:
            screen.say(f"{name}: {value}")
    for part in shown.content.attachments:
        name = screen.line(part.name) or "(no name)"
        screen.say(f"Attachment: {name} ({part.content_type}, {screen.amount(part.size)})")
    screen.say()
    screen.say(screen.block(shown.content.text))


def _document(shown: Shown) -> dict[str, Any]:
    row = shown.row

    def person(who: Person) -> dict[str, str]:
        return {"name": who.name, "address": who.address}

    return {
        "id": row.id,
        "thread": row.thread,
        "account": row.account,
        "message_id": row.message_id,
        "subject": row.subject,
        "from": person(row.sender),
        "to": [person(who) for who in row.to],
        "cc": [person(who) for who in row.cc],
        "bcc": [person(who) for who in row.bcc],
        "sent_at": row.sent_at,
        "received_at": row.received_at,
        "flags": list(row.flags),
        "folders": [place.path for place in row.folders],
        "size": row.size,
        "defects": list(row.defects),
        "text": shown.content.text,
        "attachments": [
            {
                "number": part.number,
                "name": part.name,
                "content_type": part.content_type,
                "size": part.size,
                "disposition": part.disposition,
            }
            for part in shown.content.attachments
        ],
    }
