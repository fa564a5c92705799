"""What a reader asks: lists of messages, and one of them.

Lists walk an index in their own order from a position on, so a page costs the same at the start and after a
million rows. Two filters need more thought: see `_in_folders` and `_sent_by`.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import LiteralString, NamedTuple
from uuid import UUID

from asyncpg import Connection, Record

from postroom.db.sql import Where
from postroom.ids import AccountId, FolderId, MessageId, TenantId, ThreadId
from postroom.mail.model import NoSuchFolder, NoSuchMessage
from postroom.mail.reading import (
    Content,
    Filters,
    NoSuchAccount,
    NoSuchAttachment,
    Order,
    Person,
    Place,
    Row,
    Sort,
)
from postroom.mail.store import labels
from postroom.mime.model import Attachment

# No joins: to plan one takes longer than to look up fifty accounts and threads.
ROWS = """
    SELECT m.id AS number, m.thread_id, m.digest, m.public_id,
           (SELECT a.public_id FROM accounts_account a
             WHERE a.tenant_id = $1 AND a.id = m.account_id) AS account,
           (SELECT t.public_id FROM mail_thread t
             WHERE t.tenant_id = $1 AND t.id = m.thread_id) AS thread,
           m.subject, m.sender_name, m.sender_address,
           CASE WHEN $3::int IS NULL THEN m.recipients ELSE jsonb_build_object('to', jsonb_path_query_array(
               m.recipients, '$.to[0 to $last]', jsonb_build_object('last', $3 - 1))) END AS recipients,
           m.sent_at, m.received_at, m.preview, m.seen, m.flagged, m.answered, m.draft, m.attachments,
           m.size, m.message_id, m.list_id, m.defects
      FROM mail_message m
     WHERE m.tenant_id = $1 AND m.id = ANY($2::bigint[])
"""
PLACES = """
    SELECT p.message_id, f.public_id, f.path, f.role, p.flags
      FROM mail_placement p
      JOIN mail_folder f ON f.tenant_id = p.tenant_id AND f.id = p.folder_id
     WHERE p.tenant_id = $1 AND p.message_id = ANY($2::bigint[])
     ORDER BY f.path
"""
PEOPLE = 50
"""Recipients that a list tells of each mail: strangers choose how many there are, up to thousands."""


async def rows(
    conn: Connection, tenant: TenantId, messages: Sequence[MessageId], people: int | None = PEOPLE
) -> list[Row]:
    """These messages in the order given, without those that are gone. `people` None: with all recipients."""
    if not messages:
        return []
    found = {row["number"]: row for row in await conn.fetch(ROWS, tenant, messages, people)}
    places: dict[int, list[Record]] = defaultdict(list)
    for place in await conn.fetch(PLACES, tenant, messages):
        places[place["message_id"]].append(place)
    return [_row(found[number], places[number]) for number in messages if number in found]


class Position(NamedTuple):
    """Where a page of messages ended."""

    received_at: datetime
    number: MessageId
    sender: str


NEWEST_FIRST = """
    SELECT m.received_at, m.id, '' AS sender FROM mail_message m
     WHERE m.tenant_id = $1 AND {where}
     ORDER BY m.received_at DESC, m.id DESC LIMIT $2 OFFSET $3
"""
OLDEST_FIRST = """
    SELECT m.received_at, m.id, '' AS sender FROM mail_message m
     WHERE m.tenant_id = $1 AND {where}
     ORDER BY m.received_at, m.id LIMIT $2 OFFSET $3
"""
SENDERS_UP = """
    SELECT m.received_at, m.id, m.sender_address AS sender FROM mail_message m
     WHERE m.tenant_id = $1 AND {where}
     ORDER BY m.sender_address, m.received_at, m.id LIMIT $2 OFFSET $3
"""
SENDERS_DOWN = """
    SELECT m.received_at, m.id, m.sender_address AS sender FROM mail_message m
     WHERE m.tenant_id = $1 AND {where}
     ORDER BY m.sender_address DESC, m.received_at DESC, m.id DESC LIMIT $2 OFFSET $3
