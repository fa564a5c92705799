"""Servers that told of changes and do so no more are told of once, until they do again."""

from datetime import timedelta

import pytest
from servers.tenants import ANNS, ONE

from postroom.db.pool import Database
from postroom.events import log
from postroom.events.model import stream_of
from postroom.sync.lapsed import tell_lapsed

pytestmark = pytest.mark.usefixtures("tenants")

WATCH = "INSERT INTO sync_watch (tenant_id, account_id, process, means, since) VALUES (1, $1, 'p', $2, now())"
MEANS = "UPDATE sync_watch SET means = $2, since = now() - $3::interval WHERE account_id = $1"
STATE = "UPDATE accounts_account SET state = $2 WHERE id = $1"
LONG = timedelta(minutes=11)


async def execute(db: Database, statement: str, *values: object) -> None:
    async with db.transaction(ONE) as conn:
        await conn.execute(statement, ANNS, *values)


async def told(db: Database) -> list[str]:
    await tell_lapsed(db)
    async with db.transaction(ONE) as conn:
        return [entry.kind for entry in await log.read(conn, ONE, stream_of(ANNS))]


async def test_a_lapse_is_told_once_and_its_end_once(db: Database) -> None:
    await execute(db, WATCH, "idle")
    watched = await told(db)
    await execute(db, MEANS, None, timedelta(minutes=1))
    soon = await told(db)
    await execute(db, MEANS, None, LONG)
    await told(db)
    late = await told(db)
    await execute(db, MEANS, "notify", timedelta())
    await told(db)
    again = await told(db)

    assert (watched, soon) == ([], [])
    assert late == ["sync.watch_lapsed"]
    assert again == ["sync.watch_lapsed", "sync.watch_resumed"]


async def test_a_server_that_never_told_does_not_lapse(db: Database) -> None:
    await execute(db, WATCH, None)
    await execute(db, MEANS, None, LONG)

    assert await told(db) == []


async def test_an_account_in_trouble_is_told_of_otherwise(db: Database) -> None:
    await execute(db, WATCH, "idle")
    await told(db)
    await execute(db, MEANS, None, LONG)
    await execute(db, STATE, "reauth_required")
    in_trouble = await told(db)
    await execute(db, STATE, "active")

    assert (in_trouble, await told(db)) == ([], ["sync.watch_lapsed"])


async def test_an_account_that_nobody_watches_at_this_moment_has_not_lapsed(db: Database) -> None:
    """As while a process stops and another takes over."""
    await execute(db, WATCH, "idle")
    await told(db)
    await execute(db, "DELETE FROM sync_watch WHERE account_id = $1")

    assert await told(db) == []
