"""Who is asking, as every room sees them. Knows nothing of HTTP."""

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from postroom.errors import Forbidden
from postroom.ids import TenantId


class Scope(StrEnum):
    """What a key may do. `ADMIN` includes the rest."""

    READ = "read"  # see mail, accounts and their state
    SYNC = "sync"  # start a sync
    PROPOSE = "propose"  # propose changes for a person to approve
    ADMIN = "admin"  # connect and remove accounts


class MissingScope(Forbidden):
    code = "http.missing_scope"


@dataclass(frozen=True, slots=True)
class Caller:
    """A tenant's application, known by its key."""

    tenant: TenantId
    key_id: UUID
    scopes: frozenset[Scope]

    def require(self, scope: Scope) -> None:
        """Raises `MissingScope`."""
        if scope not in self.scopes and Scope.ADMIN not in self.scopes:
            raise MissingScope(f"This key lacks the scope {scope.value!r}.", scope=scope.value)
