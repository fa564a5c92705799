"""Threads of messages that were read again: other Message-IDs lead elsewhere. The caller's transaction.

Which ids a message had before is not stored, and need not be: while one of those that it has now leads to its
thread, it stays there, and joins what the others lead to. When none does, something else had been read out of
it, and it leaves.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from asyncpg import Connection

from postroom.ids import AccountId, MessageId, TenantId, ThreadId, new_public_id
from postroom.mail.model import Kept

from .write import GROW_THREADS, MERGE_MESSAGES, MERGE_THREADS, POINT, THREAD_NUMBERS, THREADS

RENAME = """
    WITH named AS (
        SELECT DISTINCT ON (m.thread_id) m.thread_id, n.subject
          FROM unnest($2::bigint[], $3::text[]) AS n (id, subject)
          JOIN mail_message m ON m.tenant_id = $1 AND m.id = n.id
          JOIN mail_thread t ON t.tenant_id = $1 AND t.id = m.thread_id AND t.subject = m.subject
         WHERE m.subject <> n.subject
         ORDER BY m.thread_id, m.received_at, m.id
    )
    UPDATE mail_thread t SET subject = named.subject
      FROM named WHERE t.tenant_id = $1 AND t.id = named.thread_id
"""
CURRENT = """
    SELECT m.id, m.thread_id, t.messages
      FROM mail_message m JOIN mail_thread t ON t.tenant_id = m.tenant_id AND t.id = m.thread_id
     WHERE m.tenant_id = $1 AND m.id = ANY($2)
"""
LEAVE = """
    WITH moved AS (UPDATE mail_message SET thread_id = $4 WHERE tenant_id = $1 AND id = $2)
    UPDATE mail_thread t
       SET messages = t.messages - 1,
           last_at = coalesce((SELECT max(m.received_at) FROM mail_message m
                                WHERE m.tenant_id = $1 AND m.thread_id = $3 AND m.id <> $2), t.last_at)
     WHERE t.tenant_id = $1 AND t.id = $3
"""


class Read(Protocol):
    """A stored message that was read again."""

    @property
    def id(self) -> MessageId: ...
    @property
    def received_at(self) -> datetime: ...
    @property
    def kept(self) -> Kept: ...


async def rename(conn: Connection, tenant: TenantId, again: Sequence[Read]) -> None:
    """Name threads anew that are named after one of these. To be called while the old subjects stand."""
    await conn.execute(RENAME, tenant, [mail.id for mail in again], [mail.kept.subject for mail in again])


async def regroup(
    conn: Connection, tenant: TenantId, account: AccountId, again: Sequence[Read]
) -> set[MessageId]:
    """Put messages into the threads that they lead to; return those that have another one now."""
    known = await _led(conn, tenant, account, [key for mail in again for key in mail.kept.keys])
    current = {row["id"]: row for row in await conn.fetch(CURRENT, tenant, [mail.id for mail in again])}
    moved = set()
    for mail in again:
        here = current[mail.id]
        led = {known.get(key) for key in mail.kept.keys}
        is_settled = led == {here["thread_id"]} if led else here["messages"] == 1
        if not is_settled and await _regroup(conn, tenant, account, mail):
            moved.add(mail.id)
    return moved


async def _regroup(conn: Connection, tenant: TenantId, account: AccountId, mail: Read) -> bool:
    """Whether its thread is another one now."""
    [here] = await conn.fetch(CURRENT, tenant, [mail.id])  # others of the batch may have changed it
    known = await _led(conn, tenant, account, mail.kept.keys)
    threads = sorted(set(known.values()))
    stays = here["thread_id"] in threads or (not threads and here["messages"] == 1)
    if not threads:
        threads = [here["thread_id"] if stays else await conn.fetchval(THREAD_NUMBERS, 1)]
    winner, *losers = threads
    if losers:
        await conn.execute(MERGE_MESSAGES, tenant, winner, losers)
        await conn.execute(MERGE_THREADS, tenant, winner, losers)
    if not stays:
        grown = (winner, new_public_id(), mail.kept.subject, 1, mail.received_at)
        await conn.execute(GROW_THREADS, tenant, account, *([value] for value in grown))
        await conn.execute(LEAVE, tenant, mail.id, here["thread_id"], winner)
    if fresh := [key for key in mail.kept.keys if key not in known]:
        await conn.execute(POINT, tenant, account, fresh, [winner] * len(fresh))
    return bool(winner != here["thread_id"])


async def _led(
    conn: Connection, tenant: TenantId, account: AccountId, keys: Sequence[str]
) -> Mapping[str, ThreadId]:
    """The threads that these keys lead to, as far as any do."""
    rows = await conn.fetch(THREADS, tenant, account, list(set(keys))) if keys else []
    return {row["key"].hex: row["thread_id"] for row in rows}
