"""How webhooks look from outside: the models of the routes."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, Field

from postroom.http.asked import NUMBER, Body, Moment, Text
from postroom.ids import AccountId

from .model import Behind, Delivery, Outcome, State, Webhook

Url = Annotated[Text, Field(max_length=2000, description="Where events are posted, http or https.")]
Words = Annotated[list[Text], Field(min_length=1, max_length=100)]
Accounts = Annotated[list[UUID], Field(min_length=1, max_length=1000)]
About = Annotated[str, Field(max_length=1000, pattern=r"^[^\x00]*$")]


class WebhookIn(Body):
    url: Url
    types: Words | None = Field(
        None, description="Kinds of events, or rooms: `mail.added`, `sync.*`. Null: all."
    )
    accounts: Accounts | None = Field(
        None, description="Only what happens to these. Null: to all, and to none."
    )
    description: About = ""


class WebhookChangeIn(Body):
    url: Url | None = None
    types: Words | None = None
    accounts: Accounts | None = None
    description: About | None = None
    state: State | None = Field(
        None, description="`disabled`: nothing is posted; made `active`, it goes on where it stood."
    )


class RotateIn(Body):
    overlap_hours: Annotated[int, Field(ge=0, le=720), NUMBER] = Field(
        24, description="For so long the secret before signs as well."
    )


class ReplayIn(Body):
    """One of both."""

    after: Annotated[Text, Field(max_length=200)] | None = Field(
        None, description="A cursor of the feed; `start`: all that there is; `end`: nothing of what was."
    )
    since: Moment | None = None


class BehindOut(BaseModel):
    events: int = Field(description="That were not told yet, also of kinds that are not wanted.")
    seconds: float | None = Field(description="Since the oldest of them was logged. Null: there is none.")


class WebhookOut(BaseModel):
    id: UUID
    url: str
    description: str
    types: list[str] | None
    accounts: list[UUID] | None = Field(description="Without those that are gone.")
    state: State
    created_at: datetime
    previous_secret_until: datetime | None = Field(description="Until then the secret before signs as well.")
    delivered_at: datetime | None = Field(description="When an event was delivered, for the last time.")
    failing_since: datetime | None = Field(
        description="Null: whatever was tried was delivered in the end, or it is disabled."
    )
    failure: str | None = Field(description="The code of what fails.")


class WebhookStatusOut(WebhookOut):
    behind: BehindOut


class NewWebhookOut(WebhookOut):
    secret: str
    """Shown this once."""


class WebhooksOut(BaseModel):
    webhooks: list[WebhookOut]


class AttemptOut(BaseModel):
    at: datetime
    seconds: float
    status: int | None = Field(description="Of the answer. Null: none came.")
    code: str | None = Field(description="Why it counts as not delivered. Null: it was.")
    said: str = Field(description="How the answer begins, or why there was none.")


class DeliveryOut(AttemptOut):
    message: str = Field(description="The header `webhook-id`.")
    account: UUID | None
    stream: int
    seq: int
    kind: str
    attempt: int = Field(description="1, 2, 3 ... of this event.")


class DeliveryPage(BaseModel):
    items: list[DeliveryOut]
    has_next: bool
    next: str | None


class SecretOut(BaseModel):
    secret: str
    previous_until: datetime | None


def fields_of(webhook: Webhook, called: Mapping[AccountId, UUID]) -> dict[str, Any]:
    accounts = webhook.accounts
    return {
        "id": webhook.public_id,
        "url": webhook.url,
        "description": webhook.description,
        "types": webhook.types,
        "accounts": None if accounts is None else [called[id] for id in sorted(accounts) if id in called],
        "state": webhook.state,
        "created_at": webhook.created_at,
        "previous_secret_until": webhook.previous_until,
        "delivered_at": webhook.delivered_at,
        "failing_since": webhook.failing_since,
        "failure": webhook.failure,
    }


def behind_out(behind: Behind) -> BehindOut:
    seconds = None if behind.since is None else (datetime.now(UTC) - behind.since).total_seconds()
    return BehindOut(events=behind.events, seconds=seconds)


def attempt_out(outcome: Outcome) -> AttemptOut:
    return AttemptOut(**_attempt(outcome))


def deliveries_out(found: Sequence[Delivery]) -> list[DeliveryOut]:
    return [
        DeliveryOut(
            message=each.message,
            account=each.account,
            stream=each.stream,
            seq=each.seq,
            kind=each.kind,
            attempt=each.attempt,
            **_attempt(each.outcome),
        )
        for each in found
    ]


def _attempt(outcome: Outcome) -> dict[str, Any]:
    return {
        "at": outcome.at,
        "seconds": outcome.seconds,
        "status": outcome.status,
        "code": outcome.code,
        "said": outcome.said,
    }
