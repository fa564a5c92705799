"""What the owner of a webhook does with it. A hint follows each change, so that whoever delivers heeds it."""

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from postroom.db.pool import Connection, Database, hint
from postroom.events import feed, log
from postroom.events.model import TENANT, Event, Place
from postroom.events.wanted import Types
from postroom.ids import AccountId, TenantId, new_public_id
from postroom.net.client import checked
from postroom.net.egress import Egress
from postroom.net.kept import LIMIT, open_kept
from postroom.vault.model import Damaged, WrongKey
from postroom.vault.seal import Vault

from . import message, store
from .model import CHANGED, Outcome, Webhook
from .post import PREVIOUS, SECRET, current_of, opened, post, slot
from .sign import new_secret

OVERLAP = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Prober:
    """What it takes to post a test."""

    vault: Vault
    allowed: Egress
    limit: timedelta = LIMIT


async def create(
    db: Database,
    vault: Vault,
    tenant: TenantId,
    *,
    url: str,
    types: Sequence[str] | None = None,
    accounts: Collection[AccountId] | None = None,
    description: str = "",
) -> tuple[Webhook, str]:
    """A new webhook, and its secret, which nobody can ask for again. It is told what comes from now on.

    Raises `BadUrl`, `NoSuchType`, `TooMany`.
    """
    async with db.transaction(tenant) as conn:
        return await add(
            conn, vault, tenant, url=url, types=types, accounts=accounts, description=description
        )


async def add(
    conn: Connection,
    vault: Vault,
    tenant: TenantId,
    *,
    url: str,
    types: Sequence[str] | None,
    accounts: Collection[AccountId] | None,
    description: str,
) -> tuple[Webhook, str]:
    """The same in a transaction that does more."""
    _check(url, types)
    public_id, secret = new_public_id(), new_secret()
    place = slot(tenant, public_id, SECRET)
    made = await store.add(
        conn,
        tenant,
        public_id=public_id,
        url=url,
        description=description,
        types=types,
        accounts=accounts,
        secret=vault.seal(secret.encode(), place),
    )
    hint(conn, CHANGED)
    return made, secret


async def change(conn: Connection, tenant: TenantId, public_id: UUID, changes: dict[str, Any]) -> Webhook:
    """`changes`: of url, description, types, accounts, state. Of accounts that it was not told of before, it
    is told what comes from now on. Raises what `create` raises, and `NoSuchWebhook`.
    """
    before = await store.lock(conn, tenant, public_id)
    after = replace(before, **changes)
    _check(after.url, after.types)
    if before.accounts is not None and before.accounts != after.accounts:
        await store.begin(conn, before, after.accounts, before.accounts)
    changed = await store.change(conn, after)
    if before.told_at is not None and changed.told_at is None:
        about = {"webhook": str(public_id)}
        await log.append(conn, tenant, TENANT, [Event("webhooks.disabled", about)])
    hint(conn, CHANGED)
    return changed


async def rotate(
    conn: Connection, vault: Vault, tenant: TenantId, public_id: UUID, overlap: timedelta
) -> tuple[Webhook, str]:
    """A new secret. The one before signs as well for the overlap, unless nobody can open it any more.

    Raises `NoSuchWebhook`.
    """
    before = await store.lock(conn, tenant, public_id)
    secret, previous, until = new_secret(), None, None
    with suppress(WrongKey, Damaged):
        if overlap:
            current = current_of(vault, before).encode()
            previous = vault.seal(current, slot(tenant, public_id, PREVIOUS))
            until = datetime.now(UTC) + overlap
    sealed = vault.seal(secret.encode(), slot(tenant, public_id, SECRET))
    after = replace(before, secret=sealed, previous=previous, previous_until=until)
    hint(conn, CHANGED)
    return await store.change(conn, after), secret


async def delete(conn: Connection, tenant: TenantId, public_id: UUID) -> None:
    """Raises `NoSuchWebhook`."""
    await store.delete(conn, tenant, public_id)
    await log.append(conn, tenant, TENANT, [Event("webhooks.removed", {"webhook": str(public_id)})])
    hint(conn, CHANGED)


async def replay(
    conn: Connection, tenant: TenantId, public_id: UUID, after: str | None, since: datetime | None
) -> Webhook:
    """Tell all behind a cursor of the feed, or since a time, whatever was told before.

    Raises `NoSuchWebhook`, `BadCursor`, `PlaceLost`.
    """
    webhook = await store.lock(conn, tenant, public_id)
    if since is not None:
        await store.rewind_to(conn, webhook, since)
    else:
        await store.rewind(conn, webhook, await _place(conn, tenant, after or feed.BEGINNING))
    hint(conn, CHANGED)
    return await store.change(conn, webhook)


async def _place(conn: Connection, tenant: TenantId, after: str) -> Place:
    if after == "end":
        return (feed.EVERYTHING, 0, 0)
    return feed.START if after == "start" else await feed.place(conn, tenant, after)


async def try_out(prober: Prober, webhook: Webhook) -> Outcome:
    """Post a message of the type `webhooks.test` now, beside whatever is delivered, and once."""
    secrets = opened(prober.vault, webhook)
    async with open_kept(webhook.url, prober.allowed, at_once=1, limit=prober.limit) as line:
        body = message.test_of(webhook.public_id, datetime.now(UTC))
        return (await post(line, secrets, f"msg_test_{new_public_id().hex}", body)).outcome


def _check(url: str, types: Sequence[str] | None) -> None:
    checked(url)
    if types is not None:
        Types.read(types)
