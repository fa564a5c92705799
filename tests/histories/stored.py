"""What a copy holds, and whether it was written to, read past all code that is being tried."""

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import orjson
from servers.tenants import ONE

from postroom.accounts.model import Account
from postroom.blobs import store as blobs
from postroom.db.pool import Database
from postroom.events import log
from postroom.events.model import stream_of
from postroom.events.replay import replay

PLACED = """
    SELECT f.name, f.public_id::text AS folder, p.uid, p.flags, m.digest, m.public_id::text AS message
      FROM mail_placement p
      JOIN mail_folder f ON f.id = p.folder_id
      JOIN mail_message m ON m.id = p.message_id
     WHERE f.account_id = $1
     ORDER BY f.name, p.uid
"""
FOLDERS = "SELECT name, public_id::text FROM mail_folder WHERE account_id = $1 AND selectable"
MESSAGES = "SELECT public_id::text FROM mail_message WHERE account_id = $1"
REFERENCES = """
    SELECT b.digest, b.refs,
           (SELECT count(*) FROM mail_message m WHERE m.tenant_id = $1 AND m.digest = b.digest)
           + (SELECT count(*) FROM sync_parked p WHERE p.tenant_id = $1 AND p.digest = b.digest) AS uses
      FROM blobs_blob b WHERE b.tenant_id = $1
"""
WRITTEN = """
    SELECT 'folder', f.id, 0, f.xmin::text FROM mail_folder f WHERE f.account_id = $1
    UNION ALL SELECT 'message', m.id, 0, m.xmin::text FROM mail_message m WHERE m.account_id = $1
    UNION ALL SELECT 'thread', t.id, 0, t.xmin::text FROM mail_thread t WHERE t.account_id = $1
    UNION ALL SELECT 'placement', p.folder_id, p.uid, p.xmin::text
      FROM mail_placement p JOIN mail_folder f ON f.id = p.folder_id WHERE f.account_id = $1
    UNION ALL SELECT 'cursor', c.folder_id, 0, c.xmin::text
      FROM sync_folder c JOIN mail_folder f ON f.id = c.folder_id WHERE f.account_id = $1
    UNION ALL SELECT 'parked', p.folder_id, p.uid, p.xmin::text
      FROM sync_parked p JOIN mail_folder f ON f.id = p.folder_id WHERE f.account_id = $1
    UNION ALL SELECT 'event', e.seq, 0, e.xmin::text FROM events_event e WHERE e.stream = $1
"""
LIFT = """
    UPDATE sync_parked p SET retry_at = now() FROM mail_folder f
     WHERE f.id = p.folder_id AND f.account_id = $1
"""
RUN_OUT = "UPDATE db_lease SET expires_at = clock_timestamp() WHERE tenant_id = $1 AND name = $2"


@dataclass(frozen=True, slots=True)
class Stored:
    """A copy at one moment. Flags and content by folder and UID; ids in the order of UIDs."""

    folders: Mapping[str, str]  # by name, their public ids
    mails: Mapping[tuple[str, int], tuple[frozenset[str], str, str]]  # flags, SHA-256, public id
    messages: frozenset[str]
    placed: Mapping[str, Mapping[str, frozenset[str]]]  # message -> folder -> flags, all by public ids

    def ids(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = defaultdict(list)
        for (name, _), (_, _, public_id) in self.mails.items():
            found[name].append(public_id)
        return found


async def stored(db: Database, account: Account) -> Stored:
    async with db.transaction(ONE) as conn:
        folders = await conn.fetch(FOLDERS, account.id)
        messages = await conn.fetch(MESSAGES, account.id)
        mails, placed = {}, defaultdict[str, dict[str, frozenset[str]]](dict)
        for row in await conn.fetch(PLACED, account.id):
            flags = frozenset(row["flags"])
            mails[row["name"].decode(), row["uid"]] = (flags, row["digest"].hex(), row["message"])
            placed[row["message"]][row["folder"]] = flags
    return Stored(
        folders={row[0].decode(): row[1] for row in folders},
        mails=mails,
        messages=frozenset(row[0] for row in messages),
        placed=dict(placed),
    )


async def wrong_bytes(db: Database, copy: Stored) -> list[str]:
    """Content that is not what its digest says, or that is counted wrongly, one sentence each."""
    digests = {bytes.fromhex(digest) for _, digest, _ in copy.mails.values()}
    wrong = []
    async with db.transaction(ONE) as conn:
        for digest in digests:
            raw = await blobs.read_all(conn, ONE, digest)
            if hashlib.sha256(raw).digest() != digest:
                wrong.append(f"the content of {digest.hex()} is not what was stored")
        for digest, refs, uses in await conn.fetch(REFERENCES, ONE):
            if refs != uses:
                wrong.append(f"the content {digest.hex()} has {uses} uses and is counted {refs} times")
    return wrong


async def wrong_log(db: Database, account: Account, copy: Stored) -> list[str]:
    """Where the log, replayed from its beginning, tells of something else than what is stored."""
    async with db.transaction(ONE) as conn:
        told = replay(await log.read(conn, ONE, stream_of(account.id), limit=1_000_000))
    wrong = []
    for message in told.messages.keys() | copy.placed.keys():
        says, has = told.messages.get(message), copy.placed.get(message)
        if says != has:
            wrong.append(f"the log has {message} as {says}, and it is stored as {has}")
    if missing := set(copy.folders.values()) - told.folders:
        wrong.append(f"the log knows nothing of the folders {sorted(missing)}")
    return wrong


async def told_of(db: Database, account: Account, text: str) -> list[str]:
    """The events of messages whose ids stand in this text."""
    async with db.transaction(ONE) as conn:
        entries = await log.read(conn, ONE, stream_of(account.id), limit=1_000_000)
    about = [(entry, orjson.loads(entry.body).get("message")) for entry in entries]
    return [
        f"{entry.at} {entry.kind} {entry.body}" for entry, message in about if message and message in text
    ]


async def written(db: Database, account: Account) -> frozenset[tuple[object, ...]]:
    """Every row of the copy with the transaction that wrote it: equal when nothing was written between."""
    async with db.transaction(ONE) as conn:
        return frozenset(tuple(row) for row in await conn.fetch(WRITTEN, account.id))


async def let_time_pass(db: Database, account: Account) -> None:
    """What is parked may be asked for again, and leases of who died have run out."""
    async with db.transaction(ONE) as conn:
        await conn.execute(LIFT, account.id)
        await conn.execute(RUN_OUT, ONE, f"sync.account:{account.id}")
