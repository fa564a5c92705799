"""What a sync writes: messages and their threads. The caller's transaction, one account at a time.

PostgreSQL refuses COPY into tables under row-level security, so rows travel as arrays.
"""

from collections import defaultdict
from collections.abc import Sequence

from asyncpg import Connection

from postroom.ids import AccountId, TenantId, ThreadId, new_public_id
from postroom.mail.identity import Arrived, Leaving, nothing_leaves
from postroom.mail.model import Added, Came, Folder, Incoming, Placed
from postroom.mail.threads import group

from . import places, rows

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
FORGET = """
    DELETE FROM mail_message WHERE tenant_id = $1 AND id IN (
        SELECT id FROM mail_message WHERE tenant_id = $1 AND account_id = $2 LIMIT $3
    ) RETURNING digest
"""
ANALYZE = "SELECT mail_analyze()"
FORGOTTEN = "SELECT mail_forgotten($1)"


async def add(
    conn: Connection,
    tenant: TenantId,
    account: AccountId,
    folder: Folder,
    incoming: Sequence[Incoming],
    leaving: Leaving = nothing_leaves,
) -> list[Placed]:
    """Store what came into a folder; one answer for each, in order.

    The content of what is new goes to `blobs` beside this. `leaving` tells what other folders have no more.
    """
    known = await places.known_content(conn, tenant, account, [mail.digest for mail in incoming])
    arrived = [(mail.uid, Arrived(mail.digest, mail.flags)) for mail in incoming]
    settled = await places.settle(conn, tenant, folder, arrived, known, leaving)
    fresh = [mail for mail, one in zip(incoming, settled, strict=True) if one is None]
    numbers = [row[0] for row in await conn.fetch(MESSAGE_NUMBERS, len(fresh))] if fresh else []
    added = [Added(mail, number, new_public_id()) for mail, number in zip(fresh, numbers, strict=True)]
    if added:
        threads = await _thread(conn, tenant, account, added)
        await rows.insert_messages(conn, tenant, account, added, threads)
    new = [Placed(one.id, one.public_id, one.incoming.uid, one.incoming.flags, Came.ADDED) for one in added]
    await places.place(conn, tenant, folder.id, new)
    coming = iter(new)
    return [one or next(coming) for one in settled]


async def forget(conn: Connection, tenant: TenantId, account: AccountId, most: int) -> list[bytes]:
    """Delete up to `most` messages of an account that is going; return their digests, for `blobs`."""
    return [row["digest"] for row in await conn.fetch(FORGET, tenant, account, most)]


async def forgotten(conn: Connection, messages: int) -> None:
    """So many were deleted for good: see to it that PostgreSQL's statistics do not go on quoting them."""
    await conn.execute(FORGOTTEN, messages)


async def analyze(conn: Connection) -> bool:
    """Make statistics of the tables that `add` fills; whether PostgreSQL lets us (it does since 17)."""
    return bool(await conn.fetchval(ANALYZE))


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
