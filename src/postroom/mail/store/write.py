"""What a sync writes: messages, placements, threads. The caller's transaction, one account at a time.

PostgreSQL refuses COPY into tables under row-level security, so rows travel as arrays.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import timedelta
from uuid import UUID

from asyncpg import Connection

from postroom.ids import AccountId, FolderId, MessageId, TenantId, ThreadId, new_public_id
from postroom.mail.identity import match
from postroom.mail.model import Added, Displaced, Incoming, Known, Purged
from postroom.mail.threads import group

from . import rows

KNOWN = """
    SELECT m.id, m.public_id, m.digest, m.unplaced_at IS NOT NULL AS is_unplaced,
           ARRAY(SELECT p.folder_id FROM mail_placement p WHERE p.message_id = m.id) AS folders
      FROM mail_message m
     WHERE m.tenant_id = $1 AND m.account_id = $2 AND m.digest = ANY($3)
"""
THREADS = """
    SELECT r.key, coalesce(t.merged_into, t.id) AS thread_id
      FROM mail_reference r JOIN mail_thread t ON t.tenant_id = r.tenant_id AND t.id = r.thread_id
     WHERE r.tenant_id = $1 AND r.account_id = $2 AND r.key = ANY($3)
"""
MESSAGE_NUMBERS = "SELECT nextval('mail_message_id_seq') FROM generate_series(1, $1)"
THREAD_NUMBERS = "SELECT nextval('mail_thread_id_seq') FROM generate_series(1, $1)"
GROW_THREADS = """
    INSERT INTO mail_thread (tenant_id, account_id, id, public_id, subject, messages, last_at)
    OVERRIDING SYSTEM VALUE
    SELECT $1, $2, t.id, t.public_id, t.subject, t.messages, t.last_at
      FROM unnest($3::bigint[], $4::uuid[], $5::text[], $6::int[], $7::timestamptz[])
        AS t (id, public_id, subject, messages, last_at)
    ON CONFLICT (id) DO UPDATE
       SET messages = mail_thread.messages + excluded.messages,
           last_at = greatest(mail_thread.last_at, excluded.last_at)
"""
MERGE_MESSAGES = "UPDATE mail_message SET thread_id = $2 WHERE tenant_id = $1 AND thread_id = ANY($3)"
MERGE_THREADS = """
    WITH lost AS (
        SELECT sum(messages) AS messages, max(last_at) AS last_at FROM mail_thread
         WHERE tenant_id = $1 AND id = ANY($3)
    ), won AS (
        UPDATE mail_thread t
           SET messages = t.messages + lost.messages, last_at = greatest(t.last_at, lost.last_at)
          FROM lost WHERE t.tenant_id = $1 AND t.id = $2
    )
    UPDATE mail_thread SET merged_into = $2, messages = 0
     WHERE tenant_id = $1 AND (id = ANY($3) OR merged_into = ANY($3))
"""
POINT = """
    INSERT INTO mail_reference (tenant_id, account_id, key, thread_id)
    SELECT $1, $2, r.key, r.thread_id FROM unnest($3::uuid[], $4::bigint[]) AS r (key, thread_id)
    ON CONFLICT DO NOTHING
"""
REFRESH = """
    UPDATE mail_message m
       SET seen = now_.seen, flagged = now_.flagged, answered = now_.answered, draft = now_.draft,
           unplaced_at = NULL
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
    RETURNING p.uid, p.message_id, m.public_id
"""
UNPLACE = """
    UPDATE mail_message m SET unplaced_at = now()
     WHERE m.tenant_id = $1 AND m.id = ANY($2) AND m.unplaced_at IS NULL
       AND NOT EXISTS (SELECT FROM mail_placement p WHERE p.message_id = m.id)
"""
PURGE = """
    WITH gone AS (
        DELETE FROM mail_message
         WHERE tenant_id = $1 AND account_id = $2 AND unplaced_at <= now() - $3::interval
        RETURNING id, public_id, digest, thread_id
    ), counted AS (
        UPDATE mail_thread t SET messages = t.messages - g.messages
          FROM (SELECT thread_id, count(*) AS messages FROM gone GROUP BY thread_id) AS g
         WHERE t.tenant_id = $1 AND t.id = g.thread_id
    )
    SELECT id, public_id, digest FROM gone
"""

FORGET = """
    DELETE FROM mail_message WHERE tenant_id = $1 AND id IN (
        SELECT id FROM mail_message WHERE tenant_id = $1 AND account_id = $2 LIMIT $3
    ) RETURNING digest
