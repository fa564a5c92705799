"""What was logged before the log could be checked."""

import asyncpg
from servers.tenants import MAKE, ONE

from postroom.db.migrate import migrate, migrations
from postroom.db.pool import open_pool
from postroom.events import chain, log
from postroom.events.model import Event, Stream

OLD = """
    INSERT INTO postroom.events_head (tenant_id, stream, seq, hash)
    VALUES (1, 7, 3, 'c'), (1, 8, 1, 'a'), (2, 9, 1, 'a');
    INSERT INTO postroom.events_event (tenant_id, stream, seq, txid, at, kind, body, hash)
    VALUES (1, 7, 1, '900', now(), 'mail.added', '{"message":"ä"}', 'a'),
           (1, 7, 2, '899', now(), 'mail.added', '{}', 'b'),
           (1, 7, 3, '901', '2026-01-31 22:59:59.5-01', 'mail.added', '{}', 'c'),
           (1, 8, 1, '900', now(), 'mail.added', '{}', 'a'),
           (2, 9, 1, '900', now(), 'mail.added', '{}', 'a');
"""


async def test_an_old_log_goes_on_as_one_that_can_be_checked(empty_dsn: str) -> None:
    await migrate(empty_dsn, [migration for migration in migrations() if migration.number < 13])
    conn = await asyncpg.connect(empty_dsn)
    await conn.execute(MAKE)
    await conn.execute(OLD)
    await conn.close()
    await migrate(empty_dsn)

    async with open_pool(empty_dsn) as db, db.transaction(ONE) as conn:
        await log.append(conn, ONE, Stream(7), [Event("mail.removed", {"message": "m" * 36})])
        seven, eight = [await log.read(conn, ONE, Stream(number)) for number in (7, 8)]

    assert chain.verify(seven)[0] == 4
    assert [entry.position for entry in seven][:3] == [900, 900, 901]
    assert chain.verify(eight)[0] == 1
