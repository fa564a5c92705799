"""What handlers get, how far they are, and what can be wrong with an application that has some."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from postroom import errors
from postroom.client.model import events


@dataclass(frozen=True, slots=True)
class Event(events.Event):
    """An event of the log, as the client's, and whose it is."""

    tenant: UUID

    @property
    def message(self) -> UUID | None:
        """The message that it names."""
        return UUID(self.data["message"]) if "message" in self.data else None


@dataclass(frozen=True, slots=True)
class Handled:
    """How far a handler is in the log of a tenant."""

    name: str
    tenant: UUID
    failures: int  # of the next event, in a row
    retry_at: datetime | None
    stopped_at: datetime | None  # None: it goes on


class HandlerKnown(errors.Invalid):
    """Two handlers of one name: they would share a cursor."""

    code = "library.handler_known"


class Unusable(errors.Invalid):
    """What was given as `session` opens no transactions that handlers can run in."""

    code = "library.unusable"


class OtherDatabase(errors.Broken):
    """The application's connections lead to another database than Postroom's."""

    code = "library.other_database"


class HandlerEnded(errors.Invalid):
    """A handler has committed or rolled back the transaction that it was given."""

    code = "library.handler_ended"


class HandlerCancelled(errors.Invalid):
    """A handler has awaited a task that was cancelled, and has let that pass."""

    code = "library.handler_cancelled"


class NotOpen(errors.TryLater):
    """Postroom is used outside of its block or lifespan."""

    code = "library.not_open"
