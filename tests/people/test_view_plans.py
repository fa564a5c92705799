"""Simple queries on the views use our indexes, policies and all: what a reader pays is its own mail."""

from collections.abc import AsyncIterator
from itertools import pairwise

import asyncpg
import pytest
from servers.tenants import ONE

from postroom.db import roles
from postroom.db.pool import Database
from postroom.people import readers

MANY = 10_000  # mails of each of two tenants
FILL = """
    INSERT INTO mail_folder (tenant_id, account_id, public_id, name, path)
    SELECT tenant_id, id, gen_random_uuid(), 'INBOX', 'INBOX' FROM accounts_account;
    INSERT INTO mail_thread (tenant_id, account_id, public_id, subject, messages, last_at)
    SELECT a.tenant_id, a.id, gen_random_uuid(), 's', 1, now() - n * interval '1 hour'
      FROM accounts_account a, generate_series(1, {many}) AS n;
    INSERT INTO mail_message
           (tenant_id, account_id, public_id, thread_id, digest, size, subject, sender_name, sender_address,
            recipients, received_at, preview, attachments, seen, flagged, answered, draft, defects, parser)
    SELECT tenant_id, account_id, gen_random_uuid(), id, sha256(id::text::bytea), 1000, 's', 'n',
           'a' || id % 500 || '@example.org', '{{"to": [["n", "t@example.org"]]}}', last_at, 'p',
           (id % 20 = 0)::int, id % 50 > 0, false, false, false, '{{}}', 1
      FROM mail_thread;
    INSERT INTO mail_text (tenant_id, message_id, body) SELECT tenant_id, id, 'text' FROM mail_message;
    INSERT INTO mail_attachment
           (tenant_id, message_id, number, content_type, size, disposition, first_byte, past_byte, encoding)
    SELECT tenant_id, id, 1, 'application/pdf', 1, 'attachment', 0, 1, 'base64'
      FROM mail_message WHERE attachments > 0;
    INSERT INTO mail_placement (tenant_id, folder_id, uid, message_id, flags)
    SELECT m.tenant_id, f.id, m.id, m.id, '{{}}' FROM mail_message m JOIN mail_folder f USING (tenant_id);
    INSERT INTO events_event (tenant_id, stream, seq, position, at, kind, body, hash)
    SELECT tenant_id, account_id, id, id, now(), 'mail.added', '{{}}', '' FROM mail_message;
    ANALYZE
"""
SINCE = "received_at >= now() - interval '2 days'"


@pytest.fixture
async def reader(db: Database, dsn: str, tenants: None) -> AsyncIterator[asyncpg.Connection]:  # noqa: ARG001
    owner = await asyncpg.connect(dsn)
    await owner.execute(FILL.format(many=MANY))
    made = await readers.grant(db, ONE)
    conn = await asyncpg.connect(dsn.replace("//postroom@", f"//{made.role}@"))
    yield conn
    await conn.close()
    await roles.drop_reader(owner, made.role)
    await owner.close()


QUERIES = {
    "of an account since a date": (
        "SELECT id, subject FROM messages WHERE account_id = '{account}' AND {since}",
        "mail_message_account",
    ),
    "since a date": (
        "SELECT date_trunc('day', received_at), count(*) FROM messages WHERE {since} GROUP BY 1",
        "mail_message_",
    ),
    "the newest": ("SELECT * FROM messages ORDER BY received_at DESC LIMIT 20", "mail_message_"),
    "of a sender": (
        "SELECT count(*) FROM messages WHERE sender_address = 'a7@example.org'",
        "mail_message_from",
    ),
    "one": ("SELECT * FROM messages WHERE id = '{message}'", "mail_message_public_id_key"),
    "its text": ("SELECT text FROM texts WHERE message_id = '{message}'", "mail_text_pkey"),
    "attachments since a date": ("SELECT count(*) FROM attachments WHERE {since}", "mail_attachment_pkey"),
    "where a message lies": (
        "SELECT folder_id FROM placements WHERE message_id = '{message}'",
        "mail_placement_message",
    ),
    "who wrote since a date": (
        "SELECT address, count(*) FROM recipients WHERE {since} GROUP BY 1",
        "mail_message_",
    ),
    "the newest threads": ("SELECT * FROM threads ORDER BY last_at DESC LIMIT 20", "mail_thread_newest"),
    "what happened behind a position": (
        "SELECT * FROM events WHERE position > 19900 ORDER BY position",
        "_position_stream_seq_idx",
    ),
}


async def test_simple_queries_read_by_our_indexes(reader: asyncpg.Connection) -> None:
    names = {
        "since": SINCE,
        "account": await reader.fetchval("SELECT id FROM accounts"),
        "message": await reader.fetchval("SELECT id FROM messages LIMIT 1"),
    }
    wrong = []
    for asked, (query, index) in QUERIES.items():
        plan = "\n".join(row[0] for row in await reader.fetch(f"EXPLAIN {query.format(**names)}"))
        if index not in plan or "Seq Scan on mail_" in plan:
            wrong.append(f"{asked}:\n{plan}")

    assert not wrong, "\n\n".join(wrong)


async def test_what_is_not_asked_for_is_not_joined(reader: asyncpg.Connection) -> None:
    plan = "\n".join(row[0] for row in await reader.fetch("EXPLAIN SELECT subject FROM messages"))

    assert "mail_thread" not in plan
    assert "accounts_account" not in plan


async def test_whose_mail_it_is_is_asked_once_for_a_statement(reader: asyncpg.Connection) -> None:
    """A function that is called for each row would cost more than all the rest."""
    plan = await reader.fetch(
        "EXPLAIN (ANALYZE, VERBOSE, COSTS off, TIMING off) SELECT subject FROM messages"
    )
    asking = [(node, line.strip()) for (node,), (line,) in pairwise(plan) if "people_read_by" in line]

    assert {line for _, line in asking} == {"Output: postroom.people_read_by()"}
    assert [node for node, _ in asking if "loops=1)" not in node and "never executed" not in node] == []
