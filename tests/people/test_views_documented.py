"""The views are what their pages say, and every query that a page shows is run."""

import re
from pathlib import Path

import asyncpg
import pytest
from servers.tenants import ONE
from walls.sides import sides

from postroom.db import roles
from postroom.db.pool import Database
from postroom.people import readers
from postroom.vault.seal import Vault

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "reference" / "sql.md").read_text()
COLUMN = re.compile(r"\| `(\w+)` \| ([\w \[\]]+) \| ")
QUERY = re.compile(r"```sql\n(.+?)```", re.S)
QUERIES = QUERY.findall((DOCS / "howto" / "bi-on-the-views.md").read_text())
COLUMNS = """
    SELECT c.relname AS view, a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type
      FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
     WHERE c.relnamespace = 'postroom_api'::regnamespace ORDER BY c.relname, a.attnum
"""


def documented() -> set[tuple[str, str, str]]:
    found = set()
    for section in PAGE.split("\n## ")[1:]:
        view, _, text = section.partition("\n")
        found |= {(view, name, of) for name, of in COLUMN.findall(text)}
    return found


async def test_the_views_have_the_columns_that_are_promised(db: Database) -> None:
    """A column that is missing here breaks somebody's report: columns are only added."""
    async with db.unbound() as conn:
        there = {(row["view"], row["name"], row["type"]) for row in await conn.fetch(COLUMNS)}

    assert documented() == there


@pytest.mark.usefixtures("tenants")
async def test_each_query_of_the_guide_is_answered(db: Database, vault: Vault, dsn: str) -> None:
    annika, _ = await sides(db, vault)
    owner = await asyncpg.connect(dsn)
    await owner.execute(
        """
        UPDATE postroom.mail_message m
           SET received_at = now() - (1000 - id) * interval '1 minute', answered = true,
               thread_id = (SELECT min(thread_id) FROM postroom.mail_message WHERE tenant_id = m.tenant_id);
        UPDATE postroom.mail_folder SET role = 'sent' WHERE role IS NULL
        """
    )
    made = await readers.grant(db, ONE)
    conn = await asyncpg.connect(dsn.replace("//postroom@", f"//{made.role}@"))
    try:
        found = [
            await conn.fetch(query.replace("ann@example.org", annika.account.address)) for query in QUERIES
        ]
    finally:
        await conn.close()
        await roles.drop_reader(owner, made.role)
        await owner.close()

    assert len(found) == 10
    assert [query for query, rows in zip(QUERIES, found, strict=True) if not rows] == []
    assert sum(row["mails"] for row in found[0]) == 3, "one of four was sent"
