"""Who a token's person is here: found, or made at first sight, and remembered for a minute."""

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

from postroom.db.pool import Database
from postroom.http.caller import Caller, Person
from postroom.ids import TenantId
from postroom.people import store
from postroom.people.model import SCOPES, Identity

REMEMBERED = timedelta(minutes=1)
MOST = 10_000
"""People whom this process remembers."""


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Nothing that a token says is remembered, only whom it means here; each token is checked in full."""

    database: Database
    _known: dict[Identity, tuple[float, TenantId, UUID]] = field(default_factory=dict)

    async def caller(self, who: Identity) -> Caller:
        """Somebody who comes again with another role, name or organisation is looked up anew."""
        now = asyncio.get_running_loop().time()
        found = self._known.get(who)
        if found is None or now - found[0] > REMEMBERED.total_seconds():
            async with self.database.single() as conn:
                tenant, person = await store.arrive(conn, who)
            self._remember(who, (now, tenant, person))
        else:
            _, tenant, person = found
        signed_in = Person(person, who.role, is_impersonated=who.is_impersonated)
        return Caller(tenant, None, SCOPES[who.role], signed_in)

    def _remember(self, who: Identity, what: tuple[float, TenantId, UUID]) -> None:
        """The last to be looked up stands last, so the first has waited longest."""
        self._known.pop(who, None)
        self._known[who] = what
        if len(self._known) > MOST:
            del self._known[next(iter(self._known))]
