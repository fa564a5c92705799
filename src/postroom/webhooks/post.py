"""One attempt: sign a message, post it, and say what came of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import monotonic
from uuid import UUID

from postroom.errors import PostroomError
from postroom.ids import TenantId
from postroom.net.client import Answer
from postroom.net.kept import Kept
from postroom.vault.model import Slot
from postroom.vault.seal import Vault

from .model import BAD_STATUS, GONE, Outcome, Webhook
from .sign import headers

SECRET, PREVIOUS = "webhooks_webhook.secret", "webhooks_webhook.previous"


@dataclass(frozen=True, slots=True)
class Secrets:
    """What a webhook's messages are signed with; the previous one until its time is over."""

    current: str
    previous: str | None
    until: datetime | None

    def at(self, now: datetime) -> Sequence[str]:
        if self.previous is None or self.until is None or now >= self.until:
            return [self.current]
        return [self.current, self.previous]

    def __repr__(self) -> str:
        return "Secrets(...)"


@dataclass(frozen=True, slots=True)
class Posted:
    outcome: Outcome
    wait: timedelta | None  # how long the receiver asks to be left alone


def slot(tenant: TenantId, webhook: UUID, field: str) -> Slot:
    """Where a secret of a webhook belongs."""
    return Slot(tenant, str(webhook), field)


def opened(vault: Vault, webhook: Webhook) -> Secrets:
    """Raises `WrongKey` or `Damaged`."""
    current, until = current_of(vault, webhook), webhook.previous_until
    if webhook.previous is None or until is None or until <= datetime.now(UTC):
        return Secrets(current, None, None)
    previous = vault.open(webhook.previous, slot(webhook.tenant, webhook.public_id, PREVIOUS)).decode()
    return Secrets(current, previous, until)


def current_of(vault: Vault, webhook: Webhook) -> str:
    """The secret alone. Raises `WrongKey` or `Damaged`."""
    return vault.open(webhook.secret, slot(webhook.tenant, webhook.public_id, SECRET)).decode()


async def post(line: Kept, secrets: Secrets, message: str, body: bytes) -> Posted:
    """Whatever goes wrong is an outcome."""
    at, began = datetime.now(UTC), monotonic()
    try:
        answer = await line.post(body, headers(secrets.at(at), message, at, body))
    except PostroomError as error:  # of `net`: each says in a sentence why no answer came
        return Posted(Outcome(at, monotonic() - began, None, error.code, error.message), None)
    outcome = Outcome(at, monotonic() - began, answer.status, _code(answer), _text(answer))
    return Posted(outcome, answer.retry_after)


def _code(answer: Answer) -> str | None:
    if 200 <= answer.status < 300:
        return None
    return GONE if answer.status == 410 else BAD_STATUS


def _text(answer: Answer) -> str:
    """For people: PostgreSQL takes no NUL, and what is no UTF-8 need not be read."""
    return answer.body.decode("utf-8", "replace").replace("\x00", "\ufffd")
