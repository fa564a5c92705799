"""Bring what is stored of mail up to date with what reading it again gives. The caller's transaction.

Every statement writes only where something differs, and says where it did.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from asyncpg import Connection

from postroom.ids import AccountId, MessageId, TenantId
from postroom.mail.model import PARSER, Kept

from . import rows, threads

OUTDATED = """
    SELECT id, digest, size, received_at FROM mail_message
     WHERE tenant_id = $1 AND account_id = $2 AND parser < $3 AND (received_at, id) < ($4, $5)
     ORDER BY received_at DESC, id DESC LIMIT $6
"""
COUNT = "SELECT count(*) FROM mail_message WHERE tenant_id = $1 AND account_id = $2 AND parser < $3"
UPDATE = """
    UPDATE mail_message m
       SET message_id = n.message_id, subject = n.subject, sender_name = n.sender_name,
           sender_address = n.sender_address, recipients = n.recipients, sent_at = n.sent_at,
           preview = n.preview, list_id = n.list_id, attachments = n.attachments,
           defects = string_to_array(n.defects, ' '), parser = $2
      FROM unnest($3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], $8::jsonb[],
                  $9::timestamptz[], $10::text[], $11::text[], $12::int[], $13::text[])
        AS n (id, message_id, subject, sender_name, sender_address, recipients, sent_at, preview, list_id,
              attachments, defects)
     WHERE m.tenant_id = $1 AND m.id = n.id
       AND (m.message_id, m.subject, m.sender_name, m.sender_address, m.recipients, m.sent_at, m.preview,
            m.list_id, m.attachments, m.defects)
           IS DISTINCT FROM
           (n.message_id, n.subject, n.sender_name, n.sender_address, n.recipients, n.sent_at, n.preview,
            n.list_id, n.attachments, string_to_array(n.defects, ' '))
    RETURNING m.id
"""
MARK = "UPDATE mail_message SET parser = $3 WHERE tenant_id = $1 AND id = ANY($2) AND parser <> $3"
EMPTY = "DELETE FROM mail_text WHERE tenant_id = $1 AND message_id = ANY($2) RETURNING message_id"
TEXTS = """
    INSERT INTO mail_text (tenant_id, message_id, body)
    SELECT $1, t.message_id, t.body FROM unnest($2::bigint[], $3::text[]) AS t (message_id, body)
    ON CONFLICT (message_id) DO UPDATE SET body = excluded.body WHERE mail_text.body <> excluded.body
    RETURNING message_id
"""
OTHER_ATTACHMENTS = """
    WITH new AS (
        SELECT a.* FROM unnest($3::bigint[], $4::int[], $5::text[], $6::text[], $7::bigint[], $8::text[],
                               $9::text[], $10::bigint[], $11::bigint[], $12::text[]) AS a
    ), old AS (
        SELECT message_id, number, name, content_type, size, content_id, disposition, first_byte, past_byte,
               encoding
          FROM mail_attachment WHERE tenant_id = $1 AND message_id = ANY($2)
    )
    SELECT message_id FROM (TABLE new EXCEPT TABLE old) AS more (message_id)
     UNION
    SELECT message_id FROM (TABLE old EXCEPT TABLE new) AS less
"""
DROP_ATTACHMENTS = "DELETE FROM mail_attachment WHERE tenant_id = $1 AND message_id = ANY($2)"
PUBLIC = "SELECT id, public_id FROM mail_message WHERE tenant_id = $1 AND id = ANY($2) ORDER BY id"


@dataclass(frozen=True, slots=True)
class Source:
    """A stored message and where its bytes are."""

    id: MessageId
    digest: bytes
    size: int
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Again:
    """A stored message that was read again."""

    id: MessageId
    received_at: datetime
    kept: Kept


async def outdated(
    conn: Connection,
    tenant: TenantId,
    account: AccountId,
    *,
    below: int,
    before: tuple[datetime, MessageId],
    limit: int,
) -> list[Source]:
    """Messages that a parser older than `below` read, the newest first, from those received before."""
    return [Source(*row) for row in await conn.fetch(OUTDATED, tenant, account, below, *before, limit)]


async def count(conn: Connection, tenant: TenantId, account: AccountId, *, below: int) -> int:
    """How many messages a parser older than `below` read."""
    number: int = await conn.fetchval(COUNT, tenant, account, below)
    return number


async def rewrite(
    conn: Connection, tenant: TenantId, account: AccountId, again: Sequence[Again]
) -> list[UUID]:
    """Store what reading these again gave; return the public ids of those of which something differed."""
    await threads.rename(conn, tenant, again)
    messages = [_message(mail) for mail in again]
    updated = await conn.fetch(UPDATE, tenant, PARSER, *zip(*messages, strict=True))
    different = {row["id"] for row in updated}
    different |= await _texts(conn, tenant, again)
    different |= await _attachments(conn, tenant, again)
    different |= await threads.regroup(conn, tenant, account, again)
    await conn.execute(MARK, tenant, [mail.id for mail in again], PARSER)
    return [row["public_id"] for row in await conn.fetch(PUBLIC, tenant, list(different))]


async def _texts(conn: Connection, tenant: TenantId, again: Sequence[Again]) -> set[MessageId]:
    empty = [mail.id for mail in again if not mail.kept.text]
    texts = [(mail.id, mail.kept.text) for mail in again if mail.kept.text]
    changed = await conn.fetch(EMPTY, tenant, empty) if empty else []
    if texts:
        changed = [*changed, *await conn.fetch(TEXTS, tenant, *zip(*texts, strict=True))]
    return {row["message_id"] for row in changed}


async def _attachments(conn: Connection, tenant: TenantId, again: Sequence[Again]) -> set[MessageId]:
    attachments = [(mail.id, *columns) for mail in again for columns in mail.kept.attachments]
    arrays = list(zip(*attachments, strict=True)) or [()] * 10
    found = await conn.fetch(OTHER_ATTACHMENTS, tenant, [mail.id for mail in again], *arrays)
    different = {row["message_id"] for row in found}
    if different:
        await conn.execute(DROP_ATTACHMENTS, tenant, list(different))
    if fresh := [row for row in attachments if row[0] in different]:
        await conn.execute(rows.ATTACHMENTS, tenant, *zip(*fresh, strict=True))
    return different


def _message(mail: Again) -> tuple[object, ...]:
    kept = mail.kept
    return (
        mail.id,
        kept.message_id,
        kept.subject,
        kept.sender_name,
        kept.sender_address,
        kept.recipients,
        kept.sent_at,
        kept.preview,
        kept.list_id,
        len(kept.attachments),
        kept.defects,
    )
