"""Where messages lie. The caller's transaction, one account at a time.

           settle                      displace
(found)  ─────────> lies in a folder ────────────> lies nowhere ──purge──> gone
                      ^      │ unnumber                 │
                      │      v                          │
                      │   its number is not known       │
                      └──────┴──────────settle──────────┘
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import timedelta
from uuid import UUID

from asyncpg import Connection, Record

from postroom.ids import AccountId, FolderId, MessageId, TenantId
from postroom.mail.identity import Arrived, Found, Leaving, match
from postroom.mail.model import Came, Displaced, Folder, Known, Place, Placed, Purged

KNOWN_CONTENT = """
    SELECT m.id, m.public_id, m.digest AS key, m.size, m.unplaced_from, m.unplaced_flags,
           p.folder_id, f.public_id AS folder, p.uid, p.flags
      FROM mail_message m
      LEFT JOIN mail_placement p ON p.message_id = m.id
      LEFT JOIN mail_folder f ON f.tenant_id = p.tenant_id AND f.id = p.folder_id
     WHERE m.tenant_id = $1 AND m.account_id = $2 AND m.digest = ANY($3)
"""
KNOWN_OBJECTS = """
    SELECT m.id, m.public_id, m.object_id AS key, m.size, m.unplaced_from, m.unplaced_flags,
           p.folder_id, f.public_id AS folder, p.uid, p.flags
      FROM mail_message m
      LEFT JOIN mail_placement p ON p.message_id = m.id
      LEFT JOIN mail_folder f ON f.tenant_id = p.tenant_id AND f.id = p.folder_id
     WHERE m.tenant_id = $1 AND m.account_id = $2 AND m.object_id = ANY($3)
       AND NOT EXISTS (
           SELECT FROM mail_message t JOIN mail_placement here ON here.message_id = t.id
            WHERE t.tenant_id = $1 AND t.account_id = $2 AND t.digest = m.digest AND t.id <> m.id
              AND here.folder_id = $4 AND here.uid < 0)
"""
SETTLE = """
    INSERT INTO mail_placement (tenant_id, folder_id, uid, message_id, flags)
    SELECT $1, $2, p.uid, p.message_id, string_to_array(p.flags, ' ')
      FROM unnest($3::bigint[], $4::bigint[], $5::text[]) AS p (uid, message_id, flags)
"""
LEAVE = """
    DELETE FROM mail_placement p USING unnest($2::bigint[], $3::bigint[]) AS l (folder_id, uid)
     WHERE p.tenant_id = $1 AND p.folder_id = l.folder_id AND p.uid = l.uid
"""
UNNUMBER = """
    UPDATE mail_placement SET uid = -message_id WHERE tenant_id = $1 AND folder_id = $2 AND uid > 0
"""
UNNUMBERED = "SELECT uid FROM mail_placement WHERE tenant_id = $1 AND folder_id = $2 AND uid < 0"
REFRESH = """
    UPDATE mail_message m
       SET seen = now_.seen, flagged = now_.flagged, answered = now_.answered, draft = now_.draft,
           unplaced_at = NULL, unplaced_from = NULL, unplaced_flags = NULL
      FROM (SELECT p.message_id, bool_or('\\Seen' = ANY(p.flags)) AS seen,
                   bool_or('\\Flagged' = ANY(p.flags)) AS flagged,
                   bool_or('\\Answered' = ANY(p.flags)) AS answered,
                   bool_or('\\Draft' = ANY(p.flags)) AS draft
              FROM mail_placement p WHERE p.tenant_id = $1 AND p.message_id = ANY($2)
             GROUP BY p.message_id) AS now_
     WHERE m.tenant_id = $1 AND m.id = now_.message_id
       AND (m.seen, m.flagged, m.answered, m.draft, m.unplaced_at IS NULL)
           IS DISTINCT FROM (now_.seen, now_.flagged, now_.answered, now_.draft, true)
"""
SET_FLAGS = """
    UPDATE mail_placement p SET flags = string_to_array(f.flags, ' ')
      FROM unnest($3::bigint[], $4::text[]) AS f (uid, flags), mail_message m
     WHERE p.tenant_id = $1 AND p.folder_id = $2 AND p.uid = f.uid
       AND m.tenant_id = $1 AND m.id = p.message_id
    RETURNING p.uid, p.message_id, m.public_id
"""
DISPLACE = """
    DELETE FROM mail_placement p USING mail_message m
     WHERE p.tenant_id = $1 AND p.folder_id = $2 AND p.uid = ANY($3)
       AND m.tenant_id = $1 AND m.id = p.message_id
    RETURNING p.uid, p.message_id, m.public_id, array_to_string(p.flags, ' ') AS flags
"""
UNPLACE = """
    UPDATE mail_message m
       SET unplaced_at = now(), unplaced_from = $2, unplaced_flags = string_to_array(d.flags, ' ')
      FROM unnest($3::bigint[], $4::text[]) AS d (message_id, flags)
     WHERE m.tenant_id = $1 AND m.id = d.message_id
       AND NOT EXISTS (SELECT FROM mail_placement p WHERE p.message_id = m.id)
    RETURNING m.id
"""
PURGE = """
    WITH gone AS (
        DELETE FROM mail_message
         WHERE tenant_id = $1 AND id IN (
               SELECT id FROM mail_message
                WHERE tenant_id = $1 AND account_id = $2 AND unplaced_at <= now() - $3::interval
                LIMIT $4)
        RETURNING id, public_id, digest, thread_id
    ), counted AS (
        UPDATE mail_thread t SET messages = t.messages - g.messages
          FROM (SELECT thread_id, count(*) AS messages FROM gone GROUP BY thread_id) AS g
         WHERE t.tenant_id = $1 AND t.id = g.thread_id
    )
    SELECT id, public_id, digest FROM gone
