"""Parked mail whose bytes are kept becomes ordinary mail when it can be read at last."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import pytest
from servers.tenants import ONE
from sync.killing import Killer
from sync.lab import assert_equal, connected, retry_parked, sync
from sync.mailboxes import told
from sync.test_parked import heard, refused, rows

from postroom.accounts.model import Account
from postroom.db.pool import Database
from postroom.lab.server import LabServer, serve
from postroom.mail.store import write
from postroom.sync import reread as reading
from postroom.sync.reread import Tally, reread
from postroom.sync.workshop import Workshop, workshop

pytestmark = pytest.mark.usefixtures("tenants")

BLOBS = "SELECT count(*), sum(refs) FROM blobs_blob WHERE tenant_id = $1"
COUNT = 4


@dataclass(frozen=True, slots=True)
class Quarantined:
    """An account all of whose mail is parked with its bytes, and the server it came from."""

    account: Account
    server: LabServer


@pytest.fixture(scope="module")
def shop() -> Iterator[Workshop]:
    with workshop() as made:
        yield made


@pytest.fixture
async def parked(db: Database, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Quarantined]:
    async with serve(messages=COUNT, folder_count=1) as server:
        account = await connected(db, server)
        with monkeypatch.context() as patch:
            patch.setattr(write, "add", refused)
            await sync(db, account)
        assert len(await rows(db)) == COUNT
        yield Quarantined(account, server)


async def run(db: Database, account: Account, shop: Workshop) -> Tally:
    tally = Tally()
    await reread(db, account, shop, tally)
    return tally


async def blobs(db: Database) -> list[int]:
    async with db.transaction(ONE) as conn:
        return list(await conn.fetchrow(BLOBS, ONE) or ())


async def added(db: Database, account: Account) -> list[str]:
    return [entry.body for entry in await told(db, account) if entry.kind == "mail.added"]


async def test_it_is_stored_as_a_sync_stores_it(db: Database, parked: Quarantined, shop: Workshop) -> None:
    tally = await run(db, parked.account, shop)

    assert (tally.released, tally.counts.parked) == (COUNT, 0)
    assert await rows(db) == []
    await assert_equal(db, parked.account, parked.server)
    assert len(await added(db, parked.account)) == COUNT
    kinds = [kind for kind, _ in await heard(db, parked.account)]
    assert kinds == ["sync.parked"] * COUNT + ["sync.released"] * COUNT
    assert await blobs(db) == [COUNT, COUNT]


async def test_the_next_sync_finds_nothing_to_do(db: Database, parked: Quarantined, shop: Workshop) -> None:
    await run(db, parked.account, shop)
    before = await told(db, parked.account)

    counts = (await sync(db, parked.account)).counts
    again = await run(db, parked.account, shop)

    assert (counts.added, counts.removed, counts.flags_changed) == (0, 0, 0)
    assert (again.released, again.counts.total) == (0, 0)
    assert await told(db, parked.account) == before
    await assert_equal(db, parked.account, parked.server)


async def test_what_changed_on_the_server_meanwhile_is_noticed(
    db: Database, parked: Quarantined, shop: Workshop
) -> None:
    """The cursor had moved past these changes while the messages were parked."""
    inbox = parked.server.mailbox.folder("INBOX")
    first, second, *_ = inbox.messages
    inbox.flag(first, {"\\Flagged"})
    inbox.expunge(second)
    await sync(db, parked.account)
    await run(db, parked.account, shop)

    await sync(db, parked.account)

    await assert_equal(db, parked.account, parked.server)


async def test_what_still_cannot_be_stored_stays_parked(
    db: Database, parked: Quarantined, shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write, "add", refused)

    tally = await run(db, parked.account, shop)

    assert (tally.released, tally.counts.parked) == (0, COUNT)
    assert [row["attempts"] for row in await rows(db)] == [2] * COUNT
    assert await blobs(db) == [COUNT, COUNT]
    assert [kind for kind, _ in await heard(db, parked.account)] == ["sync.parked"] * COUNT


async def test_numbers_of_another_validity_are_left_to_the_next_sync(
    db: Database, parked: Quarantined, shop: Workshop
) -> None:
    async with db.transaction(ONE) as conn:
        await conn.execute("UPDATE sync_folder SET validity = validity + 1")

    assert (await run(db, parked.account, shop)).released == 0
    assert len(await rows(db)) == COUNT


async def test_what_waits_without_its_flags_is_left_to_the_server(
    db: Database, parked: Quarantined, shop: Workshop
) -> None:
    """As what an earlier release has parked: it would be stored as unread."""
    async with db.transaction(ONE) as conn:
        await conn.execute("UPDATE sync_parked SET flags = NULL")

    assert (await run(db, parked.account, shop)).released == 0
    await retry_parked(db)
    await sync(db, parked.account)
    await assert_equal(db, parked.account, parked.server)


async def test_mail_too_large_for_memory_is_read_from_a_file(
    db: Database, parked: Quarantined, shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "LARGE", 10)

    await run(db, parked.account, shop)

    await assert_equal(db, parked.account, parked.server)
    assert await blobs(db) == [COUNT, COUNT]


@pytest.mark.slow
async def test_a_release_that_dies_at_any_statement_is_finished_by_the_next(
    db: Database, parked: Quarantined, shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    killer = Killer(monkeypatch)
    statement = 1
    while await killer.until(statement, db, run(db, parked.account, shop)):
        statement += 3
    await run(db, parked.account, shop)

    assert statement > 20
    assert await rows(db) == []
    assert await blobs(db) == [COUNT, COUNT]
    assert len(await added(db, parked.account)) == COUNT
    await sync(db, parked.account)
    await assert_equal(db, parked.account, parked.server)
