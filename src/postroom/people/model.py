"""Tenants, the keys of their applications, their people, and how these sign in."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from postroom import errors
from postroom.http.caller import Scope
from postroom.ids import AccountId, TenantId


class Role(StrEnum):
    """What somebody is in a tenant."""

    ADMIN = "admin"
    MEMBER = "member"
    READER = "reader"


SCOPES = {
    Role.ADMIN: frozenset(Scope),
    Role.MEMBER: frozenset({Scope.READ, Scope.SYNC, Scope.PROPOSE}),
    Role.READER: frozenset({Scope.READ}),
}


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
    accounts: (
        Sequence[UUID] | None
    )  # all that it may see, without those that are gone; None: it is not limited


@dataclass(frozen=True, slots=True)
class Holder:
    """Whose key it is that was shown, and when it was last."""

    tenant: TenantId
    key: int
    public_id: UUID
    scopes: frozenset[Scope]
    last_used_at: datetime | None
    accounts: frozenset[AccountId] | None


@dataclass(frozen=True, slots=True)
class Identity:
    """Who somebody is, and for whom they come, as a token says."""

    issuer: str
    subject: str
    organization: str | None = None  # None: they come for themselves
    organization_name: str | None = None
    role: Role = Role.ADMIN  # everybody rules what is theirs alone
    name: str | None = None
    email: str | None = None
    is_impersonated: bool = False


@dataclass(frozen=True, slots=True)
class Member:
    """A person as one of a tenant."""

    public_id: UUID
    name: str | None
    email: str | None
    role: Role
    since: datetime


@dataclass(frozen=True, slots=True)
class Session:
    """A sign-in of our own, as far as we know it: of what its browser shows only the SHA-256 is kept."""

    public_id: UUID
    person_id: UUID
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None  # to the minute


class NoSuchTenant(errors.NotFound):
    code = "people.tenant_not_found"


class NoSuchKey(errors.NotFound):
    code = "people.key_not_found"


class TooManyKeys(errors.Conflict):
    code = "people.too_many_keys"


class NoSuchAccount(errors.NotFound):
    """A key is to be limited to an account that is not there."""

    code = "people.account_not_found"


class UnusableKeyFile(errors.Broken):
    """The file of the first key cannot be read or written."""

    code = "people.key_file"


class AlreadyOver(errors.Invalid):
    """A key is to end before it begins."""

    code = "people.already_over"


class BadToken(errors.Unauthenticated):
    """What was shown is no token that we believe."""

    code = "people.bad_token"


class Expired(BadToken):
    code = "people.token_expired"


class IssuerAway(errors.TryLater):
    """Whether a token is good cannot be said, because its issuer does not tell its keys."""

    code = "people.issuer_away"


class BadLink(errors.Unauthenticated):
    """A link to sign in that is not good, or not any more."""

    code = "people.bad_link"


class NoSession(errors.Forbidden):
    code = "people.no_session"


class NoSuchSession(errors.NotFound):
    code = "people.session_not_found"
