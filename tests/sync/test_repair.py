"""Damage in the copy that no sync would look for, found and mended by `verify --repair`."""

import json
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from servers.tenants import ONE
from sync.killing import Killer
from sync.lab import assert_equal, connected, messages, sync
from sync.mailboxes import means, told

from postroom.accounts import store as accounts
from postroom.accounts.model import Account
from postroom.db.pool import Database
from postroom.errors import PostroomError
from postroom.events.replay import replay
from postroom.lab.server import LabServer, serve
from postroom.sync.perform import Means, perform
from postroom.sync.repair import Repair, repair
from postroom.sync.store import retell as store

pytestmark = pytest.mark.usefixtures("tenants")

COUNT = 30
EVERY = timedelta(minutes=15)

NO_PLACEMENTS = "DELETE FROM mail_placement WHERE uid IN (3, 7)"
NO_MESSAGES = (
    "DELETE FROM mail_message WHERE id IN (SELECT message_id FROM mail_placement WHERE uid IN (3, 7))"
)
ONE_MORE = """
    INSERT INTO mail_placement
    SELECT tenant_id, folder_id, 1000, message_id, flags FROM mail_placement WHERE uid = 5
"""
ELSEWHERE = """
    INSERT INTO mail_placement
    SELECT p.tenant_id, f.id, 1001, p.message_id, p.flags FROM mail_placement p, mail_folder f
     WHERE p.uid = 9 AND f.path = 'Empty'
"""
OTHER_FLAGS = "UPDATE mail_placement SET flags = '{\\\\Flagged,$Odd}' WHERE uid IN (2, 4, 6)"
TOO_FAR = "UPDATE sync_folder SET uid_next = uid_next + 500, modseq = modseq + 500"
OTHER_VALIDITY = "UPDATE sync_folder SET validity = validity + 1"


@dataclass(frozen=True, slots=True)
class Copied:
    account: Account
    server: LabServer
    means: Means


@pytest.fixture(params=["qresync", "condstore", "plain"])
async def copied(db: Database, request: pytest.FixtureRequest) -> AsyncIterator[Copied]:
    async with serve(messages=COUNT, folder_count=1, offers=[request.param]) as server:
        server.mailbox.create("Empty")
        account = await connected(db, server)
        assert (await sync(db, account)).status == "success"
        yield Copied(account, server, means(db))


async def damage(db: Database, *statements: str) -> None:
    async with db.transaction(ONE) as conn:
        for statement in statements:
            await conn.execute(statement)


async def mend(copied: Copied) -> Repair:
    return await repair(
        copied.means, copied.account, partial(perform, copied.means, copied.account, every=EVERY, full=True)
    )


async def heard(db: Database, account: Account, after: int) -> tuple[Counter[str], dict[str, Any]]:
    """The kinds of events since then, and the body of the last one."""
    entries = (await told(db, account))[after:]
    return Counter(entry.kind for entry in entries), json.loads(entries[-1].body) if entries else {}


async def assert_log_tells_what_is_stored(db: Database, account: Account) -> None:
    """Also to those who have followed it all along."""
    state = replay(await told(db, account))
    async with db.transaction(ONE) as conn:
        stored = await store.stored(conn, ONE, account.id)
        assert state.folders == await store.folders(conn, ONE, account.id)
    assert state.messages == {message: lies.places for message, lies in stored.items()}


def numbers(found: Repair) -> list[tuple[str, int, int, int]]:
    return [(each.path, each.missing, each.extra, each.flags_differ) for each in found.repaired]


