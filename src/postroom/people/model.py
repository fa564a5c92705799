"""Tenants, and the keys of their applications."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from postroom import errors
from postroom.http.caller import Scope
from postroom.ids import TenantId


@dataclass(frozen=True, slots=True)
class Tenant:
    id: TenantId
    public_id: UUID
    name: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Key:
    """An API key, as far as we know it: the key itself is not kept, only its SHA-256."""

    public_id: UUID
    name: str
    start: str  # its first characters, for people to tell keys apart
    scopes: frozenset[Scope]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None  # to the minute


@dataclass(frozen=True, slots=True)
class Holder:
    """Whose key it is that was shown, and when it was last."""

    tenant: TenantId
    key: int
    public_id: UUID
    scopes: frozenset[Scope]
    last_used_at: datetime | None


class NoSuchKey(errors.NotFound):
    code = "people.key_not_found"


class UnusableKeyFile(errors.Broken):
    """The file of the first key cannot be read or written."""

    code = "people.key_file"
