"""Logins that read a tenant's mail in SQL: one for each tenant, whose name says whose it is.

What such a login sees is decided by a row that it cannot change (see migration 0054). The row is written
before the login is made, and goes before it does: whatever is cut off in between reads nothing.
"""

import hashlib
import hmac
import secrets
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from postroom.db import roles
from postroom.db.failures import translating
from postroom.db.pool import Database, connect
from postroom.ids import TenantId
from postroom.people import store
from postroom.people.model import NoSuchTenant, Tenant

ROUNDS = 4096  # as PostgreSQL itself; the password has 256 random bits
LIMIT = timedelta(minutes=1)
CONNECTIONS = 5


@dataclass(frozen=True, slots=True)
class Reader:
    """A login. `left`: what an administrator has to run before it works, as our user may not."""

    tenant: Tenant
    role: str
    url: str = field(repr=False)
    left: Sequence[str] = field(repr=False)


async def named(db: Database, wanted: str) -> TenantId:
    """The tenant with this public id or name. Raises `NoSuchTenant`."""
    async with db.unbound() as conn:
        found = await store.tenant_known(conn, wanted)
    if found is None:
        raise NoSuchTenant(f"There is no tenant {wanted}.")
    return found


async def grant(
    db: Database, tenant: TenantId, *, limit: timedelta = LIMIT, connections: int = CONNECTIONS
) -> Reader:
    """Make the login, or give it a new password. `limit` is how long one of its statements may take."""
    async with db.transaction(tenant) as conn:
        whose = await store.tenant_of(conn, tenant)
        role = role_of(whose)
        await store.add_reader(conn, tenant, role)
    password = secrets.token_urlsafe(32)
    own = await connect(db.dsn)  # as the user of the URL: our roles make no logins
    try:
        with translating(own):
            kept = verifier(password, secrets.token_bytes(16))
            left = await roles.make_reader(own, role, kept, limit=limit, connections=connections)
    finally:
        own.terminate()
    return Reader(whose, role, url_of(db.dsn, role, password), left)


async def revoke(db: Database, tenant: TenantId) -> Sequence[str]:
    """End it and its sessions; what an administrator has to run, if anything. It reads nothing either way."""
    async with db.transaction(tenant) as conn:
        whose = await store.tenant_of(conn, tenant)
        await store.remove_reader(conn, tenant)
    own = await connect(db.dsn)
    try:
        with translating(own):
            return await roles.drop_reader(own, role_of(whose))
    finally:
        own.terminate()


def role_of(tenant: Tenant) -> str:
    """Names are the whole server's: two databases on it may each have a tenant of one number or name."""
    return f"postroom_reader_{tenant.public_id.hex}"


def url_of(dsn: str, role: str, password: str) -> str:
    """The URL of the same database for somebody else."""
    parts = urlsplit(dsn)
    kept = [(name, value) for name, value in parse_qsl(parts.query) if name not in {"user", "password"}]
    path = parts.path
    if not path.strip("/") and not {"dbname", "database"} & {name for name, _ in kept}:
        path = f"/{parts.username or ''}"  # which is where the first user came by default
    netloc = f"{role}:{password}@{parts.netloc.rpartition('@')[2]}"
    return urlunsplit(parts._replace(netloc=netloc, path=path, query=urlencode(kept, safe="/")))


def verifier(password: str, salt: bytes) -> str:
    """What PostgreSQL keeps of a password (RFC 5803), so that its log never has the password itself."""
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, ROUNDS)
    stored = hashlib.sha256(_keyed(salted, b"Client Key")).digest()
    server = _keyed(salted, b"Server Key")
    parts = [b64encode(part).decode() for part in (salt, stored, server)]
    return f"SCRAM-SHA-256${ROUNDS}:{parts[0]}${parts[1]}:{parts[2]}"


def _keyed(key: bytes, text: bytes) -> bytes:
    return hmac.digest(key, text, "sha256")
