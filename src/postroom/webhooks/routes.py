"""/v1/webhooks: where events are told by HTTP, how that goes, tell them again."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response

from postroom.db.pool import Connection
from postroom.http.caller import Caller
from postroom.http.deps import AdminOfAll, AtDoor, Tx
from postroom.ids import AccountId, TenantId

from . import change, store
from .answers import (
    AttemptOut,
    DeliveryPage,
    NewWebhookOut,
    ReplayIn,
    RotateIn,
    SecretOut,
    WebhookChangeIn,
    WebhookIn,
    WebhookOut,
    WebhooksOut,
    WebhookStatusOut,
    attempt_out,
    behind_out,
    deliveries_out,
    fields_of,
)
from .model import BadAsked, Webhook

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"])

LIST = "webhooks deliveries"


@dataclass(frozen=True, slots=True)
class Desk:
    """What the application lends to these routes: a way out; and accounts, which have only numbers here."""

    prober: change.Prober
    account: Callable[[Connection, TenantId, UUID], Awaitable[AccountId]]  # raises a `NotFound`
    public_ids: Callable[[Connection, TenantId, Sequence[AccountId]], Awaitable[Mapping[AccountId, UUID]]]


async def _desk(request: Request) -> Desk:
    desk: Desk = request.app.state.webhooks
    return desk


AtDesk = Annotated[Desk, Depends(_desk)]


@router.get("")
async def list_webhooks(caller: AdminOfAll, conn: Tx, desk: AtDesk) -> WebhooksOut:
    """All webhooks, the oldest first; `get_webhook` tells how far behind one is."""
    found = await store.listed(conn, caller.tenant)
    called = await _called(conn, desk, caller, found)
    return WebhooksOut(webhooks=[WebhookOut(**fields_of(each, called)) for each in found])


@router.post("", status_code=201)
async def make_webhook(caller: AdminOfAll, conn: Tx, desk: AtDesk, wanted: WebhookIn) -> NewWebhookOut:
    """Have events posted from now on. The secret that signs them is in this answer and can never be asked for
    again.
    """
    made, secret = await change.add(
        conn,
        desk.prober.vault,
        caller.tenant,
        url=wanted.url,
        types=wanted.types,
        accounts=await _accounts(conn, desk, caller, wanted.accounts),
        description=wanted.description,
    )
    called = await _called(conn, desk, caller, [made])
    return NewWebhookOut(**fields_of(made, called), secret=secret)


@router.get("/{id}")
async def get_webhook(caller: AdminOfAll, conn: Tx, desk: AtDesk, id: UUID) -> WebhookStatusOut:
    """A webhook, how far behind it is and since when it fails."""
    found = await store.get(conn, caller.tenant, id)
    called = await _called(conn, desk, caller, [found])
    behind = behind_out(await store.behind(conn, found))
    return WebhookStatusOut(**fields_of(found, called), behind=behind)


@router.patch("/{id}")
async def change_webhook(
    caller: AdminOfAll, conn: Tx, desk: AtDesk, id: UUID, wanted: WebhookChangeIn
) -> WebhookOut:
    """Change what is given; `types` and `accounts` may be null, which is all. What waits is tried at once.

    Of accounts that it was not told of before, it is told what comes from now on.
    """
    asked: dict[str, Any] = wanted.model_dump(exclude_unset=True)
    if "accounts" in asked:
        asked["accounts"] = await _accounts(conn, desk, caller, wanted.accounts)
    nullable = {"types", "accounts"}
    changes = {name: value for name, value in asked.items() if value is not None or name in nullable}
    changed = await change.change(conn, caller.tenant, id, changes)
    return WebhookOut(**fields_of(changed, await _called(conn, desk, caller, [changed])))


@router.delete("/{id}", status_code=204)
async def delete_webhook(caller: AdminOfAll, conn: Tx, id: UUID) -> Response:
    """Post nothing more, and forget what was."""
    await change.delete(conn, caller.tenant, id)
    return Response(status_code=204)


@router.post("/{id}/rotate")
async def rotate_webhook(caller: AdminOfAll, conn: Tx, desk: AtDesk, id: UUID, wanted: RotateIn) -> SecretOut:
    """A new secret, in this answer and in no other. Both sign for as long as the overlap."""
    overlap = timedelta(hours=wanted.overlap_hours)
    changed, secret = await change.rotate(conn, desk.prober.vault, caller.tenant, id, overlap)
    return SecretOut(secret=secret, previous_until=changed.previous_until)


@router.post("/{id}/replay")
async def replay_webhook(
    caller: AdminOfAll, conn: Tx, desk: AtDesk, id: UUID, wanted: ReplayIn
) -> WebhookStatusOut:
    """Post all behind a cursor of the feed, or since a time, under the ids that it had before."""
    if (wanted.after is None) is (wanted.since is None):
        raise BadAsked("Say either `after` or `since`.")
    changed = await change.replay(conn, caller.tenant, id, wanted.after, wanted.since)
    called = await _called(conn, desk, caller, [changed])
    behind = behind_out(await store.behind(conn, changed))
    return WebhookStatusOut(**fields_of(changed, called), behind=behind)


@router.post("/{id}/test")
async def test_webhook(caller: AdminOfAll, door: AtDoor, desk: AtDesk, id: UUID) -> AttemptOut:
    """Post a message of the type `webhooks.test` now, once, and tell what was answered."""
    async with door.database.transaction(caller.tenant) as conn:
        found = await store.get(conn, caller.tenant, id)
    return attempt_out(await change.try_out(desk.prober, found))


@router.get("/{id}/deliveries")
async def list_deliveries(
    caller: AdminOfAll,
    conn: Tx,
    door: AtDoor,
    id: UUID,
    page_size: Annotated[int, Query(ge=1, le=100)] = 50,
    cursor: Annotated[str | None, Query(max_length=1000)] = None,
) -> DeliveryPage:
    """What was tried, the latest first: failures of a week, and the last of what was delivered."""
    found = await store.get(conn, caller.tenant, id)
    of = f"{LIST} {id}"
    before = door.cursors.open(caller, of, cursor)[0] if cursor is not None else None
    tried = await store.deliveries(conn, found, before, page_size + 1)
    following = None
    if len(tried) > page_size:
        following = door.cursors.seal(caller, of, [tried[page_size - 1].id])
    items = deliveries_out(tried[:page_size])
    return DeliveryPage(items=items, has_next=following is not None, next=following)


async def _accounts(
    conn: Connection, desk: Desk, caller: Caller, wanted: Sequence[UUID] | None
) -> frozenset[AccountId] | None:
    if wanted is None:
        return None
    return frozenset([await desk.account(conn, caller.tenant, each) for each in wanted])


async def _called(
    conn: Connection, desk: Desk, caller: Caller, found: Sequence[Webhook]
) -> Mapping[AccountId, UUID]:
    named = {account for each in found for account in each.accounts or ()}
    return await desk.public_ids(conn, caller.tenant, sorted(named)) if named else {}
