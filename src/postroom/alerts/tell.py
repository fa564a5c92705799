"""Tell the operator what changed: at least once, in order, until somebody takes it.

    due ─> said to the receiver ─> marked as said
                │ not taken           └─ who dies before that says it again, under the same id
                └─> tried again later, at most an hour, for ever

A channel leads to one receiver: when it does not take one message, the others wait for the next turn. What is
too much for it is put together, in one transaction, and told as one message from then on.
"""

import hashlib
import hmac
from base64 import b64decode, b64encode
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

import orjson

from postroom import telemetry
from postroom.db.pool import Database
from postroom.errors import PostroomError
from postroom.net.client import Client

from . import store
from .model import LIST, Channel, Digest, Message, NotTaken, Together
from .rules import FEW, SPAN, Manner, again_after, manner

MOST = 100
FIRST = 50  # of many messages, those that are told with their number: 18 KB
PREFIX = "whsec_"


class Telling(Protocol):
    """A way to the operator."""

    @property
    def channel(self) -> Channel: ...

    async def tell(self, message: Message | Digest) -> None:
        """Raises a `PostroomError` where it was not taken."""


@dataclass(frozen=True, slots=True)
class ByUrl:
    """An HTTP POST of JSON, signed as Standard Webhooks has it (v1) where there is a secret."""

    url: str
    client: Client
    secret: str | None = field(default=None, repr=False)
    channel: Channel = Channel.URL

    async def tell(self, message: Message | Digest) -> None:
        body = orjson.dumps(digest(message) if isinstance(message, Digest) else document(message))
        headers = {
            "Content-Type": "application/json",
            **signed(message, body, datetime.now(UTC), self.secret),
        }
        answer = await self.client.send("POST", self.url, headers=headers, content=body)
        if not 200 <= answer.status < 300:
            raise NotTaken(f"It answered {answer.status}.")


def document(message: Message) -> dict[str, object]:
    """What is said of it: ids and codes, and nothing of any mail."""
    alert = message.alert
    return {
        "type": "alerts.closed" if message.is_over else "alerts.opened",
        "timestamp": alert.closed_at if message.is_over else alert.opened_at,
        "data": {
            "id": str(alert.public_id),
            "tenant": str(message.tenant_id),
            "kind": alert.kind,
            "subject": str(alert.subject),
            "code": alert.code,
            "opened_at": alert.opened_at,
            "closed_at": alert.closed_at if message.is_over else None,
        },
    }


def digest(many: Digest) -> dict[str, object]:
    """What is said of many: their numbers, and the first as they would be told by themselves."""
    return {
        "type": "alerts.digest",
        "timestamp": many.at,
        "data": {
            "opened": many.opened,
            "closed": many.closed,
            "counts": many.counts,
            "messages": [document(message) for message in many.first],
            "list": LIST,
        },
    }


def signed(message: Message | Digest, body: bytes, at: datetime, secret: str | None) -> dict[str, str]:
    """The headers of Standard Webhooks; without a secret nothing is signed."""
    name, timestamp = str(message.public_id), str(int(at.timestamp()))
    headers = {"webhook-id": name, "webhook-timestamp": timestamp}
    if secret is not None:
        key = b64decode(secret.removeprefix(PREFIX))
        code = hmac.digest(key, b".".join((name.encode(), timestamp.encode(), body)), hashlib.sha256)
        headers["webhook-signature"] = f"v1,{b64encode(code).decode()}"
    return headers


async def tell(db: Database, ways: Collection[Telling]) -> None:
    """Say what is due over each of these ways."""
    for way in ways:
        await _tell(db, way)


async def _tell(db: Database, way: Telling) -> None:
    how, together = await _gathered(db, way.channel)
    is_taken = together is None or not together.is_due or await _told_together(db, way, together)
    while is_taken and how is Manner.SINGLY:
        async with db.unbound() as conn:
            due = await store.due(conn, [way.channel], MOST)
        is_taken = bool(due)
        for tenant, number in due:
            async with db.transaction(tenant) as conn:
                message = await store.message(conn, tenant, number)
            if message is not None and not await _told(db, way, message):
                is_taken = False
                break


async def _gathered(db: Database, channel: Channel) -> tuple[Manner, Together | None]:
    """How to tell what waits, and what is to be told together."""
    async with db.unbound() as conn:
        together = await store.unsaid(conn, channel)
        amount = await store.amount(conn, channel, SPAN, FEW + 1)
        how = manner(amount, is_unsaid=together is not None)
        if how is Manner.TOGETHER:
            together = await store.gather(conn, channel)
    return how, together


async def _told_together(db: Database, way: Telling, together: Together) -> bool:
    async with db.unbound() as conn:
        counts, at = await store.counts(conn, together.public_id)
        numbers = await store.first(conn, together.public_id, FIRST)
    if at is None:  # another process has put it together, or it is gone with its tenants
        return True
    messages = []
    for tenant, number in numbers:
        async with db.transaction(tenant) as conn:
            messages.append(await store.message(conn, tenant, number))
    first = [message for message in messages if message is not None]
    error = await _refusal(way, Digest(together.public_id, at, counts, first))
    async with db.unbound() as conn:
        await store.said(conn, together.public_id, error, again_after(together.attempts + 1))
    return error is None


async def _told(db: Database, way: Telling, message: Message) -> bool:
    error = await _refusal(way, message)
    async with db.transaction(message.tenant) as conn:
        if error is None:
            await store.sent(conn, message.tenant, message.number)
        else:
            wait = again_after(message.attempts + 1)
            await store.failed(conn, message.tenant, message.number, wait, error)
    return error is None


async def _refusal(way: Telling, message: Message | Digest) -> str | None:
    """Why it was not taken; None: it was."""
    try:
        await way.tell(message)
    except PostroomError as error:
        telemetry.logger().warning("alerts.not_told", channel=way.channel, code=error.code)
        return f"{error} [{error.code}]"
    return None
