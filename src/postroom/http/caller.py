"""Who is asking, as every room sees them. Knows nothing of HTTP."""

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from postroom.errors import Forbidden, Unauthenticated
from postroom.ids import AccountId, TenantId


class Scope(StrEnum):
    """What a caller may do. `ADMIN` includes the rest."""

    READ = "read"  # see mail, accounts and their state
    SYNC = "sync"  # start a sync
    PROPOSE = "propose"  # propose changes for a person to approve
    ADMIN = "admin"  # connect and remove accounts, make and end keys


class NoKey(Unauthenticated):
    """Nothing was shown."""

    code = "http.no_key"


class MissingScope(Forbidden):
    code = "http.missing_scope"


class LimitedKey(Forbidden):
    """What was asked for concerns the whole tenant."""

    code = "http.limited_key"


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who signed in."""

    id: UUID
    role: str
    session: UUID | None = None  # of our own; None: an issuer's token was shown
    is_impersonated: bool = False  # somebody else acts in their name


@dataclass(frozen=True, slots=True)
class Caller:
    """A tenant's application, known by its key, or one of its people.

    To one that is limited to some `accounts` the others do not exist. A person is never limited.
    """

    tenant: TenantId
    key_id: UUID | None
    scopes: frozenset[Scope]
    person: Person | None = None
    accounts: frozenset[AccountId] | None = None  # None: all of the tenant

    @property
    def who(self) -> tuple[TenantId, UUID | None]:
        """The key or the person, among those of all tenants."""
        if self.key_id is None and self.person is not None:
            return self.tenant, self.person.id
        return self.tenant, self.key_id

    @property
    def may_approve(self) -> bool:
        """Whether this is a person, and that one: keys propose only, nobody approves in another's name."""
        return self.person is not None and self.key_id is None and not self.person.is_impersonated

    def require(self, scope: Scope) -> None:
        """Raises `MissingScope`."""
        if scope not in self.scopes and Scope.ADMIN not in self.scopes:
            who = "This key lacks" if self.person is None else f"The role '{self.person.role}' lacks"
            raise MissingScope(f"{who} the scope {scope.value!r}.", scope=scope.value)

    def require_all_accounts(self) -> None:
        """Raises `LimitedKey`."""
        if self.accounts is not None:
            raise LimitedKey("This key is limited to some accounts, and this takes one that is not.")
