"""All SQL of search."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from postroom.ids import AccountId, FolderId, MessageId, TenantId

from .compile import Compiled
from .model import Hit, OfAccount, OfFolder, OfMonth, OfSender, Position, Row

REMOVE = "DELETE FROM search_document WHERE tenant_id = $1 AND message_id = ANY($2::bigint[])"
INSERT = """
    INSERT INTO search_document (tenant_id, message_id, account_id, received_at, vector)
    SELECT $1, message_id, account_id, received_at, vector
      FROM unnest($2::bigint[], $3::bigint[], $4::timestamptz[], $5::tsvector[])
        AS row (message_id, account_id, received_at, vector)
"""


async def add(conn: asyncpg.Connection, tenant: TenantId, rows: Sequence[Row]) -> None:
    """Store the words of new mails, to be found as soon as the caller's transaction commits."""
    if rows:
        await conn.execute(
            INSERT,
            tenant,
            [row.message for row in rows],
            [row.account for row in rows],
            [row.received_at for row in rows],
            [row.vector for row in rows],
        )


async def index(conn: asyncpg.Connection, tenant: TenantId, rows: Sequence[Row]) -> None:
    """Store or replace these mails' words, to be found as soon as the caller's transaction commits."""
    await remove(conn, tenant, [row.message for row in rows])
    await add(conn, tenant, rows)


OTHER_WORDS = """
    SELECT r.message_id FROM unnest($2::bigint[], $3::tsvector[]) AS r (message_id, vector)
     WHERE NOT EXISTS (SELECT FROM search_document d
                        WHERE d.tenant_id = $1 AND d.message_id = r.message_id AND d.vector = r.vector)
"""


async def reindex(conn: asyncpg.Connection, tenant: TenantId, rows: Sequence[Row]) -> None:
    """`index`, but only where the words are others than those stored."""
    found = await conn.fetch(OTHER_WORDS, tenant, [row.message for row in rows], [row.vector for row in rows])
    if others := {row["message_id"] for row in found}:
        await index(conn, tenant, [row for row in rows if row.message in others])


async def remove(conn: asyncpg.Connection, tenant: TenantId, messages: Collection[MessageId]) -> None:
    """Forget these mails' words. Deleting a message does so by itself."""
    await conn.execute(REMOVE, tenant, list(messages))


SETTLE = """
    UPDATE search_document SET settled = true
     WHERE tenant_id = $1 AND NOT settled
       AND message_id IN (SELECT message_id FROM search_fresh WHERE tenant_id = $1
                           ORDER BY message_id LIMIT $2 FOR UPDATE SKIP LOCKED)
"""


async def settle(conn: asyncpg.Connection, tenant: TenantId, most: int) -> int:
    """Hand up to `most` of the mails stored since the last time to the index; return how many there were.

    Searches find them before and after. Without it they read every mail of the tenant that waits, about 2 us
    each, so thousands may: the index takes a large batch at a fraction of the price. Whoever removes or
    replaces a mail that is being handed over at that moment gets `Busy`.
    """
    done: str = await conn.execute(SETTLE, tenant, most)
    return int(done.rpartition(" ")[2])


UNSETTLED = "SELECT tenant_id FROM search_unsettled($1)"


async def unsettled(conn: asyncpg.Connection, most: int) -> list[TenantId]:
    """Tenants that `settle` has work for, in any transaction."""
    return [TenantId(row["tenant_id"]) for row in await conn.fetch(UNSETTLED, most)]


@dataclass(frozen=True, slots=True)
class Window:
    """Where a page lies: in the ranking of mails older than `past`, none older than `end`, after `after`."""

    anchor: datetime
    """The time that mails' age is counted from; the same for all pages."""
    past: Position | None = None
    end: Position | None = None
    """The oldest mail of the window; None in the last one, and for a first page, which finds it out."""
    after: tuple[float, datetime, MessageId] | None = None


