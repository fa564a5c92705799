"""What reading stored mail again changes, and what it leaves alone."""

import itertools
import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from servers.copies import Copy
from servers.tenants import ANNS, ONE
from sync.killing import Killer

from postroom.accounts import store as accounts
from postroom.accounts.model import Account
from postroom.blobs import store as blobs
from postroom.db import leases
from postroom.db.model import LeaseHeld
from postroom.db.pool import Database
from postroom.events import log
from postroom.events.model import stream_of
from postroom.ids import AccountId, TenantId
from postroom.lab.mails import mail
from postroom.mail.model import PARSER
from postroom.mail.threads import key
from postroom.sync import reread as reading
from postroom.sync.reread import Tally, reread
from postroom.sync.workshop import Workshop, workshop

pytestmark = pytest.mark.usefixtures("tenants")

STORED = """
    SELECT m.*, t.body, a.parts, d.vector::text AS vector, h.subject AS thread_subject,
           h.messages AS thread_messages, h.last_at
      FROM mail_message m
      JOIN mail_thread h ON h.id = m.thread_id
      LEFT JOIN mail_text t ON t.message_id = m.id
      LEFT JOIN search_document d ON d.message_id = m.id
      LEFT JOIN LATERAL (SELECT array_agg(x::text ORDER BY x.number) AS parts
                           FROM mail_attachment x WHERE x.message_id = m.id) AS a ON true
     ORDER BY m.id
"""
REFERENCES = "SELECT key, thread_id FROM mail_reference ORDER BY key"
OLD = "UPDATE mail_message SET parser = 0"
PLAIN = b"From: a@b.example\r\nSubject: plain\r\nMessage-ID: <plain@b.example>\r\n\r\nWords to be found.\r\n"
REPLY = (
    b"From: c@b.example\r\nSubject: Re: plain\r\nMessage-ID: <reply@b.example>\r\n"
    b"In-Reply-To: <plain@b.example>\r\n\r\nYes.\r\n"
)
ATTACHED = (
    b"From: a@b.example\r\nSubject: attached\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: multipart/mixed; boundary=x\r\n\r\n"
    b"--x\r\nContent-Type: text/plain\r\n\r\nSee there.\r\n"
    b"--x\r\nContent-Type: application/pdf; name=a.pdf\r\nContent-Disposition: attachment\r\n"
    b"Content-Transfer-Encoding: base64\r\n\r\nQUJD\r\n--x--\r\n"
)
EMPTY = b"From: a@b.example\r\nMessage-ID: <empty@b.example>\r\n\r\n"
MAILS = (PLAIN, REPLY, ATTACHED, EMPTY, *(mail(7, number) for number in range(4)))

DAMAGE = {
    "subject": "UPDATE mail_message SET subject = 'damaged' WHERE id = $1",
    "sender": "UPDATE mail_message SET sender_address = '', sender_name = 'x' WHERE id = $1",
    "recipients": "UPDATE mail_message SET recipients = '{}' WHERE id = $1",
    "ids and date": "UPDATE mail_message SET message_id = NULL, sent_at = NULL, list_id = 'x' WHERE id = $1",
    "preview and defects": "UPDATE mail_message SET preview = 'x', defects = '{x}' WHERE id = $1",
    "count of attachments": "UPDATE mail_message SET attachments = 9 WHERE id = $1",
    "other text": "UPDATE mail_text SET body = 'x' WHERE message_id = $1",
    "no text": "DELETE FROM mail_text WHERE message_id = $1",
    "no attachment": "DELETE FROM mail_attachment WHERE message_id = $1",
    "other attachment": "UPDATE mail_attachment SET name = NULL WHERE message_id = $1",
    "one attachment more": """
        INSERT INTO mail_attachment
        SELECT tenant_id, id, 7, 'x', 'x/y', 1, NULL, 'inline', 0, 1, '7bit' FROM mail_message WHERE id = $1
    """,
}


@pytest.fixture
async def copy_(copy: Callable[[TenantId, AccountId], Copy]) -> Copy:
    made = copy(ONE, ANNS)
    await made.deliver(*MAILS)
    return made


@pytest.fixture(scope="module")
def shop() -> Iterator[Workshop]:
    with workshop() as made:
        yield made


@pytest.fixture
async def ann(db: Database, copy_: Copy) -> AsyncIterator[Account]:  # noqa: ARG001  # her mail must be there
    async with db.transaction(ONE) as conn:
        yield await accounts.get_by_id(conn, ONE, ANNS)


async def stored(db: Database) -> list[dict[str, Any]]:
    async with db.transaction(ONE) as conn:
        return [dict(row) for row in await conn.fetch(STORED)]


