"""Mail to be found: rows of the rooms below, written by hand, because only their shape matters here."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from postroom.db.pool import Database, connect
from postroom.ids import AccountId, MessageId, TenantId, new_public_id
from postroom.search import store
from postroom.search.document import prepare
from postroom.search.find import find
from postroom.search.model import Results, Searchable

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)

TENANT = "INSERT INTO people_tenant (public_id, name) VALUES ($1, $2) RETURNING tenant_id"
ACCOUNT = """
    INSERT INTO accounts_account (tenant_id, public_id, address, provider, settings)
    VALUES ($1, $2, $3, 'imap', '{}') RETURNING id
"""
THREAD = """
    INSERT INTO mail_thread (tenant_id, account_id, public_id, subject, messages, last_at)
    VALUES ($1, $2, $3, '', 1, now()) RETURNING id
"""
MESSAGE = """
    INSERT INTO mail_message (tenant_id, account_id, public_id, thread_id, digest, size, subject, sender_name,
                              sender_address, recipients, received_at, preview, attachments, seen, flagged,
                              answered, draft, defects, parser)
    VALUES ($1, $2, $3, $4, '', $5, '', '', '', '{}', $6, '', 0, $7, $8, false, false, '{}', 1) RETURNING id
"""
FOLDER = """
    INSERT INTO mail_folder (tenant_id, account_id, public_id, name, path, delimiter, role)
    VALUES ($1, $2, $3, $4, $5, '/', $6) RETURNING id
"""
DESCRIBE = "UPDATE mail_message SET subject = left($2, 500), sender_name = $3 WHERE id = $1"
TEXT = "INSERT INTO mail_text (tenant_id, message_id, body) VALUES ($1, $2, $3)"
PLACE = (
    "INSERT INTO mail_placement (tenant_id, folder_id, uid, message_id, flags) VALUES ($1, $2, $3, $4, $5)"
)


@dataclass
class Mailbox:
    """One account of one tenant, filled by the test."""

    db: Database
    tenant: TenantId
    account: AccountId
    thread: int
    folders: dict[str, int] = field(default_factory=dict)
    arrived: int = 0

    async def add(
        self,
        body: str = "",
        *,
        subject: str = "",
        sender: str = "",
        to: str = "",
        cc: str = "",
        attachments: tuple[str, ...] = (),
        list_id: str = "",
        message_id: str = "",
        at: datetime | None = None,
        size: int = 1_000,
        seen: bool = True,
        flagged: bool = False,
        folder: str | None = None,
        flags: tuple[str, ...] = (),
    ) -> MessageId:
        """Store a mail, by default an hour newer than the one before, and index it."""
        self.arrived += 1
        at = at or NOW - timedelta(days=30) + timedelta(hours=self.arrived)
        async with self.db.transaction(self.tenant) as conn:
            message = MessageId(
                await conn.fetchval(
                    MESSAGE, self.tenant, self.account, new_public_id(), self.thread, size, at, seen, flagged
                )
            )
            await conn.execute(DESCRIBE, message, storable(subject), storable(sender))
            await conn.execute(TEXT, self.tenant, message, storable(body))
            if folder is not None:
                await conn.execute(PLACE, self.tenant, self.folders[folder], message, message, list(flags))
            mail = Searchable(
                message, self.account, at, subject, sender, to, cc, body, attachments, list_id, message_id
            )
            await store.index(conn, self.tenant, [prepare(self.tenant, mail)])
        return message

    async def add_folder(self, path: str, role: str | None = None) -> None:
        async with self.db.transaction(self.tenant) as conn:
            self.folders[path] = await conn.fetchval(
                FOLDER, self.tenant, self.account, new_public_id(), path.encode(), path, role
            )

    async def search(self, query: str, **more: object) -> Results:
        async with self.db.transaction(self.tenant) as conn:
            return await find(conn, self.tenant, query, now=NOW, **more)  # type: ignore[arg-type]

    async def found(self, query: str, **more: object) -> set[MessageId]:
        return {hit.message for hit in (await self.search(query, **more)).hits}

    async def settle(self) -> int:
        async with self.db.transaction(self.tenant) as conn:
            return await store.settle(conn, self.tenant, 10_000)


def storable(text: str) -> str:
    """What PostgreSQL takes of `text`; `mime` sees to it for real mail."""
    return text.encode("utf-8", "replace").decode().replace("\0", "")


async def make(db: Database, owner: asyncpg.Connection, address: str, tenant: TenantId | None) -> Mailbox:
    if tenant is None:
        tenant = TenantId(await owner.fetchval(TENANT, new_public_id(), address))
    account = AccountId(await owner.fetchval(ACCOUNT, tenant, new_public_id(), address))
    thread: int = await owner.fetchval(THREAD, tenant, account, new_public_id())
    return Mailbox(db, tenant, account, thread)


@pytest.fixture
async def mailbox(db: Database, dsn: str) -> Mailbox:
    owner = await connect(dsn)
    try:
        return await make(db, owner, "me@example.com", None)
    finally:
        await owner.close()


@pytest.fixture
async def second_account(db: Database, dsn: str, mailbox: Mailbox) -> Mailbox:
    """Another account of the same tenant."""
    owner = await connect(dsn)
    try:
        return await make(db, owner, "work@example.org", mailbox.tenant)
    finally:
        await owner.close()


@pytest.fixture
async def neighbour(db: Database, dsn: str) -> Mailbox:
    """An account of another tenant."""
    owner = await connect(dsn)
    try:
        return await make(db, owner, "them@example.net", None)
    finally:
        await owner.close()
