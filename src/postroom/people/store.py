"""All SQL about tenants, keys, people, sessions. What takes no tenant is asked before one is known."""

from collections.abc import Collection
from datetime import datetime, timedelta
from uuid import UUID

from asyncpg import Connection, Record

from postroom.http.caller import Caller, Person, Scope
from postroom.ids import AccountId, TenantId, new_public_id
from postroom.people.model import (
    SCOPES,
    Holder,
    Identity,
    Key,
    Member,
    NoSuchAccount,
    Role,
    Session,
    Tenant,
)

MOST_KEYS = 1000
"""Of one tenant, and so many that are revoked: of more the oldest are forgotten."""

TENANT_NAMED = "SELECT people_tenant_named($1, $2)"
FIND_KEY = "SELECT tenant_id, key_id, public_id, scopes, last_used_at, accounts FROM people_find_holder($1)"
TENANT = "SELECT tenant_id, public_id, name, created_at FROM people_tenant WHERE tenant_id = $1"
COLUMNS = """
    k.public_id, k.name, k.start, k.scopes, k.created_at, k.expires_at, k.revoked_at, k.last_used_at,
    CASE WHEN k.is_limited THEN ARRAY(
        SELECT a.public_id
          FROM people_key_account l
          JOIN accounts_account a ON a.tenant_id = l.tenant_id AND a.id = l.account_id
         WHERE l.tenant_id = k.tenant_id AND l.key_id = k.id ORDER BY a.id) END AS accounts
"""
KEY = f"SELECT {COLUMNS} FROM people_key k WHERE k.tenant_id = $1 AND k.public_id = $2"  # noqa: S608
KEYS = f"SELECT {COLUMNS} FROM people_key k WHERE k.tenant_id = $1 ORDER BY k.created_at, k.id"  # noqa: S608
ADD_KEY = """
    INSERT INTO people_key (tenant_id, public_id, name, start, digest, scopes, expires_at, is_limited)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
"""
FORGET_KEYS = """
    DELETE FROM people_key
     WHERE tenant_id = $1 AND revoked_at IS NOT NULL
       AND id <= (SELECT id FROM people_key
                   WHERE tenant_id = $1 AND revoked_at IS NOT NULL ORDER BY id DESC OFFSET $2 LIMIT 1)
"""
# An account that is being removed at this moment is waited for, and then is none.
LIMIT_KEY = """
    INSERT INTO people_key_account (tenant_id, key_id, account_id)
    SELECT k.tenant_id, k.id, a.id
      FROM people_key k JOIN accounts_account a ON a.tenant_id = k.tenant_id AND a.public_id = ANY($3)
     WHERE k.tenant_id = $1 AND k.public_id = $2
       FOR KEY SHARE OF a
    RETURNING account_id
"""
REVOKE_KEY = """
    UPDATE people_key
       SET revoked_at = coalesce(revoked_at, now())
     WHERE tenant_id = $1 AND public_id = $2
    RETURNING id
"""
TOUCH_KEY = """
    UPDATE people_key
       SET last_used_at = now()
     WHERE tenant_id = $1 AND id = $2
       AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')
"""


async def tenant_named(conn: Connection, name: str) -> TenantId:
    """The tenant of that name, made if there is none. Unbound."""
    return TenantId(await conn.fetchval(TENANT_NAMED, name, new_public_id()))


TENANTS = "SELECT people_tenants($1, $2)"


async def tenants(conn: Connection, after: int, most: int) -> list[TenantId]:
    """Every tenant in order, from the one behind `after`. The transaction is bound to none."""
    return [TenantId(row[0]) for row in await conn.fetch(TENANTS, after, most)]


async def find_key(conn: Connection, digest: bytes) -> Holder | None:
    """Who holds the key with this SHA-256, unless it is revoked or expired. Unbound."""
    row = await conn.fetchrow(FIND_KEY, digest)
    if row is None:
        return None
    return Holder(
        TenantId(row["tenant_id"]),
        row["key_id"],
        row["public_id"],
        _scopes(row["scopes"]),
        row["last_used_at"],
        None if row["accounts"] is None else frozenset(map(AccountId, row["accounts"])),
    )


async def touch_key(conn: Connection, tenant: TenantId, key: int) -> None:
    """Note that a key is in use, at most once a minute."""
    await conn.execute(TOUCH_KEY, tenant, key)


async def tenant_of(conn: Connection, tenant: TenantId) -> Tenant:
    row = await conn.fetchrow(TENANT, tenant)
    assert row is not None  # a tenant that is bound exists
    return Tenant(TenantId(row["tenant_id"]), row["public_id"], row["name"], row["created_at"])


async def add_key(
    conn: Connection,
    tenant: TenantId,
    *,
    name: str,
    start: str,
    digest: bytes,
    scopes: frozenset[Scope],
    expires_at: datetime | None,
    accounts: Collection[UUID] | None,
) -> Key:
    """Limited to these accounts; None: not limited. Raises `NoSuchAccount`."""
    public_id, wanted = new_public_id(), set(accounts or ())
    await conn.execute(FORGET_KEYS, tenant, MOST_KEYS)
    await conn.execute(
        ADD_KEY, tenant, public_id, name, start, digest, sorted(scopes), expires_at, accounts is not None
    )
    if wanted and len(await conn.fetch(LIMIT_KEY, tenant, public_id, list(wanted))) < len(wanted):
        raise NoSuchAccount("There is no such account.")
    made = await key(conn, tenant, public_id)
    assert made is not None  # it was inserted in this transaction
    return made


OPEN_KEYS = "SELECT count(*) FROM people_key WHERE tenant_id = $1 AND revoked_at IS NULL"