async def references(db: Database) -> list[asyncpg.Record]:
    async with db.transaction(ONE) as conn:
        return list(await conn.fetch(REFERENCES))


async def change(db: Database, *statements: str) -> None:
    async with db.transaction(ONE) as conn:
        for statement in statements:
            await conn.execute(statement)


async def told(db: Database) -> list[str]:
    """The public ids of messages that were told to be other than before."""
    async with db.transaction(ONE) as conn:
        entries = await log.read(conn, ONE, stream_of(ANNS), limit=100_000)
    assert {entry.kind for entry in entries} <= {"mail.reread"}
    return sorted(json.loads(entry.body)["message"] for entry in entries)


async def run(db: Database, account: Account, shop: Workshop, *, everything: bool = False) -> Tally:
    tally = Tally()
    await reread(db, account, shop, tally, everything=everything)
    return tally


async def test_what_the_present_parser_has_read_is_not_read_again(
    db: Database, ann: Account, shop: Workshop
) -> None:
    tally = await run(db, ann, shop)

    assert (tally.counts.total, tally.counts.done, tally.changed) == (0, 0, 0)


async def test_mail_that_reads_the_same_is_marked_and_nobody_is_told(
    db: Database, ann: Account, shop: Workshop
) -> None:
    before = await stored(db)
    await change(db, OLD)

    first, second = await run(db, ann, shop), await run(db, ann, shop)

    assert await stored(db) == before
    assert (first.counts.done, first.changed, first.unreadable) == (len(MAILS), 0, 0)
    assert second.counts.done == 0
    assert await told(db) == []


@pytest.mark.parametrize("what", DAMAGE)
async def test_what_differs_is_stored_and_told(db: Database, ann: Account, shop: Workshop, what: str) -> None:
    before = await stored(db)
    damaged = before[2 if "attachment" in what else 0]
    async with db.transaction(ONE) as conn:
        await conn.execute(DAMAGE[what], damaged["id"])
    assert await stored(db) != before
    await change(db, OLD)

    tally = await run(db, ann, shop)

    assert await stored(db) == before
    assert tally.changed == 1
    assert await told(db) == [str(damaged["public_id"])]


async def test_text_where_there_should_be_none_goes(db: Database, ann: Account, shop: Workshop) -> None:
    before = await stored(db)
    await change(
        db, OLD, "INSERT INTO mail_text SELECT tenant_id, id, 'x' FROM mail_message WHERE subject = ''"
    )

    await run(db, ann, shop)

    assert await stored(db) == before
    assert await told(db) == [str(before[3]["public_id"])]


async def test_words_are_made_anew_without_telling(db: Database, ann: Account, shop: Workshop) -> None:
    """They are how mail is found, and no part of what is read of it."""
    before = await stored(db)
    await change(
        db,
        OLD,
        "UPDATE search_document SET vector = ''::tsvector",
        "DELETE FROM search_document WHERE message_id % 2 = 0",
    )

    await run(db, ann, shop)

    assert await stored(db) == before
    assert await told(db) == []


async def test_all_mail_can_be_read_again_whoever_read_it(db: Database, ann: Account, shop: Workshop) -> None:
    before = await stored(db)
    await change(db, "UPDATE mail_message SET preview = 'x'")

    assert (await run(db, ann, shop)).changed == 0
    tally = await run(db, ann, shop, everything=True)

    assert tally.changed == tally.counts.done == len(MAILS)
    assert await stored(db) == before


async def test_reading_all_again_goes_on_where_it_stopped(
    db: Database, ann: Account, shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "BATCH_MESSAGES", 2)
    before = await stored(db)
    newest = sorted(before, key=lambda row: row["received_at"], reverse=True)
    reached = newest[3]
    async with db.transaction(ONE) as conn:
        row = "INSERT INTO sync_reread VALUES ($1, $2, $3, $4)"
        await conn.execute(row, ONE, ANNS, reached["received_at"], reached["id"])

    first = await run(db, ann, shop, everything=True)
    second = await run(db, ann, shop, everything=True)

    assert first.counts.done == len(MAILS) - 4
    assert second.counts.done == len(MAILS)


