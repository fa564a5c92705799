"""What the database holds of one tenant, past all walls, and what may never be true of it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import asyncpg
import orjson
from crash.model import Place

from postroom.blobs.pack import expand
from postroom.events import chain
from postroom.events.model import Entry
from postroom.ids import AccountId, TenantId
from postroom.imap.names import decode

BIND = "SELECT set_config('search_path', 'postroom', false), set_config('postroom.tenant', $1::text, false)"
PLACED = """
    SELECT f.name, f.public_id::text AS folder, p.uid, p.flags, m.public_id::text AS message, m.digest
      FROM mail_placement p
      JOIN mail_folder f ON f.id = p.folder_id
      JOIN mail_message m ON m.id = p.message_id
     WHERE f.tenant_id = $1
"""
FOLDERS = "SELECT public_id::text, name FROM mail_folder WHERE tenant_id = $1 AND selectable"
MESSAGES = "SELECT public_id::text FROM mail_message WHERE tenant_id = $1"
CONTENT = "SELECT b.digest, blobs_chunk(b.digest, 0) FROM blobs_blob b WHERE b.tenant_id = $1"
PARKED = """
    SELECT f.name, p.uid FROM sync_parked p JOIN mail_folder f ON f.id = p.folder_id WHERE p.tenant_id = $1
"""
ENTRIES = """
    SELECT tenant_id, stream, seq, position, at, kind, body, hash FROM events_event
     WHERE tenant_id = $1 AND stream = $2 ORDER BY seq
"""
WRONG = """
    SELECT 'lies nowhere: ' || m.public_id FROM mail_message m
     WHERE m.tenant_id = $1
       AND (m.unplaced_at IS NOT NULL OR NOT EXISTS (SELECT FROM mail_placement p WHERE p.message_id = m.id))
     UNION ALL
    SELECT 'lies twice in a folder: ' || m.public_id FROM mail_message m
     WHERE m.tenant_id = $1 AND EXISTS (
           SELECT FROM mail_placement p WHERE p.message_id = m.id GROUP BY p.folder_id HAVING count(*) > 1)
     UNION ALL
    SELECT 'cannot be found: ' || m.public_id FROM mail_message m
     WHERE m.tenant_id = $1 AND 1 <> (
           SELECT count(*) FROM search_document d WHERE d.tenant_id = $1 AND d.message_id = m.id)
     UNION ALL
    SELECT 'has no text: ' || m.public_id FROM mail_message m
     WHERE m.tenant_id = $1 AND NOT EXISTS (SELECT FROM mail_text t WHERE t.message_id = m.id)
     UNION ALL
    SELECT 'has other flags than its places: ' || m.public_id FROM mail_message m
     WHERE m.tenant_id = $1 AND (m.seen, m.flagged, m.answered, m.draft) IS DISTINCT FROM (
           SELECT (bool_or('\\Seen' = ANY(p.flags)), bool_or('\\Flagged' = ANY(p.flags)),
                   bool_or('\\Answered' = ANY(p.flags)), bool_or('\\Draft' = ANY(p.flags)))
             FROM mail_placement p WHERE p.message_id = m.id)
     UNION ALL
    SELECT 'is counted wrongly: ' || encode(b.digest, 'hex') FROM blobs_blob b
     WHERE b.tenant_id = $1 AND b.refs <> (
           SELECT count(*) FROM mail_message m WHERE m.tenant_id = $1 AND m.digest = b.digest)
     UNION ALL
    SELECT 'a thread counts wrongly: ' || t.public_id FROM mail_thread t
     WHERE t.tenant_id = $1 AND t.messages <> (
           SELECT count(*) FROM mail_message m WHERE m.tenant_id = $1 AND m.thread_id = t.id)
     UNION ALL
    SELECT 'words without mail: ' || d.message_id FROM search_document d
     WHERE d.tenant_id = $1 AND NOT EXISTS (SELECT FROM mail_message m WHERE m.id = d.message_id)
"""


State: TypeAlias = dict[str, dict[str, frozenset[str]]]  # message -> folder -> flags, by public ids


@dataclass(frozen=True, slots=True)
class Copy:
    """One placement, with the bytes that it would give out."""

    message: str  # public id
    flags: frozenset[str]
    raw: bytes


@dataclass(frozen=True, slots=True)
class Stored:
    """The copy of an account at a quiet moment."""

    folders: dict[str, str]  # name by public id
    placed: dict[Place, Copy]
    state: State
    messages: frozenset[str]
    parked: frozenset[Place]
    entries: tuple[Entry, ...]
    wrong: tuple[str, ...]


NOTHING = Stored({}, {}, {}, frozenset(), frozenset(), (), ())


async def stored(conn: asyncpg.Connection, tenant: TenantId, account: AccountId) -> Stored:
    """Everything that is to be compared. Raises `ChainBroken`."""
    await conn.fetchrow(BIND, str(tenant))
    contents = {digest: expand(chunk) for digest, chunk in await conn.fetch(CONTENT, tenant)}
    placed: dict[Place, Copy] = {}
    state: State = {}
    for row in await conn.fetch(PLACED, tenant):
        copy = Copy(row["message"], frozenset(row["flags"]), contents[row["digest"]])
        placed[decode(row["name"]), row["uid"]] = copy
        state.setdefault(copy.message, {})[row["folder"]] = copy.flags
    entries = tuple(Entry(*row) for row in await conn.fetch(ENTRIES, tenant, account))
    chain.verify(entries)
    return Stored(
        folders={row[0]: decode(row[1]) for row in await conn.fetch(FOLDERS, tenant)},
        placed=placed,
        state=state,
        messages=frozenset(row[0] for row in await conn.fetch(MESSAGES, tenant)),
        parked=frozenset((decode(row[0]), row[1]) for row in await conn.fetch(PARKED, tenant)),
        entries=entries,
        wrong=tuple(row[0] for row in await conn.fetch(WRONG, tenant)),
    )


def counted(entries: Sequence[Entry]) -> Counter[tuple[str, str]]:
    """The kinds of events, each with what it is about: the public id of a message, or of a folder."""
    told = Counter[tuple[str, str]]()
    for entry in entries:
        body = orjson.loads(entry.body)
        if about := body.get("message") or body.get("folder"):
            told[about, entry.kind] += 1
    return told