async def open_keys(conn: Connection, tenant: TenantId) -> int:
    """How many there are that are not revoked."""
    count: int = await conn.fetchval(OPEN_KEYS, tenant)
    return count


async def key(conn: Connection, tenant: TenantId, public_id: UUID) -> Key | None:
    row = await conn.fetchrow(KEY, tenant, public_id)
    return _key(row) if row else None


async def keys(conn: Connection, tenant: TenantId) -> list[Key]:
    """Every key, those too that were revoked of late, the oldest first."""
    return [_key(row) for row in await conn.fetch(KEYS, tenant)]


async def revoke_key(conn: Connection, tenant: TenantId, public_id: UUID) -> Key | None:
    """End a key at once; None when the tenant has no such key. A key that has ended stays as it is."""
    ended = await conn.fetchval(REVOKE_KEY, tenant, public_id)
    return None if ended is None else await key(conn, tenant, public_id)


ARRIVE = "SELECT tenant, person FROM people_arrive($1, $2, $3, $4, $5, $6, $7, $8, $9)"


async def arrive(conn: Connection, who: Identity) -> tuple[TenantId, UUID]:
    """The tenant and the public id of somebody who has come, made at first sight. Unbound."""
    title = who.organization_name or who.organization or who.email or who.name or who.subject
    row = await conn.fetchrow(
        ARRIVE,
        who.issuer,
        who.subject,
        who.organization,
        title,
        who.role,
        who.name,
        who.email,
        new_public_id(),
        new_public_id(),
    )
    assert row is not None  # a function that returns next once
    return TenantId(row["tenant"]), row["person"]


MEMBER = "SELECT public_id, name, email, role, since FROM people_member($1, $2)"


async def member(conn: Connection, tenant: TenantId, person: UUID) -> Member | None:
    row = await conn.fetchrow(MEMBER, tenant, person)
    return Member(**{**dict(row), "role": Role(row["role"])}) if row else None


NEW_LINK = "SELECT people_new_link($1, $2, $3, $4)"


async def new_link(conn: Connection, tenant: TenantId, digest: bytes, good_for: timedelta) -> datetime:
    """Store a link for whoever holds this machine; until when it is good."""
    until: datetime = await conn.fetchval(NEW_LINK, tenant, digest, good_for, new_public_id())
    return until


USE_LINK = "SELECT session_id FROM people_use_link($1, $2, $3, $4)"


async def use_link(conn: Connection, link: bytes, session: bytes, good_for: timedelta) -> bool:
    """Use a link up and open a session; False where the link is not good. Unbound."""
    return await conn.fetchval(USE_LINK, link, session, good_for, new_public_id()) is not None


FIND_SESSION = "SELECT tenant, id, public_id, person, role, last_used_at FROM people_find_session($1)"
TOUCH_SESSION = """
    UPDATE people_session
       SET last_used_at = now()
     WHERE tenant_id = $1 AND id = $2
       AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')
"""


async def find_session(conn: Connection, digest: bytes) -> tuple[Caller, int, datetime | None] | None:
    """Whose session this is, its number, and when it was last used; None where it is over. Unbound."""
    row = await conn.fetchrow(FIND_SESSION, digest)
    if row is None:
        return None
    person = Person(row["person"], row["role"], row["public_id"])
    caller = Caller(TenantId(row["tenant"]), None, SCOPES[Role(row["role"])], person)
    return caller, row["id"], row["last_used_at"]


async def touch_session(conn: Connection, tenant: TenantId, session: int) -> None:
    """Note that a session is in use, at most once a minute."""
    await conn.execute(TOUCH_SESSION, tenant, session)


SESSIONS = "SELECT public_id, person_id, created_at, expires_at, last_used_at FROM people_sessions($1)"


async def sessions(conn: Connection, tenant: TenantId) -> list[Session]:
    """Those that are open, the oldest first."""
    return [Session(**dict(row)) for row in await conn.fetch(SESSIONS, tenant)]


REVOKE_SESSION = """
    UPDATE people_session
       SET revoked_at = now()
     WHERE tenant_id = $1 AND public_id = $2 AND revoked_at IS NULL AND expires_at > now()
    RETURNING public_id
"""


async def revoke_session(conn: Connection, tenant: TenantId, public_id: UUID) -> bool:
    """End a session at once; False when the tenant has no such session that is open."""
    return await conn.fetchval(REVOKE_SESSION, tenant, public_id) is not None


TENANT_KNOWN = "SELECT people_tenant_known($1)"


async def tenant_known(conn: Connection, wanted: str) -> TenantId | None:
    """The tenant with this public id or name. Unbound."""
    found = await conn.fetchval(TENANT_KNOWN, wanted)
    return None if found is None else TenantId(found)


ADD_READER = """
    INSERT INTO people_reader (tenant_id, role) VALUES ($1, $2)
    ON CONFLICT (tenant_id) DO UPDATE SET role = excluded.role
"""
REMOVE_READER = "DELETE FROM people_reader WHERE tenant_id = $1"


async def add_reader(conn: Connection, tenant: TenantId, role: str) -> None:
    """Let a login of this name read the tenant's mail."""
    await conn.execute(ADD_READER, tenant, role)


async def remove_reader(conn: Connection, tenant: TenantId) -> None:
    """Nobody reads the tenant's mail in SQL from here on."""
    await conn.execute(REMOVE_READER, tenant)


def _key(row: Record) -> Key:
    return Key(**{**dict(row), "scopes": _scopes(row["scopes"])})


def _scopes(names: list[str]) -> frozenset[Scope]:
    """Scopes that a later release may have added mean nothing to this one."""
    return frozenset(Scope(name) for name in names if name in set(Scope))