"""


class Walk(NamedTuple):
    """How a list is read in one order."""

    statement: LiteralString
    later: LiteralString  # what comes after a position, whose parts are $4, $5 and $6
    parts: int  # how many of them it looks at


WALKS = {
    (Sort.DATE, Order.DESCENDING): Walk(NEWEST_FIRST, "(m.received_at, m.id) < ($4, $5)", 2),
    (Sort.DATE, Order.ASCENDING): Walk(OLDEST_FIRST, "(m.received_at, m.id) > ($4, $5)", 2),
    (Sort.SENDER, Order.DESCENDING): Walk(
        SENDERS_DOWN, "(m.sender_address, m.received_at, m.id) < ($6, $4, $5)", 3
    ),
    (Sort.SENDER, Order.ASCENDING): Walk(
        SENDERS_UP, "(m.sender_address, m.received_at, m.id) > ($6, $4, $5)", 3
    ),
}


async def page(
    conn: Connection,
    tenant: TenantId,
    filters: Filters,
    sort: Sort,
    order: Order,
    *,
    limit: int,
    offset: int = 0,
    after: Position | None = None,
) -> list[Position]:
    """The positions of one page of messages; `rows` tells what they are."""
    walk = WALKS[sort, order]
    is_scattered = filters.folders is not None or filters.label is not None
    if is_scattered and walk.statement is NEWEST_FIRST:
        edge = await _edge(conn, tenant, filters, after)
        where = _from(walk, after, tenant, limit, offset)
        _narrow(where, filters)
        where.given("m.received_at >= $?", edge)
        where.given(LIES_IN_ALONG, filters.folders)
        labels.along(where, filters.label)
        found = await conn.fetch(where.into(walk.statement), *where.values)
        if edge is None or len(found) == limit:
            return _positions(found)
    where = _from(walk, after, tenant, limit, offset)
    _narrow(where, filters)
    if filters.folders is not None:
        await _in_folders(conn, tenant, where, filters.folders)
    labels.whole(where, filters.label)
    return _positions(await conn.fetch(where.into(walk.statement), *where.values))


def _from(walk: Walk, after: Position | None, *values: object) -> Where:
    """The list behind a position, or all of it."""
    if after is None:
        return Where(*values)
    where = Where(*values, *after[: walk.parts])
    where.add(walk.later)
    return where


def _positions(found: Sequence[Record]) -> list[Position]:
    return [Position(row["received_at"], MessageId(row["id"]), row["sender"]) for row in found]


NEARBY = 2_000
"""Messages of a list that are looked through for those of a folder or label, before that is read whole."""
EDGE = """
    SELECT m.received_at FROM mail_message m
     WHERE m.tenant_id = $1 AND {where}
     ORDER BY m.received_at DESC, m.id DESC LIMIT $2 OFFSET $3
"""


async def _edge(
    conn: Connection, tenant: TenantId, filters: Filters, after: Position | None
) -> datetime | None:
    """How old the messages are that come NEARBY later, newest first; None: the list ends before."""
    where = _from(WALKS[Sort.DATE, Order.DESCENDING], after, tenant, 1, NEARBY)
    _narrow(where, filters)
    edge: datetime | None = await conn.fetchval(where.into(EDGE), *where.values)
    return edge


COUNT = """
    SELECT count(*) FROM (SELECT FROM mail_message m WHERE m.tenant_id = $1 AND {where} LIMIT $2) AS found
"""
COUNT_IN_FOLDER = """
    SELECT count(*) FROM (
        SELECT DISTINCT message_id FROM mail_placement WHERE tenant_id = $1 AND folder_id = $2 LIMIT $3
    ) AS found
"""
COUNT_IN_FOLDERS = """
    SELECT count(*) FROM (
        SELECT DISTINCT message_id FROM mail_placement
         WHERE tenant_id = $1 AND folder_id = ANY($2::bigint[]) LIMIT $3
    ) AS found
