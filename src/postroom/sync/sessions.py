"""Keep a mailbox open for a while after a sync, so that the next one need not log in.

lend ──┬─ one is kept ──> does it still stand? ──┬─ yes ──> used ──> at rest ──> kept
       │                                         └─ no ───┐
       └─ none is ──> others close theirs ──> log in ─────┴─> used ...

Only accounts that are polled more often than every `IDLE` gain by it. Only one that ended well is kept, for
`IDLE` after its last use and for `LIFE` in all: a server may believe for ever what it believes of a session's
folders. One that has died says nothing of the server or the account: its user gets a new one.

Servers count connections. So of one account one is kept in all processes, which tell each other by hints;
and of a host that has refused a login none is kept for a day.
"""

import asyncio
import resource
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    aclosing,
    asynccontextmanager,
    contextmanager,
    suppress,
)
from datetime import timedelta
from time import monotonic

from postroom.accounts.model import Account
from postroom.db.beside import beside
from postroom.db.listen import Hints
from postroom.errors import PostroomError, TryLater
from postroom.ids import AccountId, TenantId
from postroom.providers.model import (
    Mailbox,
    Notice,
    OpenFolder,
    PortClosed,
    RemoteFolder,
    SentAway,
    ServerRefused,
    UnknownHost,
    Unreachable,
    Watching,
)

SESSIONS = "sessions"  # a hint: of this account, or host, none is to be kept
IDLE = timedelta(minutes=5)
LIFE = timedelta(hours=1)
REFUSED = timedelta(days=1)  # that a host is remembered which refused a login
TRUSTED = timedelta(seconds=10)  # after its last use: nobody asks whether it still stands
LOOK_EVERY = 15.0  # seconds, for those whose time is over
PATIENCE = 10.0  # seconds for an answer that costs a server nothing
GOODBYE = 3.0  # seconds for all that are closed together
MOST = 500
SHARE = 4  # of the files that a process may open, one in so many is a mailbox that is kept

Opening = AbstractAsyncContextManager[Mailbox]
Key = tuple[TenantId, AccountId]


def _nobody(_topic: str, _subject: str) -> None: ...


def of_account(tenant: TenantId, account: AccountId) -> str:
    """The subject of the hint that nobody keeps a session of this account any more."""
    return f"account {tenant} {account}"


class Sessions:
    """Mailboxes that are open and not in use, at most `most`; `tell` tells a hint to all processes."""

    def __init__(self, most: int = 0, tell: Callable[[str, str], None] = _nobody) -> None:
        self._most, self._tell = most, tell
        self._kept: dict[Key, _Session] = {}  # the longest unused first
        self._over: list[_Session] = []  # to be closed
        self._refusing: dict[str, float] = {}  # hosts, and until when

    @asynccontextmanager
    async def lend(
        self, account: Account, opening: Opening, *, often: bool, anew: bool = False
    ) -> AsyncIterator[Mailbox]:
        """The account's mailbox, by its credentials of today: one that was kept, or what `opening` opens.

        `often`: it will be wanted again within `IDLE`. `anew`: what was kept will not do. Raises what
        `opening` does.
        """
        key = (account.tenant_id, account.id)
        session = self._kept.pop(key, None)
        if session is not None and (anew or session.version != account.credentials_version):
            await _close([session])
            session = None
        if session is None:
            session = _Session(account)
            if often:
                self._tell(SESSIONS, of_account(*key))
        async with AsyncExitStack() as end:
            end.push_async_exit(session.stack)
            with self._noticing(session.host):
                await session.begin(opening)
            yield session
            if often and self._has_room(session) and await session.rest() and self._has_room(session):
                end.pop_all()
                self._keep(key, session)

    def _keep(self, key: Key, session: "_Session") -> None:
        self._drop(key)
        self._kept[key] = session
        if len(self._kept) > self._most:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: Key) -> None:
        if (session := self._kept.pop(key, None)) is not None:
            self._over.append(session)

    def _has_room(self, session: "_Session") -> bool:
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
        for key in list(self._kept):
            self._drop(key)
        await self._close_over()


@asynccontextmanager
async def sessions(hints: Hints) -> AsyncIterator[Sessions]:
    """Mailboxes are kept for as long as the block runs."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    kept = Sessions(min(MOST, files // SHARE), hints.tell)
    async with aclosing(kept), beside(kept.expire(), kept.hear(hints)):
        yield kept


class _Session:
    """An open mailbox, and itself a `Mailbox`: one that was kept and has died is opened anew."""

    _mailbox: Mailbox

    def __init__(self, account: Account) -> None:
        self.stack = AsyncExitStack()  # closes it
        self.host = str(account.settings.get("host"))
        self.version = account.credentials_version
        self._opening: Opening | None = None  # as long as it may be needed: it knows the password
        self._opened_at = self._used_at = 0.0

    @property
    def is_over(self) -> bool:
        now = monotonic()
        return now - self._used_at > IDLE.total_seconds() or now - self._opened_at > LIFE.total_seconds()

    async def begin(self, opening: Opening) -> None:
        if self._opened_at and (self._is_trusted or await self._stands()):
            self._opening = opening
        else:
            await self._open(opening)

    @property
    def _is_trusted(self) -> bool:
        return monotonic() - self._used_at <= TRUSTED.total_seconds()

    async def _stands(self) -> bool:
        try:
            async with asyncio.timeout(PATIENCE):
                await self._mailbox.ping()
        except (PostroomError, TimeoutError):
            return False
        return True

    async def _open(self, opening: Opening) -> None:
        await self.stack.aclose()
        self._mailbox = await self.stack.enter_async_context(opening)
        self._opened_at = monotonic()

    @property
    def speed(self) -> float | None:
        return self._mailbox.speed

    async def folders(self) -> Sequence[RemoteFolder]:
        """Of one that was kept this is the first that is asked; who refuses it is logged in to again."""
        opening, self._opening = self._opening, None
        if opening is not None:
            try:
                return await self._mailbox.folders()
            except TryLater as error:
                if isinstance(error, SentAway) and await self.rest():
                    raise  # it stands; the server wants less of us, not another login
                await self._open(opening)
        return await self._mailbox.folders()

    async def open(self, folder: RemoteFolder) -> OpenFolder:
        return await self._mailbox.open(folder)

    async def watch(self, folders: Sequence[RemoteFolder], told: Callable[[Notice], None]) -> Watching | None:
        return await self._mailbox.watch(folders, told)

    async def ping(self) -> None:
        await self._mailbox.ping()

    async def rest(self) -> bool:
        """Whether it can be kept."""
        self._used_at, self._opening = monotonic(), None
        try:
            async with asyncio.timeout(PATIENCE):
                return await self._mailbox.rest()
        except (PostroomError, TimeoutError):
            return False


async def _close(sessions: Sequence[_Session]) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(GOODBYE):
            await asyncio.gather(*(session.stack.aclose() for session in sessions))
