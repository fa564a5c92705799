"""What trials share: a database, a lab server for each mode, and the hooks that interrupt."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

import asyncpg
from crash.interrupts import Interrupts, Life
from crash.stored import Stored, stored
from sync.mailboxes import VAULT, means

from postroom.accounts import credentials
from postroom.accounts import store as accounts
from postroom.accounts.model import Account, Scope
from postroom.db.pool import Database
from postroom.db.roles import APP
from postroom.errors import PostroomError
from postroom.ids import TenantId, new_public_id
from postroom.lab.mailbox import LabMailbox
from postroom.lab.server import LabServer
from postroom.sync.perform import Outcome, perform

EVERY = timedelta(minutes=15)
PATIENCE = timedelta(minutes=1)
NEW_TENANT = """
    INSERT INTO postroom.people_tenant (public_id, name) VALUES (gen_random_uuid(), $1) RETURNING tenant_id
"""


class Mode(StrEnum):
    QRESYNC = "qresync"
    CONDSTORE = "condstore"
    PLAIN = "plain"


@dataclass
class Bench:
    """What many trials share: a database, a lab server for each mode, and the hooks."""

    dsn: str
    servers: Mapping[Mode, LabServer]
    interrupts: Interrupts
    observer: asyncpg.Connection
    database: Database = field(init=False)

    def __post_init__(self) -> None:
        self.database = Database(self.dsn, size=10, role=APP)

    async def sync(
        self, account: Account, life: Life, *, is_patient: bool = False
    ) -> Outcome | PostroomError | None:
        """One sync in a life; None when it was killed, and then with its connections to the database.

        One that is patient waits with what it cannot find; others tell at once that it is gone.
        """
        grace = PATIENCE if is_patient else timedelta()
        doing = perform(means(self.database), account, every=EVERY, grace=grace)
        try:
            outcome: Outcome | None = await self.interrupts.live(life, doing)
        except PostroomError as error:
            return error
        if life.is_dead:
            for conn in self.database._idle:
                conn.terminate()
            self.database = Database(self.dsn, size=10, role=APP)
        return outcome

    async def close(self) -> None:
        await self.database._close()

    async def stored(self, account: Account) -> Stored:
        """What the database holds of an account."""
        return await stored(self.observer, account.tenant_id, account.id)

    @asynccontextmanager
    async def account(
        self, mode: Mode, scope: Scope | None = None
    ) -> AsyncIterator[tuple[Account, LabMailbox]]:
        """An account of a tenant of its own, and its mailbox."""
        server, public_id = self.servers[mode], new_public_id()
        tenant = TenantId(await self.observer.fetchval(NEW_TENANT, str(public_id)))
        address = f"{public_id}@lab.example"
        mailbox = server.accounts[address] = LabMailbox()
        async with self.database.transaction(tenant) as conn:
            account = await accounts.add(
                conn,
                tenant,
                public_id,
                address=address,
                provider="imap",
                settings={"host": server.host, "port": server.port, "security": "plain"},
                secret=credentials.seal(VAULT, tenant, public_id, server.password),
                scope=scope or Scope(),
            )
        assert account is not None
        try:
            yield account, mailbox
        finally:
            del server.accounts[address]
