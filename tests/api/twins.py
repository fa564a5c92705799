"""Tenant ONE has Ann's and Bob's accounts; tenant TWO has one like Ann's, to the letter, and nothing else.

A key of ONE that is limited to Ann's must see what a key of TWO sees: but for ids, and the times of now.
"""

import json
import re
from base64 import encodebytes
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
from servers.copies import START, Copy
from servers.tenants import ANNS, BOBS, ONE, TWO

from postroom.alerts import store as alerts
from postroom.alerts.model import Begins, Ends
from postroom.blobs import store as blobs
from postroom.blobs.pack import pack
from postroom.db.pool import Database
from postroom.events import log
from postroom.events.model import TENANT, Event, Removed, stream_of
from postroom.events.store import removed
from postroom.ids import AccountId, TenantId
from postroom.jobs import store as jobs
from postroom.jobs.model import Wish
from postroom.lab.server import LabServer
from postroom.providers.model import FolderRole
from postroom.sync.model import key

ANN, BOB, TWIN = ANNS, AccountId(3), BOBS
UUIDS = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
TIMES = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d[0-9.]*(Z|\+00:00)")

ARRANGE = """
    UPDATE postroom.accounts_account SET address = 'ann@example.org' WHERE id = 2;
    INSERT INTO postroom.accounts_account (tenant_id, public_id, address, provider, settings)
    VALUES (1, gen_random_uuid(), 'bob@example.org', 'imap', '{}');
"""
LET_GO = "UPDATE postroom.db_lease SET expires_at = now()"
SERVED = """
    UPDATE postroom.accounts_account
       SET settings = jsonb_build_object('host', $1::text, 'port', $2::int, 'security', 'plain',
                                         'username', $3::text)
"""

FAIL = """
    UPDATE postroom.accounts_account
       SET state = 'error', reason = 'The door is closed.', failures = 2, last_sync_at = now(),
           last_sync_status = 'failed', sync_started_at = now(), failing_since = now(), sync_count = 4,
           last_sync_error = '{"code": "providers.port_closed", "message": "The door is closed."}',
           throttled_until = now() + interval '1 hour', throttled_by = 'the day is over'
     WHERE id = $1
"""
LEASE = "INSERT INTO postroom.db_lease VALUES ($1, $2, 'me', 1, now() + interval '1 hour')"
WATCH = "INSERT INTO postroom.sync_watch (tenant_id, account_id, process, means) VALUES ($1, $2, 'p', 'idle')"
LIMIT = "INSERT INTO postroom.providers_limit VALUES ($1, $2, 7, now() + interval '1 hour')"
SPENT = """
    INSERT INTO postroom.providers_budget (tenant_id, account_id, day, bytes, connections, logins, alerts)
    VALUES ($1, $2, (now() AT TIME ZONE 'UTC')::date, 1234567, 5, 6,
            '[{"at": "2026-01-01T00:00:00Z", "text": "Your mailbox is full."}]')
"""
PARK = """
    INSERT INTO postroom.sync_parked (tenant_id, folder_id, uid, validity, code, reason, digest, attempts,
                                      retry_at, size, flags, received_at)
    VALUES ($1, $2, $3, 1, 'sync.not_readable', 'It cannot be read.', $4, 3, now() + interval '1 day', 9,
            '{}', now())
    RETURNING public_id
"""
ENDED = """
    UPDATE postroom.jobs_job
       SET state = 'failed', finished_at = now(), attempts = 3, failures = 3, error_code = 'sync.failed',
           error_reason = 'It failed.'
     WHERE id = $1 RETURNING public_id
"""
RUNNING = """
    UPDATE postroom.jobs_job
       SET state = 'running', holder = 'host 7 1.2.3', lease_until = now() + interval '1 hour', attempts = 1
     WHERE id = $1 RETURNING public_id
"""
SAID = """
    INSERT INTO postroom.jobs_event (tenant_id, job_id, level, message, data)
    VALUES ($1, $2, 'warning', 'It went wrong.', '{"try": 1}')
"""


@dataclass(frozen=True, slots=True)
class Ids:
    """What can be named of an account."""

    account: UUID
    folder: UUID
    message: UUID  # with an attachment and HTML
    thread: UUID
    waiting: UUID  # jobs
    failed: UUID
    running: UUID
    parked: UUID
    parked_folder: UUID

    @classmethod
    def random(cls) -> "Ids":
        return cls(*(uuid4() for _ in range(9)))


def mail(number: int, more: str = "") -> bytes:
    return (
        f"Message-ID: <mail-{number}@example.org>\r\n{more}From: Cid <cid@example.org>\r\n"
        f"To: Ann <ann@example.org>\r\nDate: Thu, 1 Jan 2026 00:{number:02}:00 +0000\r\n"
        f"Subject: report {number}\r\n\r\nword {number}\r\n"
    ).encode()


RICH = (
    b"From: Dee <dee@example.org>\r\nTo: ann@example.org\r\nSubject: rich report\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: multipart/mixed; boundary=B\r\n\r\n"
    b"--B\r\nContent-Type: text/html\r\n\r\n<p>a rich word</p>\r\n"
    b"--B\r\nContent-Type: image/png\r\nContent-Disposition: attachment; filename=p.png\r\n"
    b"Content-Transfer-Encoding: base64\r\n\r\n" + encodebytes(b"\x89PNG" * 100) + b"\r\n--B--\r\n"
)


async def arrange(dsn: str) -> None:
    conn = await asyncpg.connect(dsn)
    await conn.execute(ARRANGE)
    await conn.close()


