"""What a reader walks through beside messages: folders and threads."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from asyncpg import Connection, Record

from postroom.db.sql import Where
from postroom.ids import AccountId, MessageId, TenantId, ThreadId
from postroom.mail.model import NoSuchThread
from postroom.mail.reading import FolderRow, Person, ThreadRow

FOLDERS = """
    SELECT f.public_id, a.public_id AS account, f.path, f.role, f.selectable, NULL::bigint AS messages
      FROM mail_folder f
      JOIN accounts_account a ON a.tenant_id = f.tenant_id AND a.id = f.account_id
     WHERE f.tenant_id = $1 AND {where}
     ORDER BY a.id, f.path
"""
FOLDERS_COUNTED = """
    SELECT f.public_id, a.public_id AS account, f.path, f.role, f.selectable,
           (SELECT count(*) FROM mail_placement p WHERE p.tenant_id = $1 AND p.folder_id = f.id) AS messages
      FROM mail_folder f
      JOIN accounts_account a ON a.tenant_id = f.tenant_id AND a.id = f.account_id
     WHERE f.tenant_id = $1 AND {where}
     ORDER BY a.id, f.path
"""


async def folders(
    conn: Connection, tenant: TenantId, account: AccountId | None, *, counted: bool = False
) -> list[FolderRow]:
    """The folders of one account or of all. Counting reads every placement: a second for a few millions."""
    where = Where(tenant)
    where.given("f.account_id = $?", account)
    found = await conn.fetch(where.into(FOLDERS_COUNTED if counted else FOLDERS), *where.values)
    return [FolderRow(*row) for row in found]


class Position(NamedTuple):
    """Where a page of threads ended."""

    last_at: datetime
    number: ThreadId


THREADS = """
    SELECT t.id, t.public_id, a.public_id AS account, t.subject, t.last_at
      FROM mail_thread t
      JOIN accounts_account a ON a.tenant_id = t.tenant_id AND a.id = t.account_id
     WHERE t.tenant_id = $1 AND t.merged_into IS NULL AND {where}
       AND EXISTS (SELECT FROM mail_message m
                    WHERE m.tenant_id = $1 AND m.thread_id = t.id AND m.unplaced_at IS NULL)
     ORDER BY t.last_at DESC, t.id DESC LIMIT $2
"""
SUMMARIES = """
    SELECT m.thread_id, count(*) AS messages, count(*) FILTER (WHERE NOT m.seen) AS unread,
           bool_or(m.flagged) AS starred,
           (array_agg(m.preview ORDER BY m.received_at DESC, m.id DESC))[1] AS preview,
           (array_agg(DISTINCT ARRAY[m.sender_name, m.sender_address]))[1:$3] AS senders
      FROM mail_message m
     WHERE m.tenant_id = $1 AND m.thread_id = ANY($2::bigint[]) AND m.unplaced_at IS NULL
     GROUP BY m.thread_id
"""
SENDERS = 20
"""Senders of a thread that its row names; a mailing list's thread has hundreds."""


async def threads(
    conn: Connection,
    tenant: TenantId,
    account: AccountId | None,
    *,
    limit: int,
    after: Position | None = None,
) -> list[ThreadRow]:
    """The threads with the newest mail first."""
    where = Where(tenant, limit)
    if after is not None:
        where = Where(tenant, limit, *after)
        where.add("(t.last_at, t.id) < ($3, $4)")
    where.given("t.account_id = $?", account)
    return await _summed_up(conn, tenant, await conn.fetch(where.into(THREADS), *where.values))


THREAD = """
    SELECT w.id, w.public_id, a.public_id AS account, w.subject, w.last_at
      FROM mail_thread t
      JOIN mail_thread w ON w.tenant_id = t.tenant_id AND w.id = coalesce(t.merged_into, t.id)
      JOIN accounts_account a ON a.tenant_id = w.tenant_id AND a.id = w.account_id
     WHERE t.tenant_id = $1 AND t.public_id = $2
"""


async def thread(conn: Connection, tenant: TenantId, public_id: UUID) -> ThreadRow:
    """A thread, or the one that it has become part of. Raises `NoSuchThread`."""
    found = await _summed_up(conn, tenant, await conn.fetch(THREAD, tenant, public_id))
    if not found:
        raise NoSuchThread("There is no such thread.")
    return found[0]


MEMBERS = """
    SELECT id FROM mail_message
     WHERE tenant_id = $1 AND thread_id = $2 AND unplaced_at IS NULL
     ORDER BY received_at, id LIMIT $3
"""


async def members(conn: Connection, tenant: TenantId, thread: ThreadId, most: int) -> list[MessageId]:
    """The messages of a thread that lie somewhere, the oldest first."""
    return [MessageId(row[0]) for row in await conn.fetch(MEMBERS, tenant, thread, most)]


async def _summed_up(conn: Connection, tenant: TenantId, found: Sequence[Record]) -> list[ThreadRow]:
    """Threads with what their messages add up to: those that lie somewhere, as in lists."""
    numbers = [row["id"] for row in found]
    rows = await conn.fetch(SUMMARIES, tenant, numbers, SENDERS) if numbers else []
    sums = {row["thread_id"]: row for row in rows}
    return [_thread(row, sums.get(row["id"])) for row in found]


def _thread(row: Record, sums: Record | None) -> ThreadRow:
    return ThreadRow(
        number=ThreadId(row["id"]),
        id=row["public_id"],
        account=row["account"],
        subject=row["subject"],
        messages=sums["messages"] if sums else 0,
        last_at=row["last_at"],
        unread=sums["unread"] if sums else 0,
        starred=sums["starred"] if sums else False,
        preview=sums["preview"] if sums else "",
        senders=[Person(*sender) for sender in sums["senders"]] if sums else [],
    )
