"""Mail put into the copy as a sync would, without a server."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from postroom.blobs import store as blobs
from postroom.db.pool import Database
from postroom.ids import AccountId, TenantId
from postroom.mail.model import Came, Folder, Placed
from postroom.mail.store import folders, write
from postroom.providers.model import FolderRole, RemoteFolder, RemoteItem, RemoteMessage
from postroom.search import store as search
from postroom.sync.prepare import prepare

START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Copy:
    """The copy of one account. Mail is received a minute apart, unless told otherwise."""

    database: Database
    tenant: TenantId
    account: AccountId
    folders: dict[str, Folder] = field(default_factory=dict)
    uid: int = 0

    async def folder(self, path: str, role: FolderRole | None = None) -> Folder:
        if path not in self.folders:
            remote = RemoteFolder(path.encode(), path, "/", role)
            async with self.database.transaction(self.tenant) as conn:
                self.folders[path] = await folders.save(conn, self.tenant, self.account, remote)
        return self.folders[path]

    async def deliver(
        self, *contents: bytes, path: str = "INBOX", flags: tuple[str, ...] = (), at: datetime | None = None
    ) -> list[Placed]:
        folder = await self.folder(path, FolderRole.INBOX if path == "INBOX" else None)
        remote = []
        for raw in contents:
            self.uid += 1
            received = at or START + timedelta(minutes=self.uid)
            item = RemoteItem(self.uid, frozenset(flags), len(raw), received)
            remote.append((RemoteMessage(self.uid, raw, len(raw)), item))
        mails = prepare(self.tenant, folder, remote)
        async with self.database.transaction(self.tenant) as conn:
            added = await write.add(
                conn, self.tenant, self.account, folder, [mail.incoming for mail in mails]
            )
            new = [(row, mail) for row, mail in zip(added, mails, strict=True) if row.came is Came.ADDED]
            await blobs.keep(conn, self.tenant, [mail.packed for _, mail in new])
            await search.index(conn, self.tenant, [mail.words_of(row.id) for row, mail in new])
        return added

    async def id(self) -> UUID:
        """The public id of the account."""
        async with self.database.transaction(self.tenant) as conn:
            found: UUID = await conn.fetchval(
                "SELECT public_id FROM accounts_account WHERE tenant_id = $1 AND id = $2",
                self.tenant,
                self.account,
            )
        return found


@pytest.fixture
def copy(db: Database) -> Callable[[TenantId, AccountId], Copy]:
    """Makes the copy of an account."""
    return lambda tenant, account: Copy(db, tenant, account)