@dataclass(frozen=True, slots=True)
class Page:
    hits: tuple[Hit, ...]
    ranked: int
    """Matches in the window."""
    matched: int
    """In the window and older than it, counted up to the bound; with `is_cut` only up to its end."""
    is_cut: bool
    """Whether the window ends because enough mails were looked into: what lies beyond is not known."""
    newest: Position | None
    """The first match of the window; None when there is none."""
    end: Position | None
    """The oldest mail that the window covers; None when nothing older can match."""


MATCHES = """
    WITH matches AS MATERIALIZED (
        SELECT * FROM search_matches($1, $2::text::tsquery, $3::text::tsquery, $4::text::tsquery,
                                     $5::text::tsquery, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16,
                                     $17, $18, $19, $20)
    ), told AS (
        SELECT matched, is_cut, end_at, end_id, received_at AS newest_at, message_id AS newest_id,
               (SELECT count(message_id) FROM matches) AS ranked
          FROM matches ORDER BY received_at DESC, message_id DESC LIMIT 1
    )
    SELECT told.*, page.message_id, page.received_at, page.score
      FROM told
      LEFT JOIN LATERAL (
          SELECT message_id, received_at, score
            FROM matches
           WHERE message_id IS NOT NULL
             AND ($21::float8 IS NULL OR (score, received_at, message_id) < ($21, $22, $23))
           ORDER BY score DESC, received_at DESC, message_id DESC
           LIMIT $24
      ) page ON true
     ORDER BY page.score DESC, page.received_at DESC, page.message_id DESC
"""
COUNTED = 10_000
"""Totals are exact up to this, if the index answers alone."""
LOOKED = 500
"""Mails that a window looks into at most, where the index cannot answer alone: the newest that it finds."""
RANKED = 250
"""Matches of a window, the newest ones: these are ranked."""
GROWTH = 8
"""How many times as many a window may hold on its later pages: old mail comes while somebody pages.

Were the oldest pushed out by that, they would be shown again in the next window.
"""


async def matches(
    conn: asyncpg.Connection,
    tenant: TenantId,
    query: Compiled,
    window: Window,
    limit: int,
    *,
    ranked: int | None = None,
) -> Page:
    """One page of what matches. PostgreSQL counts one more than COUNTED, to know whether there are more."""
    if query.narrow is None:
        return Page((), 0, 0, is_cut=False, newest=None, end=None)
    grown = 1 if window.after is None else GROWTH
    rows = await conn.fetch(
        MATCHES,
        tenant,
        query.loose,
        query.narrow,
        query.exact,
        query.words,
        query.times,
        query.sizes,
        query.seen,
        query.flagged,
        query.folders,
        query.since,
        query.until,
        *(window.past or (None, None)),
        *(window.end or (None, None)),
        window.anchor,
        COUNTED + 1,
        LOOKED * grown,
        (RANKED if ranked is None else ranked) * grown,
        *(window.after or (None, None, None)),
        limit,
    )
    told = rows[0]
    return Page(
        tuple(
            Hit(MessageId(row["message_id"]), row["received_at"], row["score"])
            for row in rows
            if row["message_id"] is not None
        ),
        told["ranked"],
        told["matched"],
        told["is_cut"],
        _position(told["newest_at"], told["newest_id"]),
        _position(told["end_at"], told["end_id"]),
    )


def _position(at: datetime | None, message: int | None) -> Position | None:
    return None if at is None or message is None else (at, MessageId(message))


FOLDERS = "SELECT id, path, delimiter, role FROM mail_folder WHERE tenant_id = $1"


@dataclass(frozen=True, slots=True)
class FolderName:
    id: FolderId
    path: str
    delimiter: str | None
    role: str | None


async def folders(conn: asyncpg.Connection, tenant: TenantId) -> list[FolderName]:
    """Every folder of the tenant, to be matched with the names in a query."""
    return [FolderName(*row) for row in await conn.fetch(FOLDERS, tenant)]


