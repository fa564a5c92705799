"""One mailbox that may be kept between its uses, at rest or listening. Where it has died it is replaced."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic
from typing import TypeAlias

from postroom import telemetry
from postroom.errors import PostroomError, TryLater

from .model import (
    FolderRole,
    FolderStatus,
    Mailbox,
    Notice,
    OpenFolder,
    RemoteFolder,
    SentAway,
    Watching,
)
from .slots import Slot
from .target import Target

IDLE = timedelta(minutes=5)
LIFE = timedelta(hours=1)
TRUSTED = timedelta(seconds=10)  # after its last use: nobody asks whether it still stands
PATIENCE = 10.0  # seconds for an answer that costs a server nothing
BEGINNING = 30.0  # seconds for a server to count all folders, which it does as it begins to tell of them
ANSWER = 10.0  # seconds for a session that listens to say that it still does

Opening: TypeAlias = AbstractAsyncContextManager[Mailbox]
Opened: TypeAlias = Callable[["Session", Opening], Opening]
"""How a session opens what it is given to open."""


@dataclass(frozen=True, slots=True)
class Began:
    """It is kept."""

    watching: Watching | None  # None: its server cannot tell
    missed: bool  # a folder is not as the use before has seen it
    folders: Sequence[RemoteFolder]  # that there are, of those that are wanted; the inbox first


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
        self._watching: Watching | None = None
        self._folders: Sequence[RemoteFolder] = ()  # as this use has seen them
        self._seen: dict[bytes, FolderStatus] = {}  # by this use, the first time: its plans may be as old

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
            or self.is_wanted_elsewhere
        )

    @property
    def is_wanted_elsewhere(self) -> bool:
        """Whether somebody has more need of its slot than who keeps it."""
        return self.is_wanted or (self.slot is not None and self.slot.wanted.is_set())

    async def begin(self, opening: Opening) -> None:
        """Be open, whatever that takes; a new one in its `slot`."""
        self._watching, self._seen = None, {}
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
        self._folders = await self._listed()
        for folder in self._folders:
            if folder.status is not None:
                self._seen.setdefault(folder.name, folder.status)
        return self._folders

    async def _listed(self) -> Sequence[RemoteFolder]:
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
        opened = await self._mailbox.open(folder)
        self._seen.setdefault(folder.name, opened.status)
        return opened

    async def watch(self, folders: Sequence[RemoteFolder], told: Callable[[Notice], None]) -> Watching | None:
        return await self._mailbox.watch(folders, told)

    async def listen(self, wants: Callable[[str], bool], told: Callable[[Notice], None]) -> "Began | None":
        """Have it tell what changes in folders of wanted paths. None: it cannot be kept at all."""
        chosen = [one for one in self._folders if one.selectable and wants(one.path)]
        chosen.sort(key=lambda one: one.role is not FolderRole.INBOX)
        seen, self._folders, self._seen = self._seen, (), {}  # thousands listen
        if not (chosen and await self.rest()):
            return None
        try:
            async with asyncio.timeout(BEGINNING):
                self._watching = await self._mailbox.watch(chosen, told)
        except (PostroomError, TimeoutError):
            return None
        self._used_at = monotonic()
        names = {folder.name for folder in chosen}
        now = self._watching.statuses.items() if self._watching else ()
        return Began(self._watching, any(_differ(seen.get(n), s) for n, s in now if n in names), chosen)

    async def listen_to(self, folder: RemoteFolder, told: Callable[[Notice], None]) -> bool:
        """Have one that has just begun do nothing else; whether it does. Raises what its server raises."""
        self._watching = await self._mailbox.watch([folder], told)
        self._used_at = monotonic()
        return self._watching is not None

    def looked(self) -> None:
        """What was told may be told again."""
        if self._watching is not None:
            self._watching.looked()

    @property
    def silent_for(self) -> float:
        """Seconds since it was used, or has told of something."""
        return monotonic() - self._used_at

    def heard(self) -> None:
        """It stands, as it has just said something."""
        self._used_at = monotonic()

    async def renew(self) -> bool:
        """Whether it listens still."""
        try:
            async with asyncio.timeout(ANSWER):
                if self._watching is not None:
                    await self._watching.renew()
        except (PostroomError, TimeoutError):
            return False
        self._used_at = monotonic()
        return True

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


def _differ(seen: FolderStatus | None, now: FolderStatus) -> bool:
    """Whether a folder is not as a sync has seen it, as far as both know."""
    if seen is None:
        return True
    pairs = (
        (seen.messages, now.messages),
        (seen.uid_next, now.uid_next),
        (seen.modseq, now.modseq),
        (seen.validity, now.validity),
    )
    return any(old is not None and new is not None and old != new for old, new in pairs)
