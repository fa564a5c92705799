"""A webhook: where events are told by HTTP, which, and how that goes; what can be wrong with one."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NewType
from uuid import UUID

from postroom import errors
from postroom.events.model import Stream
from postroom.ids import AccountId, TenantId

WebhookId = NewType("WebhookId", int)

CHANGED = "webhooks"
"""A hint: a webhook is there, is nobody's, or is to be delivered otherwise than before."""
MOST = 100
"""Webhooks of a tenant."""


class State(StrEnum):
    ACTIVE = "active"
    DISABLED = "disabled"  # by its owner, and by nobody else; made active again, it goes on where it stood


@dataclass(frozen=True, slots=True)
class Webhook:
    tenant: TenantId
    id: WebhookId
    public_id: UUID
    url: str
    description: str
    types: Sequence[str] | None  # as in a filter of the feed; None: all
    accounts: frozenset[AccountId] | None  # None: all, and what belongs to no account
    state: State
    secret: str  # sealed
    previous: str | None  # the same of the one before, which signs as well until then
    previous_until: datetime | None
    created_at: datetime
    fence: int  # grows with each process that takes it, and with each change by its owner
    delivered_at: datetime | None  # for the last time
    failing_since: datetime | None  # None: whatever was tried was delivered in the end, or it is disabled
    failure: str | None  # the code of what failed last
    told_at: datetime | None  # that it fails


@dataclass(frozen=True, slots=True)
class Reached:
    """How far the events of one stream were told to a webhook."""

    stream: Stream
    seq: int  # up to here all were delivered, or are not wanted
    failures: int  # in a row, of the event behind that
    next_at: datetime | None  # when that is tried again
    failing_since: datetime | None


@dataclass(frozen=True, slots=True)
class Behind:
    """What a webhook was not told yet, wanted or not: how many events, and when the oldest was logged."""

    events: int
    since: datetime | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """One attempt to deliver. `code`: why it counts as not delivered; None: it was delivered."""

    at: datetime
    seconds: float
    status: int | None  # None: no answer came
    code: str | None
    said: str  # how the answer begins, or why there was none


@dataclass(frozen=True, slots=True)
class Delivery:
    """An attempt to tell an event."""

    id: int
    message: str  # the header `webhook-id`
    account: UUID | None  # of the stream, unless it is none's or gone
    stream: Stream
    seq: int
    kind: str
    attempt: int
    outcome: Outcome


class NoSuchWebhook(errors.NotFound):
    code = "webhooks.not_found"


class TooMany(errors.Conflict):
    code = "webhooks.too_many"


class LogLost(errors.Broken):
    """The log is not the one that was followed: the database went back to a backup, or all ends."""

    code = "webhooks.log_lost"


class Outdated(errors.Conflict):
    """What somebody knows of a webhook that they deliver is old: what they still want to write is refused."""

    code = "webhooks.outdated"


class BadAsked(errors.Invalid):
    """What is to be told again was said in two ways, or in none."""

    code = "webhooks.bad_replay"


BAD_STATUS, GONE = "webhooks.bad_status", "webhooks.gone"
"""Codes of answers that are no success: whatever is not 2xx; and 410, which says that nobody wants this."""

FAULT = "webhooks.fault"
"""The code of a webhook that is not delivered for a fault of ours; the log of the process has it."""