ACCOUNTS = "SELECT id, address FROM accounts_account WHERE tenant_id = $1"


async def accounts(conn: asyncpg.Connection, tenant: TenantId) -> list[tuple[AccountId, str]]:
    """Every account of the tenant and its address."""
    return [(AccountId(row["id"]), row["address"]) for row in await conn.fetch(ACCOUNTS, tenant)]


TEXTS = """
    SELECT message_id, left(body, $3) AS body
      FROM mail_text
     WHERE tenant_id = $1 AND message_id = ANY($2::bigint[])
"""
EXCERPT = 20_000
"""Characters of a text in which a snippet is looked for."""


async def texts(
    conn: asyncpg.Connection, tenant: TenantId, messages: Sequence[MessageId]
) -> dict[MessageId, str]:
    """The first EXCERPT characters of what these mails say."""
    rows = await conn.fetch(TEXTS, tenant, messages, EXCERPT)
    return {MessageId(row["message_id"]): row["body"] for row in rows}


SHOWN = 100
"""Values of a facet, those that most matches have; months are the latest ones."""
OF_ACCOUNTS = """
    SELECT a.public_id, a.address, count(*) AS count
      FROM mail_message m
      JOIN accounts_account a ON a.tenant_id = m.tenant_id AND a.id = m.account_id
     WHERE m.tenant_id = $1 AND m.id = ANY($2::bigint[])
     GROUP BY a.id
     ORDER BY count DESC, a.id LIMIT $3
"""
OF_FOLDERS = """
    SELECT f.public_id, a.public_id AS account, f.path, f.role, count(DISTINCT p.message_id) AS count
      FROM mail_placement p
      JOIN mail_folder f ON f.tenant_id = p.tenant_id AND f.id = p.folder_id
      JOIN accounts_account a ON a.tenant_id = f.tenant_id AND a.id = f.account_id
     WHERE p.tenant_id = $1 AND p.message_id = ANY($2::bigint[])
     GROUP BY f.id, a.id
     ORDER BY count DESC, f.path, f.id LIMIT $3
"""
OF_SENDERS = """
    SELECT m.sender_address, (array_agg(m.sender_name ORDER BY m.received_at DESC, m.id DESC))[1] AS name,
           count(*) AS count
      FROM mail_message m
     WHERE m.tenant_id = $1 AND m.id = ANY($2::bigint[])
     GROUP BY m.sender_address
     ORDER BY count DESC, m.sender_address LIMIT $3
"""
OF_MONTHS = """
    SELECT to_char(m.received_at, 'YYYY-MM') AS month, count(*) AS count
      FROM mail_message m
     WHERE m.tenant_id = $1 AND m.id = ANY($2::bigint[])
     GROUP BY month
     ORDER BY month DESC LIMIT $3
"""


async def of_accounts(
    conn: asyncpg.Connection, tenant: TenantId, messages: Sequence[MessageId]
) -> list[OfAccount]:
    return [OfAccount(*row) for row in await conn.fetch(OF_ACCOUNTS, tenant, messages, SHOWN)]


async def of_folders(
    conn: asyncpg.Connection, tenant: TenantId, messages: Sequence[MessageId]
) -> list[OfFolder]:
    return [OfFolder(*row) for row in await conn.fetch(OF_FOLDERS, tenant, messages, SHOWN)]


async def of_senders(
    conn: asyncpg.Connection, tenant: TenantId, messages: Sequence[MessageId]
) -> list[OfSender]:
    return [OfSender(*row) for row in await conn.fetch(OF_SENDERS, tenant, messages, SHOWN)]


async def of_months(
    conn: asyncpg.Connection, tenant: TenantId, messages: Sequence[MessageId]
) -> list[OfMonth]:
    return [OfMonth(*row) for row in await conn.fetch(OF_MONTHS, tenant, messages, SHOWN)]