"""


async def count(conn: Connection, tenant: TenantId, filters: Filters, most: int) -> int:
    """How many messages there are, or `most` if there are more."""
    if filters.folders is not None and filters == Filters(folders=filters.folders):
        if len(filters.folders) == 1:  # in the order of an index, which ends where it has counted enough
            return int(await conn.fetchval(COUNT_IN_FOLDER, tenant, filters.folders[0], most))
        return int(await conn.fetchval(COUNT_IN_FOLDERS, tenant, filters.folders, most))
    where = Where(tenant, most)
    _narrow(where, filters)
    if filters.folders is not None:
        where.add(LIES_IN, filters.folders)
    labels.whole(where, filters.label)
    found: int = await conn.fetchval(where.into(COUNT), *where.values)
    return found


def _narrow(where: Where, filters: Filters) -> None:
    """All but the folders and the label."""
    where.add("m.unplaced_at IS NULL")
    where.given("m.account_id = $?", filters.account)
    where.given("m.thread_id = $?", filters.thread)
    where.given("m.received_at >= $?", filters.after)
    where.given("m.received_at < $?", filters.before)
    if filters.read is not None:
        where.add("m.seen" if filters.read else "NOT m.seen")
    if filters.starred is not None:
        where.add("m.flagged" if filters.starred else "NOT m.flagged")
    if filters.has_attachment is not None:
        where.add("m.attachments > 0" if filters.has_attachment else "m.attachments = 0")
    if filters.sender is not None:
        # Stored as the sender wrote it, but for the domain. lower() could not use an index here: it is not
        # leakproof, so row-level security keeps it back.
        local, at, domain = filters.sender.rpartition("@")
        spellings = {filters.sender, local + at + domain.lower(), filters.sender.lower()}
        where.add("m.sender_address = ANY($?::text[])", sorted(spellings))


LIES_IN: LiteralString = (
    "EXISTS (SELECT FROM mail_placement p WHERE p.tenant_id = $1 AND p.message_id = m.id"
    " AND p.folder_id = ANY($?::bigint[]))"
)
# The same, of each message of the list in its turn: the planner would rather read the folder whole and sort.
LIES_IN_ALONG: LiteralString = (
    "(SELECT true FROM mail_placement p WHERE p.tenant_id = $1 AND p.message_id = m.id"
    " AND p.folder_id = ANY($?::bigint[]) LIMIT 1)"
)
FEW = 100_000
LIE_THERE = """
    SELECT count(*) FROM (
        SELECT FROM mail_placement WHERE tenant_id = $1 AND folder_id = ANY($2::bigint[]) LIMIT $3
    ) AS found
"""


async def _in_folders(conn: Connection, tenant: TenantId, where: Where, folders: Sequence[FolderId]) -> None:
    """Small folders are read whole and sorted; large ones are looked for along the list, beyond what is near.

    The planner cannot choose between the two: it does not know which folder it will be.
    """
    if await conn.fetchval(LIE_THERE, tenant, folders, FEW) < FEW:
        where.add(
            "m.id = ANY(ARRAY(SELECT p.message_id FROM mail_placement p"
            " WHERE p.tenant_id = $1 AND p.folder_id = ANY($?::bigint[])))",
            folders,
        )
    else:
        where.add(LIES_IN_ALONG, folders)


NUMBER = "SELECT id FROM mail_message WHERE tenant_id = $1 AND public_id = $2"


async def message(conn: Connection, tenant: TenantId, public_id: UUID) -> Row:
    """With all its recipients. Raises `NoSuchMessage`."""
    number = await conn.fetchval(NUMBER, tenant, public_id)
    found = await rows(conn, tenant, [number] if number else [], people=None)
    if not found:
        raise NoSuchMessage("There is no such message.")
    return found[0]


TEXT = "SELECT body FROM mail_text WHERE tenant_id = $1 AND message_id = $2"
ATTACHMENTS = """
    SELECT number, name, content_type, size, content_id, disposition, first_byte, past_byte, encoding
      FROM mail_attachment
     WHERE tenant_id = $1 AND message_id = $2
     ORDER BY number