DAMAGE = {
    "placements are gone": ((NO_PLACEMENTS,), (2, 0, 0), set()),
    "messages are gone": ((NO_MESSAGES,), (2, 0, 0), {"mail.removed", "mail.added"}),
    "a placement twice": ((ONE_MORE,), (0, 1, 0), set()),
    "a message elsewhere, too": ((ELSEWHERE,), (0, 1, 0), {"mail.copied", "mail.left"}),
    "other flags": ((OTHER_FLAGS,), (0, 0, 3), {"mail.flags_changed"}),
    "a cursor too far": ((NO_MESSAGES, TOO_FAR), (2, 0, 0), {"mail.removed", "mail.added"}),
    "another validity": ((OTHER_VALIDITY,), (COUNT, COUNT, 0), {"mail.folder_renumbered"}),
    "all of it": (
        (NO_MESSAGES, ONE_MORE, ELSEWHERE, OTHER_FLAGS, TOO_FAR),
        (2, 2, 3),
        {"mail.removed", "mail.added", "mail.copied", "mail.left", "mail.flags_changed"},
    ),
}


@pytest.mark.parametrize("what", DAMAGE)
async def test_damage_is_found_mended_and_told(db: Database, copied: Copied, what: str) -> None:
    statements, expected, kinds = DAMAGE[what]
    await damage(db, *statements)
    before = len(await told(db, copied.account))

    found = await mend(copied)

    assert tuple(map(sum, zip(*(row[1:] for row in numbers(found)), strict=True))) == expected
    assert all(folder.is_equal for folder in found.after)
    heard_kinds, last = await heard(db, copied.account, before)
    assert heard_kinds["sync.repaired"] == 1
    assert (last["missing"], last["extra"], last["flags"]) == expected
    assert last["account"] == str(copied.account.public_id)
    assert heard_kinds.keys() == kinds | {"sync.repaired"}
    await assert_equal(db, copied.account, copied.server)
    await assert_log_tells_what_is_stored(db, copied.account)


async def test_a_copy_that_is_equal_is_left_alone(db: Database, copied: Copied) -> None:
    before = await told(db, copied.account)

    found = await mend(copied)

    assert found.repaired == ()
    assert await told(db, copied.account) == before


async def test_a_repair_keeps_every_id_it_can(db: Database, copied: Copied) -> None:
    before = await messages(db, copied.account)
    await damage(db, OTHER_VALIDITY, OTHER_FLAGS)

    await mend(copied)

    assert await messages(db, copied.account) == before


async def test_a_repaired_copy_is_fresh(db: Database, copied: Copied) -> None:
    async with db.transaction(ONE) as conn:
        then = (await accounts.get_by_id(conn, ONE, copied.account.id)).verified_fresh_at
    await damage(db, OTHER_FLAGS)

    await mend(copied)

    async with db.transaction(ONE) as conn:
        now = (await accounts.get_by_id(conn, ONE, copied.account.id)).verified_fresh_at
    assert then is not None
    assert now is not None
    assert now > then


async def test_what_cannot_be_mended_is_not_said_to_be(db: Database, copied: Copied) -> None:
    await damage(db, NO_MESSAGES, OTHER_FLAGS)
    copied.server.faults.switch_on("unavailable-uid")

    found = await mend(copied)

    assert numbers(found) == [("INBOX", 1, 0, 3)]
    assert sum(folder.missing for folder in found.after) == 1


async def test_a_repair_that_cannot_reach_the_server_says_so(db: Database, copied: Copied) -> None:
    await damage(db, OTHER_FLAGS)
    before = await told(db, copied.account)
    copied.server.faults.switch_on("authenticated-not-connected")

    with pytest.raises(PostroomError):
        await mend(copied)

    assert await told(db, copied.account) == before


@pytest.mark.slow
async def test_a_repair_that_dies_at_any_statement_is_finished_by_the_next(
    db: Database, copied: Copied, monkeypatch: pytest.MonkeyPatch
) -> None:
    killer = Killer(monkeypatch)
    statement, died = 1, True
    while died:
        await damage(db, NO_MESSAGES, ELSEWHERE, OTHER_FLAGS)
        died = await killer.until(statement, db, mend(copied))
        await mend(copied)
        await assert_equal(db, copied.account, copied.server)
        await assert_log_tells_what_is_stored(db, copied.account)
        statement += 7

    assert statement > 100