async def test_a_mail_of_another_thread_leaves_the_wrong_one(
    db: Database, ann: Account, shop: Workshop
) -> None:
    """The old parser had taken an id of one mail for that of another, and so joined two conversations."""
    before, pointers = await stored(db), await references(db)
    plain, other = before[0], before[4]
    async with db.transaction(ONE) as conn:
        await conn.execute("DELETE FROM mail_reference WHERE thread_id = $1", other["thread_id"])
        await conn.execute("DELETE FROM mail_thread WHERE id = $1", other["thread_id"])
        await conn.execute(
            "UPDATE mail_message SET thread_id = $1 WHERE id = $2", plain["thread_id"], other["id"]
        )
        await conn.execute(
            "UPDATE mail_thread SET messages = messages + 1, last_at = $2 WHERE id = $1",
            plain["thread_id"],
            other["received_at"],
        )
    await change(db, OLD)

    await run(db, ann, shop)

    after = await stored(db)
    fresh = after[4]["thread_id"]
    assert fresh not in {row["thread_id"] for row in before}
    assert [
        row | {"thread_id": other["thread_id"]} if row["id"] == other["id"] else row for row in after
    ] == before
    assert [
        (row["key"], other["thread_id"] if row["thread_id"] == fresh else row["thread_id"])
        for row in await references(db)
    ] == [tuple(row) for row in pointers]
    assert await told(db) == [str(other["public_id"])]


async def test_conversations_that_prove_to_be_one_are_joined(
    db: Database, ann: Account, shop: Workshop
) -> None:
    """The old parser had overlooked what the reply answers."""
    before = await stored(db)
    plain, reply = before[:2]
    assert plain["thread_id"] == reply["thread_id"]
    async with db.transaction(ONE) as conn:
        await conn.execute(
            """INSERT INTO mail_thread OVERRIDING SYSTEM VALUE
               SELECT tenant_id, 4711, account_id, gen_random_uuid(), NULL, 'Re: plain', 1, $2
                 FROM mail_thread WHERE id = $1""",
            plain["thread_id"],
            reply["received_at"],
        )
        await conn.execute("UPDATE mail_message SET thread_id = 4711 WHERE id = $1", reply["id"])
        await conn.execute(
            "UPDATE mail_thread SET messages = 1, last_at = $2 WHERE id = $1",
            plain["thread_id"],
            plain["received_at"],
        )
        await conn.execute(
            "UPDATE mail_reference SET thread_id = 4711 WHERE key = $1", UUID(key("<reply@b.example>"))
        )
    await change(db, OLD)

    await run(db, ann, shop)

    after = await stored(db)
    assert after[0]["thread_id"] == after[1]["thread_id"]
    assert (after[0]["thread_messages"], after[0]["last_at"]) == (2, reply["received_at"])
    assert len(await told(db)) == 1


async def test_content_that_is_damaged_or_gone_is_left_alone_and_counted(
    db: Database, ann: Account, shop: Workshop
) -> None:
    before = await stored(db)
    async with db.transaction(ONE) as conn:
        await conn.execute("UPDATE mail_message SET digest = $2 WHERE id = $1", before[0]["id"], bytes(32))
        await blobs.release(conn, ONE, [before[1]["digest"]])
    await change(db, OLD)

    tally = await run(db, ann, shop)

    assert (tally.counts.done, tally.changed, tally.unreadable) == (len(MAILS), 0, 2)
    parsers = [row["parser"] for row in await stored(db)]
    assert parsers == [0, 0, *[PARSER] * (len(MAILS) - 2)]


async def test_mail_too_large_for_memory_is_read_from_a_file(
    db: Database, ann: Account, shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "LARGE", 10)
    before = await stored(db)
    await change(db, OLD, "UPDATE mail_message SET preview = 'x'")

    await run(db, ann, shop)

    assert await stored(db) == before


async def test_while_an_account_is_synced_its_mail_is_not_read_again(
    db: Database, ann: Account, shop: Workshop
) -> None:
    async with leases.holding(db, ONE, f"sync.account:{ANNS}"):
        with pytest.raises(LeaseHeld):
            await run(db, ann, shop)


@pytest.mark.slow
async def test_reading_again_that_dies_at_any_statement_is_finished_by_the_next(
    db: Database, ann: Account, shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "BATCH_MESSAGES", 3)
    before = await stored(db)
    killer = Killer(monkeypatch)
    told_before = 0
    for everything in (False, True):
        for statement in itertools.count(1 + everything, 3):
            await change(db, OLD, "UPDATE mail_message SET preview = 'x'", "DELETE FROM mail_text")
            died = await killer.until(statement, db, run(db, ann, shop, everything=everything))
            await run(db, ann, shop, everything=everything)
            assert await stored(db) == before
            told_now = await told(db)
            assert len(told_now) - told_before == len(MAILS)  # each once, whenever it died
            told_before = len(told_now)
            assert (await run(db, ann, shop)).counts.done == 0
            if not died:
                break
        assert statement > 40
