"""An account of tenant ONE on the tests' Dovecot, and what is said of its copy."""

from dataclasses import dataclass
from datetime import timedelta

from servers.dovecot import Dovecot
from servers.tenants import ONE

from postroom.accounts import credentials
from postroom.accounts import store as accounts
from postroom.accounts.model import Account, Scope
from postroom.blobs import store as blobs
from postroom.blobs.pack import CHUNK, expand
from postroom.db.pool import Connection, Database
from postroom.events import log
from postroom.events.model import Entry, stream_of
from postroom.ids import new_public_id
from postroom.net.egress import Egress
from postroom.providers.registry import Registry
from postroom.sync.perform import Means
from postroom.sync.run import Manner
from postroom.vault.seal import Key, Vault

KEY = "a key that is only for tests"
VAULT = Vault([Key.derived(KEY.encode())])

STORED = """
    SELECT f.name, p.uid, p.flags, m.digest, m.public_id
      FROM mail_placement p
      JOIN mail_folder f ON f.id = p.folder_id
      JOIN mail_message m ON m.id = p.message_id
     WHERE f.account_id = $1
"""
FIRST_CHUNKS = """
    SELECT digest, size, blobs_chunk(digest, 0) AS chunk
      FROM blobs_blob WHERE tenant_id = $1 AND digest = ANY ($2)
"""


def means(db: Database) -> Means:
    """With no grace and no pause: a sync is followed by the next at once, and says all that it has to say."""
    manner = Manner(grace=timedelta(), pause=timedelta())
    return Means(db, VAULT, Registry(Egress(private_allowed=True)), manner=manner)


async def connected(db: Database, server: Dovecot, user: str, scope: Scope | None = None) -> Account:
    public_id = new_public_id()
    settings = {"host": server.host, "port": server.port, "security": "plain", "username": user}
    async with db.transaction(ONE) as conn:
        account = await accounts.add(
            conn,
            ONE,
            public_id,
            address=f"{user}@example.org",
            provider="imap",
            settings=settings,
            secret=credentials.seal(VAULT, ONE, public_id, server.password),
            scope=scope or Scope(),
        )
    assert account is not None
    return account


@dataclass(frozen=True, slots=True)
class Copy:
    """One placement of the copy."""

    flags: frozenset[str]
    raw: bytes
    public_id: str


async def copied(db: Database, account: Account) -> dict[tuple[str, int], Copy]:
    """Everything the copy holds of an account, by folder name and uid, with the bytes it would give out."""
    async with db.transaction(ONE) as conn:
        rows = await conn.fetch(STORED, account.id)
        raws = await _contents(conn, {row["digest"] for row in rows})
    return {
        (row["name"].decode(), row["uid"]): Copy(
            frozenset(row["flags"]), raws[row["digest"]], str(row["public_id"])
        )
        for row in rows
    }


async def _contents(conn: Connection, digests: set[bytes]) -> dict[bytes, bytes]:
    """As `blobs.read_all`; one by one they would be most of what a trial asks PostgreSQL."""
    found = {}
    for digest, size, chunk in await conn.fetch(FIRST_CHUNKS, ONE, list(digests)):
        found[digest] = expand(chunk) if 0 < size <= CHUNK else await blobs.read_all(conn, ONE, digest)
        assert len(found[digest]) == size
    return found


async def told(db: Database, account: Account) -> list[Entry]:
    """The account's stream of events."""
    async with db.transaction(ONE) as conn:
        return await log.read(conn, ONE, stream_of(account.id), limit=100_000)