"""
UNPLACED = """
    SELECT count(*) FROM mail_message
     WHERE tenant_id = $1 AND account_id = $2 AND unplaced_at IS NOT NULL
"""


async def known_content(
    conn: Connection, tenant: TenantId, account: AccountId, digests: Sequence[bytes]
) -> list[Known]:
    """The messages of an account with one of these contents."""
    return _known(await conn.fetch(KNOWN_CONTENT, tenant, account, digests))


async def known_objects(
    conn: Connection, tenant: TenantId, account: AccountId, folder: FolderId, objects: Sequence[str]
) -> list[Known]:
    """The messages of an account that its server knows by one of these ids.

    Not those of which an equal one lies in this folder under an unknown number: it may be that one which
    stayed, and its content tells.
    """
    return _known(await conn.fetch(KNOWN_OBJECTS, tenant, account, objects, folder))


async def settle(
    conn: Connection,
    tenant: TenantId,
    folder: Folder,
    arrived: Sequence[tuple[int, Arrived]],
    known: Sequence[Known],
    leaving: Leaving,
) -> list[Placed | None]:
    """Let those of the mails that came, by uid, which we have lie in a folder; None for each that is new."""
    found = match(folder.id, folder.public_id, [mail for _, mail in arrived], known, leaving)
    placed = [
        None if one is None else _placed(uid, mail, one)
        for (uid, mail), one in zip(arrived, found, strict=True)
    ]
    await take_out(conn, tenant, [one.leaves for one in found if one is not None and one.leaves is not None])
    await place(conn, tenant, folder.id, [one for one in placed if one is not None])
    return placed


async def take_out(conn: Connection, tenant: TenantId, places: Sequence[tuple[FolderId, int]]) -> None:
    """Delete placements of messages that are about to get another one."""
    if places:
        await conn.execute(LEAVE, tenant, *zip(*places, strict=True))


async def place(conn: Connection, tenant: TenantId, folder: FolderId, placed: Sequence[Placed]) -> None:
    """Let messages lie in a folder."""
    if not placed:
        return
    rows = [(one.uid, one.id, " ".join(sorted(one.flags))) for one in placed]
    await conn.execute(SETTLE, tenant, folder, *zip(*rows, strict=True))
    if old := [one.id for one in placed if one.came is not Came.ADDED]:
        await conn.execute(REFRESH, tenant, old)


async def unnumber(conn: Connection, tenant: TenantId, folder: FolderId) -> int:
    """Forget under which numbers a folder's messages lie in it; how many lie there under unknown ones now."""
    await conn.execute(UNNUMBER, tenant, folder)
    return len(await unnumbered(conn, tenant, folder))


async def unnumbered(conn: Connection, tenant: TenantId, folder: FolderId) -> list[int]:
    """What stands for the numbers that are not known."""
    return [row[0] for row in await conn.fetch(UNNUMBERED, tenant, folder)]


async def set_flags(
    conn: Connection, tenant: TenantId, folder: FolderId, flags: Mapping[int, frozenset[str]]
) -> dict[int, UUID]:
    """Give these placements new flags; return the public id of the message under each uid that we have."""
    texts = [" ".join(sorted(of)) for of in flags.values()]
    found = await conn.fetch(SET_FLAGS, tenant, folder, list(flags), texts)
    await conn.execute(REFRESH, tenant, [row["message_id"] for row in found])
    return {row["uid"]: row["public_id"] for row in found}


async def displace(
    conn: Connection, tenant: TenantId, folder: Folder, uids: Sequence[int]
) -> list[Displaced]:
    """Take messages out of a folder. One that lies nowhere now waits for `purge`."""
    found = await conn.fetch(DISPLACE, tenant, folder.id, uids)
    flags = {row["message_id"]: row["flags"] for row in found}
    rows = await conn.fetch(UNPLACE, tenant, folder.public_id, list(flags), list(flags.values()))
    unplaced = {row["id"] for row in rows}
    if elsewhere := list(flags.keys() - unplaced):
        await conn.execute(REFRESH, tenant, elsewhere)
    return [
        Displaced(row["message_id"], row["public_id"], row["uid"], row["message_id"] in unplaced)
        for row in found
    ]


async def purge(
    conn: Connection, tenant: TenantId, account: AccountId, after: timedelta = timedelta(), most: int = 1000
) -> list[Purged]:
    """Delete `most` messages that have lain in no folder for so long. The caller releases their blobs."""
    return [Purged(*row) for row in await conn.fetch(PURGE, tenant, account, after, most)]


async def unplaced(conn: Connection, tenant: TenantId, account: AccountId) -> int:
    """How many messages lie nowhere."""
    return int(await conn.fetchval(UNPLACED, tenant, account))


def _known(rows: Sequence[Record]) -> list[Known]:
    first: dict[MessageId, Record] = {}
    places: dict[MessageId, dict[FolderId, Place]] = defaultdict(dict)
    for row in rows:
        first.setdefault(row["id"], row)
        if row["folder_id"] is not None:
            places[row["id"]][row["folder_id"]] = Place(row["folder"], row["uid"], frozenset(row["flags"]))
    return [
        Known(number, row["public_id"], row["key"], row["size"], places[number], _last(row))
        for number, row in first.items()
    ]


def _last(row: Record) -> Place | None:
    if row["unplaced_from"] is None:
        return None
    return Place(row["unplaced_from"], 0, frozenset(row["unplaced_flags"]))


def _placed(uid: int, mail: Arrived, found: Found) -> Placed:
    known = found.known
    return Placed(known.id, known.public_id, uid, mail.flags, found.came, found.before)
