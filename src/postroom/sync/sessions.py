"""Keep a mailbox open for a while after a sync, so that the next one need not log in.

lend ──┬─ one is kept ──> does it still stand? ──┬─ yes ──> used ──> at rest ──> kept
       │                                         └─ no ───┐              └────> listens
       └─ none is ──> others close theirs ──> log in ─────┴─> used ...

Only accounts that are polled more often than every `IDLE` gain by it. Only one that ended well is kept, for
`IDLE` after its last use and for `LIFE` in all: a server may believe for ever what it believes of a session's
folders. One that has died says nothing of the server or the account: its user gets a new one.

Of accounts that are watched (see `watch`) the session listens meanwhile, for as long as it stands: the very
one that the next sync uses, so an account takes one connection, and what is told of needs no login.

Servers count connections. So of one account one is kept in all processes, which tell each other by hints;
and of a host that has refused a login none is kept for a day.
"""

import asyncio
import resource
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import (
    AsyncExitStack,
    aclosing,
    asynccontextmanager,
    contextmanager,
    suppress,
)
from datetime import timedelta
from time import monotonic
from typing import Protocol

from postroom.accounts.model import Account, Scope
from postroom.db.beside import beside
from postroom.db.listen import Hints
from postroom.ids import AccountId, TenantId
from postroom.providers.model import (
    Ended,
    Mailbox,
    Notice,
    PortClosed,
    ServerRefused,
    UnknownHost,
    Unreachable,
    Watching,
)

from .kept import Opening, Session
from .store.watch import Key

SESSIONS = "sessions"  # a hint: of this account, or host, none is to be kept
REFUSED = timedelta(days=1)  # that a host is remembered which refused a login
LOOK_EVERY = 15.0  # seconds, for those whose time is over
GOODBYE = 3.0  # seconds for all that are closed together
MOST = 500
SHARE = 4  # of the files that a process may open, one in so many is a mailbox that is kept


def _nobody(_topic: str, _subject: str) -> None: ...


class Watcher(Protocol):
    """Who wants sessions to listen."""

    def wants(self, key: Key) -> bool:
        """Whether the session of this account is to listen from now on."""

    def began(self, key: Key, watching: Watching | None, missed: bool) -> None:
        """It listens; None: its server cannot tell. `missed`: something happened since the sync began."""

    def heard(self, key: Key) -> None:
        """Its server has told of a change."""

    def lost(self, key: Key) -> None:
        """It listens no more, and not because a sync uses it."""

    def interval(self, key: Key, every: timedelta) -> timedelta:
        """How often to poll an account now that would be polled `every` so often otherwise."""


def of_account(tenant: TenantId, account: AccountId) -> str:
    """The subject of the hint that nobody keeps a session of this account any more."""
    return f"account {tenant} {account}"