"""


async def content(conn: Connection, tenant: TenantId, number: MessageId) -> Content:
    text = await conn.fetchval(TEXT, tenant, number)
    attachments = await conn.fetch(ATTACHMENTS, tenant, number)
    return Content(text or "", [Attachment(*row) for row in attachments])


SOURCE = "SELECT digest, size FROM mail_message WHERE tenant_id = $1 AND public_id = $2"


async def source(conn: Connection, tenant: TenantId, public_id: UUID) -> tuple[bytes, int]:
    """Digest and size of the raw message. Raises `NoSuchMessage`."""
    row = await conn.fetchrow(SOURCE, tenant, public_id)
    if row is None:
        raise NoSuchMessage("There is no such message.")
    return row["digest"], row["size"]


ATTACHMENT = """
    SELECT m.digest, a.number, a.name, a.content_type, a.size, a.content_id, a.disposition,
           a.first_byte, a.past_byte, a.encoding
      FROM mail_message m
      JOIN mail_attachment a ON a.tenant_id = m.tenant_id AND a.message_id = m.id
     WHERE m.tenant_id = $1 AND m.public_id = $2 AND a.number = $3
"""


async def attachment(
    conn: Connection, tenant: TenantId, public_id: UUID, number: int
) -> tuple[bytes, Attachment]:
    """An attachment, and the digest of the raw message that it lies in. Raises `NoSuchAttachment`."""
    row = await conn.fetchrow(ATTACHMENT, tenant, public_id, number)
    if row is None:
        raise NoSuchAttachment("There is no such attachment.")
    digest, *fields = row
    return digest, Attachment(*fields)


ACCOUNT = "SELECT id FROM accounts_account WHERE tenant_id = $1 AND public_id = $2"


async def account(conn: Connection, tenant: TenantId, public_id: UUID) -> AccountId:
    """Raises `NoSuchAccount`."""
    number = await conn.fetchval(ACCOUNT, tenant, public_id)
    if number is None:
        raise NoSuchAccount("There is no such account.")
    return AccountId(number)


FOLDERS_NAMED = """
    SELECT f.id FROM mail_folder f
     WHERE f.tenant_id = $1 AND (f.public_id = $2 OR f.path = $3 OR f.role = $3) AND {where}
"""


async def folders_named(
    conn: Connection, tenant: TenantId, named: str, account: AccountId | None
) -> list[FolderId]:
    """The folders with this id, path or role, in one account or in all. Raises `NoSuchFolder`."""
    where = Where(tenant, _uuid(named), named)
    where.given("f.account_id = $?", account)
    found = [FolderId(row[0]) for row in await conn.fetch(where.into(FOLDERS_NAMED), *where.values)]
    if not found:
        raise NoSuchFolder("There is no such folder.")
    return found


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _row(row: Record, places: Sequence[Record]) -> Row:
    recipients = row["recipients"]
    return Row(
        number=MessageId(row["number"]),
        thread_number=ThreadId(row["thread_id"]),
        digest=row["digest"],
        id=row["public_id"],
        account=row["account"],
        thread=row["thread"],
        subject=row["subject"],
        sender=Person(row["sender_name"], row["sender_address"]),
        to=_people(recipients, "to"),
        cc=_people(recipients, "cc"),
        bcc=_people(recipients, "bcc"),
        reply_to=_people(recipients, "reply_to"),
        sent_at=row["sent_at"],
        received_at=row["received_at"],
        preview=row["preview"],
        read=row["seen"],
        starred=row["flagged"],
        answered=row["answered"],
        draft=row["draft"],
        flags=sorted({flag for place in places for flag in place["flags"]}),
        folders=[Place(place["public_id"], place["path"], place["role"]) for place in places],
        attachment_count=row["attachments"],
        size=row["size"],
        message_id=row["message_id"],
        list_id=row["list_id"],
        defects=row["defects"],
        priority=None,
    )


def _people(recipients: Mapping[str, Sequence[Sequence[str]]], field: str) -> list[Person]:
    return [Person(*pair) for pair in recipients.get(field, ())]
