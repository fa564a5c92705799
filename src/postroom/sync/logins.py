"""Let nobody log in too often: a server that throws us out is not asked again at once.

login ──> sync completed          as often as anybody likes
  ├─────> was stopped by us       the same: that says nothing of the server
  ├─────> not even begun          the same: no more connections may be opened for now
  ├─────> came to nothing         the next one after a pause
  ├─────> was told how long       after exactly so long, whoever asks, in every process
  │       to stay away
  └─────> never heard of again    (our process died) twice more, then after a pause
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

from postroom.accounts import store as accounts
from postroom.accounts.model import Account
from postroom.db.pool import Database
from postroom.errors import NeedsOwner, PostroomError, TryLater
from postroom.providers.model import (
    Incomplete,
    NoConnection,
    PortClosed,
    ServerRefused,
    Throttled,
    UnknownHost,
    Unreachable,
)

WORD = 1.0  # seconds that somebody who is stopped may take to say so


class TooSoon(TryLater):
    """The last session came to nothing a moment ago; `wait` tells how long the server is left alone."""

    code = "sync.too_soon"


@asynccontextmanager
async def admitted(db: Database, account: Account, pause: timedelta) -> AsyncIterator[None]:
    """One login and what follows. Raises `TooSoon`."""
    tenant = account.tenant_id
    async with db.transaction(tenant) as conn:
        wait = await accounts.begin_login(conn, tenant, account.id, pause)
    if wait is not None:
        raise too_soon(wait)
    async with minded(db, account, pause):
        yield
    async with db.transaction(tenant) as conn:
        await accounts.end_login(conn, account, None)


def too_soon(wait: timedelta) -> TooSoon:
    said = f"The last conversation with this server broke off; it is left alone for {wait.seconds + 1} s."
    return TooSoon(said, wait=wait)


@asynccontextmanager
async def minded(db: Database, account: Account, pause: timedelta) -> AsyncIterator[None]:
    """What follows a login that was counted. That it ended well is for the caller to write."""
    tenant = account.tenant_id
    try:
        yield
    except (UnknownHost, PortClosed):
        raise  # nobody was logged in to
    except (Unreachable, ServerRefused, Incomplete, NeedsOwner) as error:
        told = error.wait if isinstance(error, Throttled) else timedelta()
        async with db.transaction(tenant) as conn:
            await accounts.end_login(conn, account, max(pause, told))
        raise
    except (asyncio.CancelledError, NoConnection):
        with suppress(PostroomError, TimeoutError):
            async with asyncio.timeout(WORD), db.transaction(tenant) as conn:
                await accounts.end_login(conn, account, None)
        raise
