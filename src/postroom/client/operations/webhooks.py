"""Where events are told by HTTP, and how that goes."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from postroom.client.call import UNSET, Call, Listing, Operation, Paged, Unset, body, given, query
from postroom.client.model.webhooks import (
    Attempt,
    Delivery,
    DeliveryPage,
    NewWebhook,
    Secret,
    Webhook,
    Webhooks,
    WebhookState,
    WebhookStatus,
)


class Hooks:
    @Operation
    def list_webhooks(self) -> Call[Webhooks]:
        """All webhooks, the oldest first."""
        return Call("GET", "/v1/webhooks", Webhooks)

    @Operation
    def make_webhook(
        self,
        *,
        url: str,
        types: Sequence[str] | None = None,
        accounts: Sequence[UUID] | None = None,
        description: str | None = None,
    ) -> Call[NewWebhook]:
        """Have events posted from now on. The secret is in this answer and can never be asked for again."""
        asked = given(url=url, types=types, accounts=accounts, description=description)
        return Call("POST", "/v1/webhooks", NewWebhook, body=asked)

    @Operation
    def get_webhook(self, id: UUID) -> Call[WebhookStatus]:
        """A webhook, how far behind it is and since when it fails."""
        return Call("GET", f"/v1/webhooks/{id}", WebhookStatus)

    @Operation
    def change_webhook(
        self,
        id: UUID,
        *,
        url: str | Unset = UNSET,
        types: Sequence[str] | Unset | None = UNSET,
        accounts: Sequence[UUID] | Unset | None = UNSET,
        description: str | Unset = UNSET,
        state: WebhookState | Unset = UNSET,
    ) -> Call[Webhook]:
        """Change what is given. What waits is tried at once."""
        asked = body(url=url, types=types, accounts=accounts, description=description, state=state)
        return Call("PATCH", f"/v1/webhooks/{id}", Webhook, body=asked)

    @Operation
    def delete_webhook(self, id: UUID) -> Call[None]:
        """Post nothing more, and forget what was."""
        return Call("DELETE", f"/v1/webhooks/{id}")

    @Operation
    def rotate_webhook(self, id: UUID, *, overlap_hours: int | None = None) -> Call[Secret]:
        """A new secret. The one before signs as well for a day, or as long as is said."""
        asked = given(overlap_hours=overlap_hours)
        return Call("POST", f"/v1/webhooks/{id}/rotate", Secret, body=asked)

    @Operation
    def replay_webhook(
        self, id: UUID, *, after: str | None = None, since: datetime | None = None
    ) -> Call[WebhookStatus]:
        """Post all behind a cursor of the feed, or since a time, under the ids that it had before."""
        asked = given(after=after, since=since)
        return Call("POST", f"/v1/webhooks/{id}/replay", WebhookStatus, body=asked)

    @Operation
    def test_webhook(self, id: UUID) -> Call[Attempt]:
        """Post a message of the type `webhooks.test` now, once, and tell what was answered."""
        return Call("POST", f"/v1/webhooks/{id}/test", Attempt)

    @Listing
    def list_deliveries(
        self, id: UUID, *, page_size: int | None = None, cursor: str | None = None
    ) -> Paged[DeliveryPage, Delivery]:
        """What was tried, the latest first."""
        asked = query(page_size=page_size, cursor=cursor)
        return Paged("GET", f"/v1/webhooks/{id}/deliveries", DeliveryPage, asked)