async def let_go(dsn: str) -> None:
    """Nobody is at work on any account any more."""
    conn = await asyncpg.connect(dsn)
    await conn.execute(LET_GO)
    await conn.close()


async def served_by(dsn: str, lab: LabServer) -> None:
    """All accounts are mailboxes of this server."""
    conn = await asyncpg.connect(dsn)
    await conn.execute(SERVED, lab.host, lab.port, lab.address)
    await conn.close()


async def fill(db: Database, dsn: str, tenant: TenantId, account: AccountId) -> Ids:
    """All that an account can have: mail that is alike in all of them, jobs, events, trouble."""
    copy = Copy(db, tenant, account)
    reply = "In-Reply-To: <mail-1@example.org>\r\n"
    [first] = await copy.deliver(mail(1))
    await copy.deliver(mail(2, reply), RICH, flags=("\\Seen", "\\Flagged"))
    await copy.deliver(*(mail(number) for number in range(3, 6)), path="Work/Reports", flags=("$work",))
    async with db.transaction(tenant) as conn:
        rich, thread = await conn.fetchval(
            "SELECT ARRAY[m.public_id, t.public_id] FROM mail_message m, mail_message f JOIN mail_thread t"
            " ON t.id = f.thread_id WHERE m.account_id = $1 AND m.attachments > 0 AND f.id = $2",
            account,
            first.id,
        )
    conn = await asyncpg.connect(dsn, server_settings={"search_path": "postroom"})
    try:
        parked, parked_folder = await _trouble(db, conn, copy)
        waiting, failed, running = await _jobs(db, conn, tenant, account)
    finally:
        await conn.close()
    await _happen(db, tenant, account, await copy.id(), failed)
    folder = (await copy.folder("INBOX", FolderRole.INBOX)).public_id
    return Ids(await copy.id(), folder, rich, thread, waiting, failed, running, parked, parked_folder)


async def _trouble(db: Database, conn: asyncpg.Connection, copy: Copy) -> tuple[UUID, UUID]:
    tenant, account = copy.tenant, copy.account
    inbox, work = await copy.folder("INBOX"), await copy.folder("Work/Reports")
    kept = pack(b"broken %d\r" % (copy.account == BOB))
    async with db.transaction(tenant) as bound:
        await blobs.keep(bound, tenant, [kept])
    await conn.execute(LEASE, tenant, key(account))
    for statement in (WATCH, LIMIT, SPENT):
        await conn.execute(statement, tenant, account)
    await conn.execute(FAIL, account)
    message = await conn.fetchval(PARK, tenant, inbox.id, 99, kept.digest)
    folder = await conn.fetchval(PARK, tenant, work.id, 0, None)
    return message, folder


async def _jobs(
    db: Database, conn: asyncpg.Connection, tenant: TenantId, account: AccountId
) -> tuple[UUID, UUID, UUID]:
    wishes = [
        Wish("sync.account", account=account, key=key(account)),
        Wish("sync.reread", account=account),
        Wish("sync.other", account=account),
    ]
    async with db.transaction(tenant) as bound:
        waiting, failed, running = await jobs.enqueue(bound, tenant, wishes)
    for made in (waiting, failed, running):
        await conn.execute(SAID, tenant, made.id)
    await conn.execute(ENDED, failed.id)
    await conn.execute(RUNNING, running.id)
    return waiting.public_id, failed.public_id, running.public_id


async def _happen(db: Database, tenant: TenantId, account: AccountId, id: UUID, failed: UUID) -> None:
    async with db.transaction(tenant) as conn:
        connected = Event("accounts.connected", {"account": str(id)})
        await log.append(conn, tenant, stream_of(account), [connected, gone(account)])
        nothing = Removed(stream_of(account), 0, 0, bytes(32), START)
        await removed.put(conn, tenant, [nothing])
    async with db.transaction(tenant) as conn:
        data = {"job": str(failed), "kind": "sync.reread", "code": "sync.failed"}
        await log.append(conn, tenant, TENANT, [Event("jobs.failed", data)])
        await alerts.begin(conn, tenant, Begins("jobs.failed", failed, "sync.failed", START, TENANT))
        await alerts.begin(conn, tenant, Begins("accounts.stale", id, None, START, stream_of(account)))
        await alerts.end(conn, tenant, Ends(None, id, START))


def gone(number: int) -> Event:
    """Something that happens to a message; which is told by its number."""
    return Event("mail.removed", {"message": str(UUID(int=number))})


def alike(text: str) -> Any:
    """An answer without what differs between two that are alike: ids in their order, times, cursors."""
    known: dict[str, str] = {}
    text = UUIDS.sub(lambda found: known.setdefault(found[0], f"id {len(known)}"), text)
    text = TIMES.sub(lambda found: found[0] if _is_mails(found[0]) else "now", text)
    try:
        return _without(json.loads(text))
    except json.JSONDecodeError:
        return re.sub(r'^id: \d+|"id":\d+', "id", text, flags=re.MULTILINE)


def _is_mails(time: str) -> bool:
    return datetime.fromisoformat(time) < START.astimezone(UTC) + timedelta(days=1)


def _without(value: Any) -> Any:
    if isinstance(value, list):
        return [_without(each) for each in value]
    if isinstance(value, float):
        return round(value, 6)  # scores fade with age
    if not isinstance(value, dict):
        return value
    hidden = {"next", "oldest_ready_seconds"}
    return {name: bool(each) if name in hidden else _without(each) for name, each in value.items()}


__all__ = [
    "ANN",
    "BOB",
    "ONE",
    "TWIN",
    "TWO",
    "Ids",
    "alike",
    "arrange",
    "fill",
    "gone",
    "let_go",
    "served_by",
]
