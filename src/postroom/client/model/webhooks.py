"""Where events are told by HTTP, and how that goes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

WebhookState = Literal["active", "disabled"]


@dataclass(frozen=True, slots=True)
class Behind:
    events: int  # that were not told yet, also of kinds that are not wanted
    seconds: float | None  # since the oldest of them was logged


@dataclass(frozen=True, slots=True)
class Webhook:
    id: UUID
    url: str
    description: str
    types: Sequence[str] | None
    accounts: Sequence[UUID] | None
    state: WebhookState
    created_at: datetime
    previous_secret_until: datetime | None
    delivered_at: datetime | None
    failing_since: datetime | None  # None: whatever was tried was delivered in the end, or it is disabled
    failure: str | None


@dataclass(frozen=True, slots=True)
class WebhookStatus(Webhook):
    behind: Behind


@dataclass(frozen=True, slots=True)
class NewWebhook(Webhook):
    secret: str  # in this answer and in no other


@dataclass(frozen=True, slots=True)
class Webhooks:
    webhooks: Sequence[Webhook]


@dataclass(frozen=True, slots=True)
class Secret:
    secret: str  # in this answer and in no other
    previous_until: datetime | None  # until then the one before signs as well


@dataclass(frozen=True, slots=True)
class Attempt:
    at: datetime
    seconds: float
    status: int | None  # None: no answer came
    code: str | None  # None: it was delivered
    said: str


@dataclass(frozen=True, slots=True)
class Delivery(Attempt):
    message: str
    account: UUID | None
    stream: int
    seq: int
    kind: str
    attempt: int


@dataclass(frozen=True, slots=True)
class DeliveryPage:
    items: Sequence[Delivery]
    has_next: bool
    next: str | None
