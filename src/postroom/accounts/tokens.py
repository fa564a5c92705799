"""Access tokens of accounts whose secret is a grant: kept for all processes, refreshed ahead of their end.

access ─> stored, fresh ──────────────────────────────────────────────> that one, at no more than a query
             │ no                                                         ↑
             └─> lease, one holder in all processes ─> read again ─ fresh ┘
                    │ held: the old one while it is valid, else wait        ↑
                    └─> begun ─ commit ─> ask the token server ─> keep ─ commit

A server that rotates gives a new refresh token with each access token, and may take the second use of an old
one for theft. So one process asks at a time; both tokens are stored in one row before anybody sees them; and
who is stopped meanwhile (a sync that is cancelled) finishes that first. What is left is a process that is
killed, or a connection that breaks, between the server's answer and the commit. Nothing in the protocol mends
that. `begun` outlives it, the next one asks with the old refresh token at once, which servers with a period
of grace take, and of one that does not the owner is told what happened.

A failure while the old token is still valid is nobody's trouble yet, unless the grant is gone.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import structlog

from postroom.accounts import credentials, store
from postroom.accounts.grant import ClientRefused, Grant, Granted, GrantGone, TokensAway, is_grant
from postroom.accounts.model import Account
from postroom.accounts.oauth import LONG_WAIT, Oauth, lost
from postroom.accounts.store import tokens as rows
from postroom.accounts.store.tokens import Stored
from postroom.db import leases, process
from postroom.db.model import DATABASE_AWAY
from postroom.db.pool import Database
from postroom.errors import PostroomError
from postroom.net.model import EgressRefused
from postroom.providers.model import Login, Mailbox, Provider, TokenRefused
from postroom.providers.spent import Spent
from postroom.vault.model import Secret
from postroom.vault.seal import Vault

ASSUMED = timedelta(minutes=30)  # the life of a token whose server does not tell it (RFC 6749, 5.1)
AHEAD = timedelta(minutes=5)  # of its end a token is refreshed, or a quarter of its life, if that is less
PATIENCE = timedelta(seconds=60)  # with another process that is at it
AGAIN = timedelta(seconds=0.2)
FINISH = timedelta(seconds=5)  # that an answer has to be stored in, once we are stopped
STORE = timedelta(minutes=2)  # that the database may store nothing, before an answer is given up
FAREWELL = timedelta(seconds=5)

logger = structlog.get_logger()
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Tokens:
    """See the module."""

    db: Database
    vault: Vault
    oauth: Oauth

    @asynccontextmanager
    async def opening(
        self, provider: Provider, account: Account, grant: Grant, spent: Spent
    ) -> AsyncIterator[Mailbox]:
        """The account's mailbox. A token that is refused though it looked fresh is refreshed, once.

        Raises what `access` and `Provider.open` raise.
        """
        async with AsyncExitStack() as stack:
            token = await self.access(account, grant)
            try:
                mailbox = await stack.enter_async_context(provider.open(_login(account, token, spent)))
            except TokenRefused:
                token = await self.access(account, grant, refused=token)
                mailbox = await stack.enter_async_context(provider.open(_login(account, token, spent)))
            yield mailbox

    async def access(self, account: Account, grant: Grant, *, refused: Secret | None = None) -> Secret:
        """An access token that is good for a while yet, and is not `refused`.

        Raises `GrantGone`, `TokensAway`, `ClientRefused`.
        """
        async with self.db.transaction(account.tenant_id) as conn:
            stored = await rows.read(conn, account)
        loop = asyncio.get_running_loop()
        until = loop.time() + PATIENCE.total_seconds()
        tenant, name = account.tenant_id, f"accounts.token:{account.id}"
        while (token := self._fresh(account, stored, refused)) is None:
            lease = await leases.acquire(self.db, tenant, name, process.identity())
            if lease is not None:
                async with leases.hold(self.db, lease):
                    return await self._refreshed(account, grant, refused)
            if (token := self._valid(account, stored, refused)) is not None:
                return token
            if loop.time() > until:
                raise TokensAway("Another process has been asking for a token for long.")
            await asyncio.sleep(AGAIN.total_seconds())
            async with self.db.transaction(tenant) as conn:
                stored = await rows.read(conn, account)
        return token

    async def _refreshed(self, account: Account, grant: Grant, refused: Secret | None) -> Secret:
        """Under the lease."""
        async with self.db.transaction(account.tenant_id) as conn:
            stored = await rows.read(conn, account)
            if (token := self._fresh(account, stored, refused)) is not None:
                return token  # somebody else was at it until now
            number = await rows.begin(conn, account)
        if number is None:
            raise TokensAway("It got other credentials meanwhile.", wait=timedelta())
        valid = self._valid(account, stored, refused)
        try:
            return await _to_its_end(self._exchanged(account, grant, stored, number))
        except (TokensAway, ClientRefused) as error:
            logger.warning("accounts.token_not_refreshed", account=account.id, code=error.code)
            if valid is None:
                raise
            return valid

    async def _exchanged(self, account: Account, grant: Grant, stored: Stored | None, number: int) -> Secret:
        """Ask, and store the answer before anybody sees it. `stored` is as it was before this was begun."""
        before = self._opened(account, stored)
        current = (before and before.refresh_token) or grant.refresh_token
        was_begun = stored is not None and stored.is_begun
        try:
            granted = await self._asked(grant, current)
        except (TokensAway, ClientRefused, GrantGone) as error:
            is_unsure = was_begun or bool(error.data.get("is_lost"))
            is_unsure |= isinstance(error, TokensAway) and error.is_unsure
            wait = error.wait if isinstance(error, TokensAway) and error.asked else None
            async with self.db.transaction(account.tenant_id) as conn:
                await rows.end(conn, account, number, is_unsure=is_unsure, wait=wait)
            if was_begun and isinstance(error, GrantGone):
                raise lost(error) from error
            raise
        is_rotated = granted.refresh_token is not None
        if not is_rotated and current != grant.refresh_token:
            granted = Granted(granted.access_token, granted.life, current)
        await self._kept(account, number, granted)
        logger.info("accounts.token_refreshed", account=account.id, is_rotated=is_rotated)
        return granted.access_token

    async def _asked(self, grant: Grant, current: Secret) -> Granted:
        try:
            return await self.oauth.refresh(grant, current)
        except EgressRefused as error:  # it was not so when the account was connected
            raise TokensAway(error.message, wait=LONG_WAIT) from error

    async def _kept(self, account: Account, number: int, granted: Granted) -> None:
        """Store an answer; a database that is away is waited for, as there is no other copy of it."""
        fresh, life = times(granted)
        sealed = credentials.seal_token(self.vault, account, granted)
        loop = asyncio.get_running_loop()
        until = loop.time() + STORE.total_seconds()
        while True:
            try:
                async with self.db.transaction(account.tenant_id) as conn:
                    if await rows.keep(conn, account, number, sealed, fresh=fresh, life=life):
                        return
                    now = await rows.read(conn, account)
            except DATABASE_AWAY:
                if loop.time() > until:
                    raise
                await asyncio.sleep(AGAIN.total_seconds())
            else:
                if now is not None and now.secret == sealed:  # a commit was in doubt, and was done
                    return
                raise TokensAway("It got other credentials meanwhile.", wait=timedelta())

    def _fresh(self, account: Account, stored: Stored | None, refused: Secret | None) -> Secret | None:
        """The token that is stored, where nobody has to be asked, or may be. Raises `TokensAway`."""
        token = self._valid(account, stored, refused)
        if stored is None or (token is not None and (stored.is_fresh or stored.wait is not None)):
            return token
        if stored.wait is not None:
            raise TokensAway("The token server wants to be left alone for now.", wait=stored.wait)
        return None

    def _valid(self, account: Account, stored: Stored | None, refused: Secret | None) -> Secret | None:
        if stored is None or not stored.is_valid or (granted := self._opened(account, stored)) is None:
            return None
        return granted.access_token if granted.access_token != refused else None

    def _opened(self, account: Account, stored: Stored | None) -> Granted | None:
        if stored is None or stored.secret is None:
            return None
        return credentials.unseal_token(self.vault, account, stored.secret)

    async def revoke(self, account: Account) -> None:
        """Have the account's grant forgotten where it came from, if that can be asked for. Best effort."""
        if not is_grant(account.settings):
            return
        async with self.db.transaction(account.tenant_id) as conn:
            sealed = await store.secret(conn, account.tenant_id, account.id)
            stored = await rows.read(conn, account)
        try:
            grant = credentials.unseal_grant(self.vault, account, sealed)
            granted = self._opened(account, stored)
            token = (granted and granted.refresh_token) or grant.refresh_token
            async with asyncio.timeout(FAREWELL.total_seconds()):
                asked = await self.oauth.revoke(grant, token)
        except (PostroomError, TimeoutError) as error:
            code = error.code if isinstance(error, PostroomError) else TokensAway.code
            logger.warning("accounts.grant_not_revoked", account=account.id, code=code)
        else:
            logger.info("accounts.grant_revoked" if asked else "accounts.grant_left", account=account.id)


def times(granted: Granted) -> tuple[timedelta, timedelta]:
    """For how long a token is fresh, and valid."""
    life = granted.life or ASSUMED
    return life - min(AHEAD, life / 4), life


def _login(account: Account, token: Secret, spent: Spent) -> Login:
    return Login(account.address, account.settings, token.reveal(), spent)


async def _to_its_end(work: Coroutine[Any, Any, T]) -> T:
    """Do it; whoever is cancelled meanwhile lets it finish first, for a moment."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task], timeout=FINISH.total_seconds())
        raise
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait([task])
        elif not task.cancelled():
            task.exception()  # it was heard of here, or nobody wants to know any more
