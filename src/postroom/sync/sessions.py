"""Keep a mailbox open for a while after a sync, so that the next one need not log in.

lend ──┬─ one is kept ──> its folders are asked for ──┬─ answered ──> used ──> at rest ──> kept
       │                                              └─ it has died meanwhile ──┐
       └─ none is ───────────────────────────────────────────────> log in ───────┴─> used ...

Only one that ended well is kept, for `IDLE` after its last use and for `LIFE` in all: a server may believe
for ever what it believes of a session's folders. One that has died says nothing of the server or the account,
so its user is given a new one and never hears of it; and so it is where the server refuses the list.
"""

import asyncio
import resource
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager, suppress
from datetime import timedelta
from time import monotonic

from postroom.accounts.model import Account
from postroom.db.beside import beside
from postroom.errors import PostroomError, TryLater
from postroom.providers.model import Mailbox, OpenFolder, RemoteFolder, SentAway

IDLE = timedelta(minutes=5)
LIFE = timedelta(hours=1)
LOOK_EVERY = 15.0  # seconds, for those whose time is over
PROOF = 10.0  # seconds that one which was kept has to answer
GOODBYE = 3.0  # seconds for all of them
MOST = 500
SHARE = 4  # of the files that a process may open, one in so many is a mailbox that is kept

Key = tuple[int, int, int]
Opening = AbstractAsyncContextManager[Mailbox]


class Sessions:
    """Mailboxes that are open and not in use, at most `most`. Of one account one is kept."""

    def __init__(self, most: int = 0) -> None:
        self._most = most
        self._kept: dict[Key, _Session] = {}  # the longest unused first

    @asynccontextmanager
    async def lend(self, account: Account, opening: Opening) -> AsyncIterator[Mailbox]:
        """The account's mailbox, by its credentials of today: one that was kept, or what `opening` opens.

        Ask for its folders first. Raises what `opening` does.
        """
        key = (account.tenant_id, account.id, account.credentials_version)
        session = self._kept.pop(key, None) or _Session()
        async with AsyncExitStack() as end:
            end.push_async_exit(session.stack)
            await session.begin(opening)
            yield session
            if self._most and await session.rest():
                end.pop_all()
                await self._keep(key, session)

    async def _keep(self, key: Key, session: "_Session") -> None:
        others = [self._kept.pop(key)] if key in self._kept else []
        self._kept[key] = session
        if len(self._kept) > self._most:
            others.append(self._kept.pop(next(iter(self._kept))))
        await _close(others)

    async def expire(self) -> None:
        """Log out of those that were not used for long, or are old. For ever."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            over = [key for key, session in self._kept.items() if session.is_over]
            await _close([self._kept.pop(key) for key in over])

    async def aclose(self) -> None:
        """Log out of all."""
        kept, self._kept, self._most = list(self._kept.values()), {}, 0
        await _close(kept)


@asynccontextmanager
async def sessions() -> AsyncIterator[Sessions]:
    """Mailboxes are kept for as long as the block runs."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with aclosing(Sessions(min(MOST, files // SHARE))) as kept, beside(kept.expire()):
        yield kept


class _Session:
    """An open mailbox, and itself a `Mailbox`: of one that was kept it proves that it still stands."""

    mailbox: Mailbox
    _opening: Opening

    def __init__(self) -> None:
        self.stack = AsyncExitStack()  # closes it
        self._opened_at = self._used_at = 0.0
        self._is_proven = False

    @property
    def is_over(self) -> bool:
        now = monotonic()
        return now - self._used_at > IDLE.total_seconds() or now - self._opened_at > LIFE.total_seconds()

    @property
    def speed(self) -> float | None:
        return self.mailbox.speed

    async def begin(self, opening: Opening) -> None:
        self._opening, self._is_proven = opening, False
        if not self._opened_at:
            await self._open()

    async def _open(self) -> None:
        self.mailbox = await self.stack.enter_async_context(self._opening)
        self._opened_at, self._is_proven = monotonic(), True

    async def folders(self) -> Sequence[RemoteFolder]:
        if not self._is_proven:
            self._is_proven = True
            try:
                async with asyncio.timeout(PROOF):
                    return await self.mailbox.folders()
            except (TryLater, TimeoutError) as error:
                if isinstance(error, SentAway) and await self.rest():
                    raise  # it stands; the server wants less of us, not another login
                await self.stack.aclose()
                await self._open()
        return await self.mailbox.folders()

    async def open(self, folder: RemoteFolder) -> OpenFolder:
        return await self.mailbox.open(folder)

    async def rest(self) -> bool:
        """Whether it can be kept."""
        self._used_at = monotonic()
        try:
            return await self.mailbox.rest()
        except PostroomError:
            return False


async def _close(kept: Sequence[_Session]) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(GOODBYE):
            await asyncio.gather(*(session.stack.aclose() for session in kept))
