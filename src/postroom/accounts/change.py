"""Pause, resume and poll an account, let it download more or less; what really changed is told once."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeAlias

from postroom.accounts import store
from postroom.accounts.model import Account, AccountState
from postroom.accounts.scope import check
from postroom.accounts.store import limits
from postroom.db.pool import Connection
from postroom.events import log
from postroom.events.model import Event, stream_of

Then: TypeAlias = Callable[[Connection, Account], Awaitable[None]]
"""What a room above does in the transaction that changes an account."""


async def pause(conn: Connection, account: Account, stop: Then) -> None:
    """No syncs until it is resumed; `stop` ends what runs.

    Raises `NoSuchAccount`, as do all of these.
    """
    account = await store.lock(conn, account.tenant_id, account.id)
    await stop(conn, account)
    if account.state is not AccountState.PAUSED:
        await store.set_state(conn, account.tenant_id, account.id, AccountState.PAUSED)
        await tell(conn, account, "accounts.paused")


async def resume(conn: Connection, account: Account) -> None:
    """It is due at once. One that is not paused stays as it is: this mends no password."""
    account = await store.lock(conn, account.tenant_id, account.id)
    if account.state is AccountState.PAUSED:
        await store.set_state(conn, account.tenant_id, account.id, AccountState.ACTIVE)
        await tell(conn, account, "accounts.resumed")


async def poll(conn: Connection, account: Account, every: timedelta | None, default: timedelta) -> None:
    """None: at the installation's `default`. A shorter interval takes effect now."""
    account = await store.lock(conn, account.tenant_id, account.id)
    if account.poll_every != every:
        await store.set_interval(conn, account.tenant_id, account.id, every, default)
        await tell(conn, account, "accounts.changed")


async def allow(conn: Connection, account: Account, daily_bytes: int | None) -> None:
    """So much is downloaded in a day; None: what its provider allows. Takes effect with the next sync."""
    account = await store.lock(conn, account.tenant_id, account.id)
    if account.settings.get("daily_bytes") != daily_bytes:
        await limits.set_daily_bytes(conn, account.tenant_id, account.id, daily_bytes)
        await tell(conn, account, "accounts.changed")


async def watch(conn: Connection, account: Account, folders: str | None) -> None:
    """The folders of this pattern are watched beside the inbox, as far as there are connections for them.

    Takes effect with the next sync. Raises `BadPattern`, too.
    """
    check(folders)
    account = await store.lock(conn, account.tenant_id, account.id)
    if account.settings.get("watch_folders") != folders:
        await limits.set_watch_folders(conn, account.tenant_id, account.id, folders)
        await tell(conn, account, "accounts.changed")


async def tell(conn: Connection, account: Account, kind: str, **more: str) -> None:
    """An event about the account, in its own stream."""
    event = Event(kind, {"account": str(account.public_id), **more})
    await log.append(conn, account.tenant_id, stream_of(account.id), [event])
