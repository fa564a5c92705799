"""An account of tenant ONE on a lab server, and whether its copy is right."""

from collections import Counter
from dataclasses import replace
from datetime import timedelta

from servers.tenants import ONE
from sync.mailboxes import VAULT, copied, means

from postroom.accounts import credentials
from postroom.accounts import store as accounts
from postroom.accounts.model import Account, Scope
from postroom.db.pool import Database
from postroom.ids import new_public_id
from postroom.lab.mailbox import LabFolder
from postroom.lab.server import LabServer
from postroom.providers.pool import Pool
from postroom.sync.perform import Outcome, perform
from postroom.sync.verify import verify

MESSAGES = "SELECT public_id::text FROM mail_message WHERE account_id = $1"
PARKED = "SELECT count(*) FROM sync_parked p JOIN mail_folder f ON f.id = p.folder_id WHERE f.account_id = $1"
RETRY_NOW = "UPDATE sync_parked SET retry_at = now() WHERE tenant_id = $1"
LOGIN_NOW = "UPDATE accounts_account SET login_after = NULL WHERE tenant_id = $1"


async def connected(
    db: Database, server: LabServer, *, address: str | None = None, **settings: str | int | None
) -> Account:
    """`address`: another one than the server knows, so that many accounts may be of one mailbox."""
    public_id = new_public_id()
    where = {"host": server.host, "port": server.port, "security": "plain", "username": server.address}
    async with db.transaction(ONE) as conn:
        account = await accounts.add(
            conn,
            ONE,
            public_id,
            address=address or server.address,
            provider="imap",
            settings=where | settings,
            secret=credentials.seal(VAULT, ONE, public_id, server.password),
            scope=Scope(),
        )
    assert account is not None
    return account


async def sync(db: Database, account: Account, *, full: bool = False, kept: Pool | None = None) -> Outcome:
    use = replace(means(db), pool=kept or Pool())
    return await perform(use, account, every=timedelta(minutes=1 if kept else 15), full=full)


async def messages(db: Database, account: Account) -> set[str]:
    """The public ids of all messages of the account, those that lie in no folder included."""
    async with db.transaction(ONE) as conn:
        return {row[0] for row in await conn.fetch(MESSAGES, account.id)}


async def retry_parked(db: Database) -> None:
    """As if their wait were over."""
    async with db.transaction(ONE) as conn:
        await conn.execute(RETRY_NOW, ONE)
        await conn.execute(LOGIN_NOW, ONE)


def called(server: LabServer, folder: LabFolder) -> str:
    """The name of a folder in a copy of it."""
    name = server.shown(folder.name).decode()
    return "INBOX" if name.upper() == "INBOX" else name


async def assert_nothing_wrong(db: Database, account: Account, server: LabServer) -> None:
    """Whatever the copy holds are whole messages of their folders, none more often than there."""
    theirs = {
        called(server, f): Counter(m.raw() for m in f.messages.values())
        for f in server.mailbox.folders.values()
    }
    ours: dict[str, Counter[bytes]] = {}
    for (name, _), copy in (await copied(db, account)).items():
        ours.setdefault(name, Counter())[copy.raw] += 1
    for name, held in ours.items():
        assert held <= theirs.get(name, held), name


async def assert_no_silence(db: Database, account: Account, server: LabServer, outcome: Outcome) -> None:
    """What a sync that names no trouble has not copied is not there."""
    async with db.transaction(ONE) as conn:
        parked = await conn.fetchval(PARKED, account.id)
    if outcome.status == "success" and not outcome.counts.skipped and not parked:
        held = Counter((name, copy.raw) for (name, _), copy in (await copied(db, account)).items())
        held_there = server.mailbox.folders.values()
        theirs = ((called(server, f), m.raw()) for f in held_there for m in f.messages.values())
        assert held == Counter(theirs)


async def assert_equal(db: Database, account: Account, server: LabServer) -> None:
    """The copy holds what the mailbox holds: places, flags and bytes, each message once."""
    theirs = {
        (called(server, folder), uid): (message.flags, message.raw())
        for folder in server.mailbox.folders.values()
        for uid, message in folder.messages.items()
    }
    ours = await copied(db, account)
    assert {where: (copy.flags, copy.raw) for where, copy in ours.items()} == theirs
    assert await messages(db, account) == {copy.public_id for copy in ours.values()}
    assert all(folder.is_equal for folder in await verify(means(db), account))