class Sessions:
    """Mailboxes that are open and not in use, at most `most`; `tell` tells a hint to all processes."""

    def __init__(self, most: int = 0, tell: Callable[[str, str], None] = _nobody) -> None:
        self._most, self._tell = most, tell
        self._kept: dict[Key, Session] = {}  # the longest unused first
        self._over: list[Session] = []  # to be closed
        self._refusing: dict[str, float] = {}  # hosts, and until when
        self._listening: dict[Key, Session] = {}
        self._asked: dict[Key, asyncio.Event] = {}  # whether they still stand, and set when that is known
        self.watcher: Watcher | None = None

    @asynccontextmanager
    async def lend(
        self, account: Account, opening: Opening, *, often: bool, anew: bool = False
    ) -> AsyncIterator[Mailbox]:
        """The account's mailbox, by its credentials of today: one that was kept, or what `opening` opens.

        `often`: it will be wanted again within `IDLE`. `anew`: what was kept will not do. Raises what
        `opening` does.
        """
        key = (account.tenant_id, account.id)
        has_listened = key in self._listening
        try:
            async with self._lent(key, account, opening, often=often, anew=anew) as mailbox:
                yield mailbox
        finally:
            if has_listened and key not in self._listening and self.watcher is not None:
                self.watcher.lost(key)

    @asynccontextmanager
    async def _lent(
        self, key: Key, account: Account, opening: Opening, *, often: bool, anew: bool
    ) -> AsyncIterator[Mailbox]:
        session = await self._taken(key)
        if session is not None and (anew or session.version != account.credentials_version):
            await _close([session])
            session = None
        if session is None:
            session = Session(account)
            if often or self._wants(key):
                self._tell(SESSIONS, of_account(*key))
        async with AsyncExitStack() as end:
            end.push_async_exit(session.stack)
            with self._noticing(session.host):
                await session.begin(opening)
            yield session
            if self._wants(key) and await self._listens(key, session, account.scope):
                end.pop_all()
            elif often and self._has_room(session) and await session.rest() and self._has_room(session):
                end.pop_all()
                self._keep(key, session)

    async def _taken(self, key: Key) -> "Session | None":
        if asked := self._asked.get(key):
            await asked.wait()
        return self._kept.pop(key, None) or self._listening.pop(key, None)

    def interval(self, account: Account, every: timedelta) -> timedelta:
        """How soon an account is to be polled again: more often where its server tells of one folder only."""
        key = (account.tenant_id, account.id)
        return self.watcher.interval(key, every) if self.watcher and key in self._listening else every

    def _wants(self, key: Key) -> bool:
        return self.watcher is not None and self._most > 0 and self.watcher.wants(key)

    async def _listens(self, key: Key, session: "Session", scope: Scope) -> bool:
        """Have a session listen that a sync has used; whether it does."""
        assert self.watcher is not None

        early: list[Notice] | None = []  # what is told before all is set up

        def told(notice: Notice) -> None:
            if early is not None:
                early.append(notice)
            elif self._listening.get(key) is session:
                self._hear_of(key, session, notice)

        began = await session.listen(scope, told)
        if began is None or not self._wants(key):
            return False
        if began.watching is None:
            self.watcher.began(key, None, missed=False)
            return False
        self._drop(key)
        self._listening[key] = session
        self.watcher.began(key, began.watching, missed=began.missed)
        before, early = early or [], None
        for notice in before:
            told(notice)
        return True

    def _hear_of(self, key: Key, session: Session, notice: Notice) -> None:
        if isinstance(notice, Ended):
            self._drop(key)
        elif self.watcher is not None:
            session.heard()
            self.watcher.heard(key)

    async def renew(self, key: Key) -> None:
        """Ask a session that listens whether it still does; one that does not is `lost`.

        Whoever wants to use it meanwhile waits.
        """
        session = self._listening.get(key)
        if session is None or key in self._asked:
            return
        self._asked[key] = asyncio.Event()
        try:
            is_well = await session.renew()
        finally:
            self._asked.pop(key).set()
        if not is_well and self._listening.get(key) is session:
            self._drop(key)
            await self._close_over()

    def let_go(self, key: Key) -> None:
        """Of an account that is watched here no more."""
        if (session := self._listening.pop(key, None)) is not None:
            self._over.append(session)

    def _keep(self, key: Key, session: "Session") -> None:
        self._drop(key)
        self._kept[key] = session
        if len(self._kept) > self._most:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: Key) -> None:
        if (session := self._kept.pop(key, None)) is not None:
            self._over.append(session)
        if (session := self._listening.pop(key, None)) is not None:
            self._over.append(session)
            if self.watcher is not None:
                self.watcher.lost(key)

    def _has_room(self, session: "Session") -> bool:
        return self._most > 0 and self._refusing.get(session.host, 0.0) <= monotonic()

    @contextmanager
    def _noticing(self, host: str) -> Iterator[None]:
        """A host that refuses a login may count what is kept of it, here or elsewhere."""
        try:
            yield
        except (UnknownHost, PortClosed):
            raise
        except (ServerRefused, Unreachable):
            if any(session.host == host for session in self._kept.values()):
                self._tell(SESSIONS, f"host {host}")
                self._hear(f"host {host}")
            raise

    async def hear(self, hints: Hints) -> None:
        """Close what other processes want closed. For ever."""
        with hints.hear(SESSIONS) as hearing:
            async for hint in hearing:
                self._hear(hint or "")
                await self._close_over()

    def _hear(self, hint: str) -> None:
        match hint.split(" "):
            case ["account", tenant, account] if tenant.isdecimal() and account.isdecimal():
                self._drop((TenantId(int(tenant)), AccountId(int(account))))
            case ["host", host]:
                self._refusing[host] = monotonic() + REFUSED.total_seconds()
                for key in [key for key, session in self._kept.items() if session.host == host]:
                    self._drop(key)

    async def expire(self) -> None:
        """Log out of those that were not used for long, or are old. For ever."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            for key in [key for key, session in self._kept.items() if session.is_over]:
                self._drop(key)
            await self._close_over()

    async def _close_over(self) -> None:
        over, self._over = self._over, []
        await _close(over)

    async def aclose(self) -> None:
        """Log out of all."""
        self._most = 0
        self.watcher = None
        for key in [*self._kept, *self._listening]:
            self._drop(key)
        await self._close_over()


@asynccontextmanager
async def sessions(hints: Hints) -> AsyncIterator[Sessions]:
    """Mailboxes are kept for as long as the block runs."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    kept = Sessions(min(MOST, files // SHARE), hints.tell)
    async with aclosing(kept), beside(kept.expire(), kept.hear(hints)):
        yield kept


async def _close(sessions: Sequence[Session]) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(GOODBYE):
            await asyncio.gather(*(session.stack.aclose() for session in sessions))
