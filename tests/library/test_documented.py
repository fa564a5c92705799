"""The guide's programs run as they stand there, and the reference names all there is."""

import re
from pathlib import Path
from typing import Any

import httpx2
import pytest
from library.desk import Desk, added
from servers.copies import Copy
from servers.tenants import ANNS, ONE

from postroom import Postroom, library
from postroom.db.pool import Database
from postroom.errors import PostroomError
from postroom.events import log
from postroom.events.model import Event, stream_of

DOCS = Path(__file__).parents[2] / "docs"
GUIDE, REFERENCE = DOCS / "howto" / "embed.md", DOCS / "reference" / "library.md"
TUTORIAL, EXAMPLE = DOCS / "tutorial" / "ticket-desk.md", DOCS.parent / "examples" / "ticket_desk.py"


def programs(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)


async def test_the_programs_of_the_guide_run(desk: Desk, db: Database) -> None:
    await desk.conn.execute("DROP TABLE public.ticket")  # that of the tests
    database = await desk.conn.fetchval("SELECT current_database()")
    await desk.conn.execute(f"ALTER DATABASE {database} SET search_path = public")
    await desk.conn.execute("SET search_path = public")
    source = "\n".join(programs(GUIDE))
    for scheme in ("postgresql", "postgresql+asyncpg"):
        theirs = desk.dsn.replace("postgresql", scheme)
        source = source.replace(f"{scheme}://app@localhost/app", theirs)
    names: dict[str, Any] = {}
    exec(compile(source, "embed.md", "exec", dont_inherit=True), names)
    transport = httpx2.ASGITransport(names["app"])

    async def come(count: int) -> None:
        async def have_come() -> bool:
            return int(await desk.conn.fetchval("SELECT count(*) FROM ticket")) == count

        await desk.until(have_come)

    [placed] = await Copy(db, ONE, ANNS).deliver(b"Subject: Invoice 1\r\n\r\nhello\r\n")
    data = {**added(1)[0].data, "message": str(placed.public_id)}
    async with names["room"].lifespan(names["app"]), httpx2.AsyncClient(transport=transport) as http:
        await said(db, data)
        await come(1)
        assert (await http.get("http://app.example/mail/health")).status_code == 200
        assert await names["newest"]("one") == ["Invoice 1", "Invoice 1"]
    async with names["lifespan"](names["app"]):
        async with db.transaction(ONE) as conn:
            begun = "SELECT count(*) FROM library_handler WHERE name = 'orders'"

            async def has_begun() -> bool:
                return bool(await conn.fetchval(begun))

            await desk.until(has_begun)
        await said(db, data)
        await come(2)

    assert [tuple(row) for row in await desk.conn.fetch("SELECT * FROM ticket")] == [
        (placed.public_id, "Invoice 1"),
        (placed.public_id, "an order"),
    ]


async def said(db: Database, data: Any) -> None:
    async with db.transaction(ONE) as conn:
        await log.append(conn, ONE, stream_of(ANNS), [Event("mail.added", data)])


def test_the_program_of_the_tutorial_is_that_of_the_example() -> None:
    [program] = programs(TUTORIAL)

    assert program in EXAMPLE.read_text()


@pytest.mark.parametrize("name", [name for name in vars(Postroom) if not name.startswith("_")])
def test_the_reference_names_each_method(name: str) -> None:
    assert f"`{name}" in REFERENCE.read_text() or f"await {name}(" in REFERENCE.read_text()


def test_the_reference_explains_each_error() -> None:
    errors = [value for value in vars(library).values() if isinstance(value, type)]
    codes = {error.code for error in errors if issubclass(error, PostroomError)}

    assert codes == set(re.findall(r"\| `(library\.\w+)`", REFERENCE.read_text()))
