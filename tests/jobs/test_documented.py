"""The handler in the reference works as it stands there."""

import asyncio
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from servers.tenants import ONE

from postroom.db.listen import open_hints
from postroom.db.pool import Connection, Database
from postroom.jobs import store
from postroom.jobs.model import CHANGED, State
from postroom.jobs.run import Executor

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "jobs.md"


@pytest.mark.usefixtures("tenants")
async def test_the_example_is_enqueued_run_and_completed(db: Database) -> None:
    written = []

    async def write(_conn: Connection, word: str) -> None:
        written.append(word)

    [example] = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names: dict[str, Any] = {"write": write}
    exec(example, names)

    async with db.transaction(ONE) as conn:
        made = await names["request"](conn, ONE, ["one", "two"])
        again = await names["request"](conn, ONE, ["three"])
    async with asyncio.timeout(20), open_hints(db) as hints:
        with hints.hear(CHANGED) as changes:
            async with Executor(db, hints, names["HANDLERS"]).working(timedelta()):
                job = None
                while job is None or job.state is not State.COMPLETED:
                    await anext(changes)
                    async with db.transaction(ONE) as conn:
                        job = await store.get_by_id(conn, ONE, made.id)
                        events = await store.events(conn, ONE, made.id)

    assert written == ["one", "two"]
    assert (again.id, again.is_merged) == (made.id, True)
    assert job.result == {"stored": 2}
    assert [event.message for event in events] == ["begun"]
