"""Tell the operator what changed: at least once, in order, until somebody takes it.

    due ─> said to the receiver ─> marked as said
                │ not taken           └─ who dies before that says it again, under the same id
                └─> tried again later, at most an hour, for ever

A channel leads to one receiver: when it does not take one message, the others wait for the next turn.
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
from .model import Channel, Message, NotTaken
from .rules import again_after

MOST = 100
PREFIX = "whsec_"


class Telling(Protocol):
    """A way to the operator."""

    @property
    def channel(self) -> Channel: ...

    async def tell(self, message: Message) -> None:
        """Raises a `PostroomError` where it was not taken."""


@dataclass(frozen=True, slots=True)
class ByUrl:
    """An HTTP POST of JSON, signed as Standard Webhooks has it (v1) where there is a secret."""

    url: str
    client: Client
    secret: str | None = field(default=None, repr=False)
    channel: Channel = Channel.URL

    async def tell(self, message: Message) -> None:
        body = orjson.dumps(document(message))
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


def signed(message: Message, body: bytes, at: datetime, secret: str | None) -> dict[str, str]:
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
    is_taken = True
    while is_taken:
        async with db.unbound() as conn:
            due = await store.due(conn, [way.channel], MOST)
        is_taken = bool(due)
        for tenant, number in due:
            async with db.transaction(tenant) as conn:
                message = await store.message(conn, tenant, number)
            if message is not None and not await _told(db, way, message):
                is_taken = False
                break


async def _told(db: Database, way: Telling, message: Message) -> bool:
    try:
        await way.tell(message)
    except PostroomError as error:
        telemetry.logger().warning("alerts.not_told", channel=way.channel, code=error.code)
        async with db.transaction(message.tenant) as conn:
            wait = again_after(message.attempts + 1)
            await store.failed(conn, message.tenant, message.number, wait, f"{error} [{error.code}]")
        return False
    async with db.transaction(message.tenant) as conn:
        await store.sent(conn, message.tenant, message.number)
    return True
