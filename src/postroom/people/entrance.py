"""Whoever shows something at the door: a key, a session of ours, an issuer's token."""

from dataclasses import dataclass, field

from postroom.db.pool import Database
from postroom.http.caller import Caller
from postroom.http.cookies import PREFIX
from postroom.people import keys, sessions
from postroom.people.arrivals import Arrivals
from postroom.people.tokens import Issuers


@dataclass(slots=True)
class Entrance:
    """Finds callers. Without issuers nothing but keys and sessions opens."""

    database: Database
    issuers: Issuers = field(default_factory=Issuers)
    arrivals: Arrivals = field(init=False)

    def __post_init__(self) -> None:
        self.arrivals = Arrivals(self.database)

    async def find(self, text: str) -> Caller | None:
        """Who shows this; None where it is a key or session that is not good.

        Raises `BadToken`, `Expired` or `IssuerAway` for a token.
        """
        if text.startswith(keys.PREFIX) or not (text.startswith(PREFIX) or self.issuers.named):
            return await keys.find(self.database, text)
        if text.startswith(PREFIX):
            return await sessions.find(self.database, text)
        return await self.arrivals.caller(await self.issuers.verified(text))
