"""`postroom search`: search the mail of all accounts."""

from dataclasses import dataclass
from typing import Annotated, Any

import typer
from rich.text import Text

from postroom.cli import screen
from postroom.cli.installation import opened
from postroom.cli.options import AsJson, Data, DatabaseUrl, command
from postroom.cli.run import carry_out
from postroom.mail.reading import Row
from postroom.mail.store import read
from postroom.search.find import MAX_PAGE, find_first
from postroom.search.highlight import Snippet, find_matches, snippet
from postroom.search.model import Results
from postroom.settings import Settings

app = command()

WIDTH = 150


@dataclass(frozen=True, slots=True)
class Found:
    row: Row
    score: float
    excerpt: Snippet


@app.command()
def main(
    query: Annotated[
        list[str],
        typer.Argument(
            metavar="QUERY",
            help="Words, and from: to: subject: in: has:attachment is:unread before: after: ... "
            "A minus leaves out, OR gives a choice.",
        ),
    ],
    limit: Annotated[int, typer.Option(min=1, max=MAX_PAGE, help="How many results.")] = 20,
    data: Data = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Search the mail of all accounts."""
    asked = " ".join(query)
    results, found = carry_out(
        lambda settings: _search(settings, asked, limit), data, database_url, as_json=as_json
    )
    if as_json:
        screen.document(
            {
                "query": asked,
                "total": results.total,
                "total_is_exact": results.total_is_exact,
                "results": [_document(each) for each in found],
            }
        )
        return
    for each in found:
        _show(each, results.terms)
    more = "" if results.total_is_exact else "more than "
    shown = f", {len(found)} shown" if len(found) < results.total else ""
    screen.say(f"{more}{results.total:,} found{shown}" if found else "Nothing found.")


async def _search(settings: Settings, query: str, limit: int) -> tuple[Results, list[Found]]:
    async with opened(settings) as house, house.database.transaction(house.tenant) as conn:
        results = await find_first(conn, house.tenant, query, limit)
        scores = {hit.message: hit.score for hit in results.hits}
        found = []
        for row in await read.rows(conn, house.tenant, [hit.message for hit in results.hits]):
            text = (await read.content(conn, house.tenant, row.number)).text
            found.append(Found(row, scores[row.number], snippet(text or row.preview, results.terms)))
    return results, found


def _document(found: Found) -> dict[str, Any]:
    row = found.row
    return {
        "id": row.id,
        "thread": row.thread,
        "account": row.account,
        "subject": row.subject,
        "from": {"name": row.sender.name, "address": row.sender.address},
        "received_at": row.received_at,
        "folders": [place.path for place in row.folders],
        "read": row.read,
        "attachments": row.attachment_count,
        "snippet": found.excerpt.html,
        "score": found.score,
    }


def _show(found: Found, terms: tuple[str, ...]) -> None:
    row, console = found.row, screen.console()
    sender = screen.line(row.sender.name or row.sender.address)
    places = screen.line(", ".join(place.path for place in row.folders))
    head = Text(f"{row.received_at:%Y-%m-%d %H:%M}  {sender}  ", style="dim")
    head.append(screen.line(row.subject) or "(no subject)", style="bold")
    console.print(head)
    excerpt = screen.line(found.excerpt.text)
    shown = Text(f"  {excerpt[:WIDTH]}")
    for start, end in find_matches(excerpt[:WIDTH], terms):
        shown.stylize("bold yellow", start + 2, end + 2)
    console.print(shown)
    console.print(Text(f"  {row.id}  {places}", style="dim"))
