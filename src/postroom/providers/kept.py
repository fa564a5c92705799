"""One mailbox that may be kept between its uses, and is opened anew where it has died meanwhile."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from datetime import timedelta
from time import monotonic
from typing import TypeAlias

from postroom import telemetry
from postroom.errors import PostroomError, TryLater

from .model import Mailbox, OpenFolder, RemoteFolder, SentAway, Target
from .slots import Slot

IDLE = timedelta(minutes=5)
LIFE = timedelta(hours=1)
TRUSTED = timedelta(seconds=10)  # after its last use: nobody asks whether it still stands
PATIENCE = 10.0  # seconds for an answer that costs a server nothing

Opening: TypeAlias = AbstractAsyncContextManager[Mailbox]
Opened: TypeAlias = Callable[["Session", Opening], Opening]
"""How a session opens what it is given to open."""


class Session:
    """An open mailbox, and itself a `Mailbox`: one that was kept and has died is opened anew."""

    _mailbox: Mailbox

    def __init__(self, target: Target, opened: Opened) -> None:
        self.target, self._opened = target, opened
        self.stack = AsyncExitStack()  # closes it
        self.slot: Slot | None = None
        self.is_wanted = False  # somebody waits for a slot of its account
        self._opening: Opening | None = None  # as long as it may be needed: it knows the password
        self._opened_at = self._used_at = 0.0

    @property
    def is_new(self) -> bool:
        return not self._opened_at

    @property
    def host(self) -> str:
        return self.target.host

    @property
    def version(self) -> int:
        return self.target.version

    @property
    def is_over(self) -> bool:
        now = monotonic()
        return (
            now - self._used_at > IDLE.total_seconds()
            or now - self._opened_at > LIFE.total_seconds()
            or (self.slot is not None and self.slot.wanted.is_set())
        )

    async def begin(self, opening: Opening) -> None:
        """Be open, whatever that takes; a new one in its `slot`."""
        if self.is_new:
            await self._open(opening)
        elif self._is_trusted or await self._stands():
            self._opening = opening
        else:
            await self._open(opening, "it had died")

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

    async def _open(self, opening: Opening, again: str | None = None) -> None:
        if again is not None:
            telemetry.RECONNECTS.labels(again).inc()
        await self.stack.aclose()
        self._mailbox = await self.stack.enter_async_context(self._opened(self, opening))
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
                await self._open(opening, "it refused the list")
        return await self._mailbox.folders()

    async def open(self, folder: RemoteFolder) -> OpenFolder:
        return await self._mailbox.open(folder)

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
