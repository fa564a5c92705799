"""Rows of new messages, written in bulk."""

from collections.abc import Sequence

from asyncpg import Connection

from postroom.ids import AccountId, TenantId, ThreadId
from postroom.mail.model import PARSER, Added

MESSAGES = """
    INSERT INTO mail_message
           (tenant_id, account_id, id, public_id, thread_id, digest, size, message_id, subject, sender_name,
            sender_address, recipients, sent_at, received_at, preview, list_id, attachments, seen, flagged,
            answered, draft, defects, parser, object_id)
    OVERRIDING SYSTEM VALUE
    SELECT $1, $2, m.id, m.public_id, m.thread_id, m.digest, m.size, m.message_id, m.subject, m.sender_name,
           m.sender_address, m.recipients, m.sent_at, m.received_at, m.preview, m.list_id, m.attachments,
           '\\Seen' = ANY(f.flags), '\\Flagged' = ANY(f.flags), '\\Answered' = ANY(f.flags),
           '\\Draft' = ANY(f.flags), string_to_array(m.defects, ' '), $3, m.object_id
      FROM unnest($4::bigint[], $5::uuid[], $6::bigint[], $7::bytea[], $8::bigint[], $9::text[], $10::text[],
                  $11::text[], $12::text[], $13::jsonb[], $14::timestamptz[], $15::timestamptz[], $16::text[],
                  $17::text[], $18::int[], $19::text[], $20::text[], $21::text[])
        AS m (id, public_id, thread_id, digest, size, message_id, subject, sender_name, sender_address,
              recipients, sent_at, received_at, preview, list_id, attachments, flags, defects, object_id),
           LATERAL (SELECT string_to_array(m.flags, ' ') AS flags) AS f
"""
TEXTS = """
    INSERT INTO mail_text (tenant_id, message_id, body)
    SELECT $1, t.message_id, t.body FROM unnest($2::bigint[], $3::text[]) AS t (message_id, body)
"""
ATTACHMENTS = """
    INSERT INTO mail_attachment (tenant_id, message_id, number, name, content_type, size, content_id,
                                 disposition, first_byte, past_byte, encoding)
    SELECT $1, a.* FROM unnest($2::bigint[], $3::int[], $4::text[], $5::text[], $6::bigint[], $7::text[],
                               $8::text[], $9::bigint[], $10::bigint[], $11::text[]) AS a
"""


async def insert_messages(
    conn: Connection, tenant: TenantId, account: AccountId, new: Sequence[Added], threads: Sequence[ThreadId]
) -> None:
    """Write messages with their texts and attachments; `threads` tells the thread of each."""
    messages = [_message(mail, thread) for mail, thread in zip(new, threads, strict=True)]
    await conn.execute(MESSAGES, tenant, account, PARSER, *zip(*messages, strict=True))
    texts = [(mail.id, mail.incoming.kept.text) for mail in new if mail.incoming.kept.text]
    if texts:
        await conn.execute(TEXTS, tenant, *zip(*texts, strict=True))
    attachments = [(mail.id, *columns) for mail in new for columns in mail.incoming.kept.attachments]
    if attachments:
        await conn.execute(ATTACHMENTS, tenant, *zip(*attachments, strict=True))


def _message(mail: Added, thread: ThreadId) -> tuple[object, ...]:
    incoming, kept = mail.incoming, mail.incoming.kept
    return (
        mail.id,
        mail.public_id,
        thread,
        incoming.digest,
        incoming.size,
        kept.message_id,
        kept.subject,
        kept.sender_name,
        kept.sender_address,
        kept.recipients,
        kept.sent_at,
        incoming.received_at,
        kept.preview,
        kept.list_id,
        len(kept.attachments),
        " ".join(sorted(incoming.flags)),
        kept.defects,
        incoming.object_id,
    )
