"""An alert, what is said of it, and where to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from postroom import errors
from postroom.events.model import Stream
from postroom.ids import AccountId, TenantId

LIST = "/v1/alerts?open=true"
"""Where a tenant's alerts are listed."""


class Channel(StrEnum):
    """How the operator is told."""

    URL = "url"
    MAIL = "mail"


@dataclass(frozen=True, slots=True)
class Entry:
    """Of the log, as far as alerts need it."""

    position: int
    stream: Stream
    seq: int
    at: datetime
    kind: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Begins:
    """Something has to be looked at from now on. `kind`: of the event that says so."""

    kind: str
    subject: UUID
    code: str | None
    at: datetime
    stream: Stream


@dataclass(frozen=True, slots=True)
class Ends:
    """Alerts of these kinds about it are over; None: all of them."""

    kinds: frozenset[str] | None
    subject: UUID
    at: datetime


Change = Begins | Ends


@dataclass(frozen=True, slots=True)
class Alert:
    number: int
    public_id: UUID
    kind: str
    subject: UUID  # the account, job, webhook or log (then the tenant) that it is about
    account: AccountId | None
    code: str | None
    opened_at: datetime
    closed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Message:
    """One thing to say of an alert. `public_id` is the same however often it is tried."""

    tenant: TenantId
    number: int
    public_id: UUID
    tenant_id: UUID  # what the tenant is called outside
    channel: Channel
    is_over: bool
    attempts: int
    alert: Alert


@dataclass(frozen=True, slots=True)
class Amount:
    """What is to be said over a channel by itself, and what was said lately, in whatever way."""

    waiting: int
    said: int
    is_together: bool  # some of what was said lately was said together


@dataclass(frozen=True, slots=True)
class Together:
    """Messages that are told as one and that nobody has taken yet."""

    public_id: UUID
    attempts: int
    is_due: bool


@dataclass(frozen=True, slots=True)
class Count:
    """Alerts of a kind with a code, of all tenants."""

    kind: str
    code: str | None
    opened: int
    closed: int


@dataclass(frozen=True, slots=True)
class Digest:
    """Many messages as one. Whatever is said of it is the same however often it is tried."""

    public_id: UUID
    at: datetime  # when the last of it happened
    counts: Sequence[Count]  # the most frequent first
    first: Sequence[Message]

    @property
    def opened(self) -> int:
        return sum(count.opened for count in self.counts)

    @property
    def closed(self) -> int:
        return sum(count.closed for count in self.counts)


class NotTaken(errors.TryLater):
    """The operator's receiver answered, and did not take it."""

    code = "alerts.not_taken"
