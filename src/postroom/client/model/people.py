"""Who is asking, their keys and sessions; and whether the server is well."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

Scope = Literal["read", "sync", "propose", "admin"]
Role = Literal["admin", "member", "reader"]


@dataclass(frozen=True, slots=True)
class Tenant:
    id: UUID
    name: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Key:
    id: UUID
    name: str
    start: str
    scopes: Sequence[Scope]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    accounts: Sequence[UUID] | None  # all that it may see; None: the tenant's


@dataclass(frozen=True, slots=True)
class NewKey:
    id: UUID
    name: str
    start: str
    scopes: Sequence[Scope]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    accounts: Sequence[UUID] | None
    key: str  # in this answer and in no other


@dataclass(frozen=True, slots=True)
class Keys:
    keys: Sequence[Key]


@dataclass(frozen=True, slots=True)
class Person:
    id: UUID
    name: str | None
    email: str | None
    role: Role
    since: datetime
    session: UUID | None


@dataclass(frozen=True, slots=True)
class Session:
    id: UUID
    person: UUID
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class Sessions:
    sessions: Sequence[Session]


@dataclass(frozen=True, slots=True)
class Me:
    tenant: Tenant
    key: Key | None
    person: Person | None
    scopes: Sequence[Scope]
    may_approve: bool


@dataclass(frozen=True, slots=True)
class Health:
    status: Literal["ok"] = "ok"
    version: str = ""