"""
ANALYZE = "SELECT mail_analyze()"


async def add(
    conn: Connection, tenant: TenantId, account: AccountId, incoming: Sequence[Incoming]
) -> list[Added]:
    """Store a batch; one answer for each, in order. Content goes to `blobs` beside this, new ones only."""
    known = await _known(conn, tenant, account, [mail.digest for mail in incoming])
    matches = match(incoming, known)
    fresh = [position for position, who in enumerate(matches) if who == position]
    numbers = [row[0] for row in await conn.fetch(MESSAGE_NUMBERS, len(fresh))] if fresh else []
    ids = dict(zip(fresh, numbers, strict=True))
    public = {position: new_public_id() for position in fresh}
    added = [
        Added(mail, who.id, who.public_id, is_new=False, was_unplaced=who.is_unplaced)
        if isinstance(who, Known)
        else Added(mail, MessageId(ids[who]), public[who], is_new=who == position)
        for position, (mail, who) in enumerate(zip(incoming, matches, strict=True))
    ]
    new = [mail for mail in added if mail.is_new]
    if new:
        threads = await _thread(conn, tenant, account, new)
        await rows.insert_messages(conn, tenant, account, new, threads)
    await rows.insert_placements(conn, tenant, added)
    if old := list({mail.id for mail in added} - {mail.id for mail in new if mail.is_new}):
        await conn.execute(REFRESH, tenant, old)
    return added


async def set_flags(
    conn: Connection, tenant: TenantId, folder: FolderId, flags: Mapping[int, frozenset[str]]
) -> dict[int, UUID]:
    """Give these placements new flags; return the public id of the message under each uid that we have."""
    texts = [" ".join(sorted(of)) for of in flags.values()]
    found = await conn.fetch(SET_FLAGS, tenant, folder, list(flags), texts)
    await conn.execute(REFRESH, tenant, [row["message_id"] for row in found])
    return {row["uid"]: row["public_id"] for row in found}


async def displace(
    conn: Connection, tenant: TenantId, folder: FolderId, uids: Sequence[int]
) -> list[Displaced]:
    """Take messages out of a folder. One that lies nowhere now waits for `purge`."""
    found = await conn.fetch(DISPLACE, tenant, folder, uids)
    ids = list({row["message_id"] for row in found})
    await conn.execute(UNPLACE, tenant, ids)
    await conn.execute(REFRESH, tenant, ids)
    return [Displaced(row["message_id"], row["public_id"], row["uid"]) for row in found]


async def purge(
    conn: Connection, tenant: TenantId, account: AccountId, after: timedelta = timedelta()
) -> list[Purged]:
    """Delete messages that have lain in no folder for so long. The caller releases their blobs."""
    return [Purged(*row) for row in await conn.fetch(PURGE, tenant, account, after)]


async def forget(conn: Connection, tenant: TenantId, account: AccountId, most: int) -> list[bytes]:
    """Delete up to `most` messages of an account that is going; return their digests, for `blobs`."""
    return [row["digest"] for row in await conn.fetch(FORGET, tenant, account, most)]


async def analyze(conn: Connection) -> bool:
    """Make statistics of the tables that `add` fills; whether PostgreSQL lets us (it does since 17)."""
    return bool(await conn.fetchval(ANALYZE))


async def _known(
    conn: Connection, tenant: TenantId, account: AccountId, digests: Sequence[bytes]
) -> list[Known]:
    return [
        Known(row["id"], row["public_id"], row["digest"], frozenset(row["folders"]), row["is_unplaced"])
        for row in await conn.fetch(KNOWN, tenant, account, digests)
    ]


async def _thread(
    conn: Connection, tenant: TenantId, account: AccountId, new: Sequence[Added]
) -> list[ThreadId]:
    """Find or make the thread of each new message, joining threads that prove to be one."""
    keys = [mail.incoming.kept.keys for mail in new]
    wanted = list({key for of in keys for key in of})
    known = {row["key"].hex: row["thread_id"] for row in await conn.fetch(THREADS, tenant, account, wanted)}
    groups = group(keys, known)
    fresh = [row[0] for row in await conn.fetch(THREAD_NUMBERS, sum(not g.threads for g in groups))]
    threads: dict[int, ThreadId] = {}
    grown, pointed = [], []
    joined: dict[ThreadId, list[ThreadId]] = defaultdict(list)
    for found in groups:
        winner = found.threads[0] if found.threads else fresh.pop()
        joined[winner] += found.threads[1:]
        threads |= dict.fromkeys(found.members, winner)
        first = min((new[position].incoming for position in found.members), key=lambda m: m.received_at)
        last_at = max(new[position].incoming.received_at for position in found.members)
        grown.append((winner, new_public_id(), first.kept.subject, len(found.members), last_at))
        pointed += [(key, winner) for key in found.keys if key not in known]
    await conn.execute(GROW_THREADS, tenant, account, *zip(*grown, strict=True))
    for winner, losers in joined.items():
        if losers:
            await conn.execute(MERGE_MESSAGES, tenant, winner, losers)
            await conn.execute(MERGE_THREADS, tenant, winner, losers)
    if pointed:
        await conn.execute(POINT, tenant, account, *zip(*pointed, strict=True))
    return [threads[position] for position in range(len(new))]
