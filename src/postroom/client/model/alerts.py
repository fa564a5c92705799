"""What somebody has to look at."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class OperatorAlert:
    """Something that somebody has to look at, until it is over."""

    id: UUID
    kind: str  # of the event that it began with
    account: UUID | None
    subject: UUID  # the account, job, webhook or log (then the tenant) that it is about
    code: str | None
    opened_at: datetime
    closed_at: datetime | None

    @property
    def is_open(self) -> bool:
        return self.closed_at is None


@dataclass(frozen=True, slots=True)
class OperatorAlertPage:
    items: Sequence[OperatorAlert]
    has_next: bool
    next: str | None
