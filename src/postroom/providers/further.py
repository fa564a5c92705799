"""Further folders of an account that are watched by IDLE, each in a session that does nothing else.

the account was polled, and its own session listens to one folder
    └─> its owner has chosen others, too ─> a slot that is free ─> log in ─> listens ─> look once more
                                                └─ there is none: the folder is swept, as all others are
told ─> the watcher hears of it, as if the account's own session had been told

After each poll they are looked after: what nobody wants any more is closed, what is missing is opened. So
nothing else is needed where one ends, and mail that comes meanwhile is what the next poll finds. They end
with the account's own session, and before it where somebody needs a slot.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic
from typing import TypeAlias

from postroom.errors import PostroomError

from .kept import Began, Opening, Session
from .model import Ended, Means, Notice, RemoteFolder
from .target import Key, Target

MOST = 10  # of an account
BEGINNING = 15.0  # seconds for all that an account is missing
AGAIN = timedelta(minutes=2)  # after one could not be opened, or the account's own session ended
QUIET = 30.0  # seconds, after which one is asked whether it still stands

Begin: TypeAlias = Callable[[Target, Opening], Awaitable[Session | None]]
"""Opens one more session of an account; None where it may have no more."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """What an account's owner wants watched beside the folder that its own session is told of."""

    wants: Callable[[str], bool]  # a folder, by its path
    opening: Callable[[], Opening]


class Further:
    """Those of one pool. `stands`: whether an account's own session listens; `heard` hears that one of these
    was told of something; `close` closes one soon.
    """

    def __init__(
        self,
        stands: Callable[[Key], bool],
        heard: Callable[[Key], None],
        close: Callable[[Session], None],
    ) -> None:
        self._stands, self._heard, self._close = stands, heard, close
        self._sessions: dict[Key, dict[bytes, Session]] = {}  # by their folder; the youngest last
        self._not_before: dict[Key, float] = {}  # when to try again

    def of(self, key: Key) -> Mapping[bytes, Session]:
        return self._sessions.get(key, {})

    def looked(self, key: Key) -> None:
        """What is told from now on is news."""
        for session in self.of(key).values():
            session.looked()

    async def mind(self, target: Target, began: Began, chosen: Chosen | None, begin: Begin) -> None:
        """See to it that what is chosen is watched, as far as may be; `began`: the account's own session."""
        key, wanted = target.key, _wanted(began, chosen)
        for name, session in list(self.of(key).items()):
            if name not in wanted or session.version != target.version:
                self._end(key, session)
        await self.ask(key)
        missing = [folder for name, folder in wanted.items() if name not in self.of(key)]
        if chosen is None or not missing or self._not_before.get(key, 0.0) > monotonic():
            return
        self._not_before.pop(key, None)
        has_begun = list[bool]()

        async def watch(folder: RemoteFolder) -> None:
            has_begun.append(await self._begin(target, folder, chosen.opening(), begin))

        with suppress(TimeoutError):
            async with asyncio.timeout(BEGINNING), asyncio.TaskGroup() as group:
                for folder in missing:
                    group.create_task(watch(folder))
        if any(has_begun):
            self._heard(key)  # what came before they listened is told by nobody

    async def _begin(self, target: Target, folder: RemoteFolder, opening: Opening, begin: Begin) -> bool:
        """Whether it listens."""
        with suppress(PostroomError, TimeoutError):
            session = await begin(target, opening)
            if session is None or await self._listens(target.key, folder, session):
                return session is not None
        self._rest(target.key)
        return False

    async def _listens(self, key: Key, folder: RemoteFolder, session: Session) -> bool:
        if not self._stands(key) or folder.name in self.of(
            key
        ):  # let go of meanwhile, or somebody was faster
            self._close(session)
            return False
        self._sessions.setdefault(key, {})[folder.name] = session
        listens = False
        try:
            listens = await session.listen_to(folder, lambda notice: self._hear(key, session, notice))
        finally:
            if not listens:
                self._end(key, session)
        return listens

    def _rest(self, key: Key) -> None:
        self._not_before[key] = monotonic() + AGAIN.total_seconds()

    def _hear(self, key: Key, session: Session, notice: Notice) -> None:
        if session not in self.of(key).values():
            return
        if isinstance(notice, Ended):
            self._end(key, session)
        else:
            session.heard()
            self._heard(key)

    async def ask(self, key: Key) -> None:
        """Those that were silent for a while; one that does not stand any more is closed."""

        async def ask(session: Session) -> None:
            if not await session.renew():
                self._end(key, session)

        async with asyncio.TaskGroup() as group:
            for session in self.of(key).values():
                if session.silent_for > QUIET:
                    group.create_task(ask(session))

    def give_way(self, key: Key) -> bool:
        """Somebody waits for a slot of this account: whether one of these ends for that."""
        youngest = list(self.of(key).values())[-1:]
        for session in youngest:
            self._end(key, session)
        return bool(youngest)

    def expire(self) -> None:
        """End those whose slot somebody else needs more."""
        for key, sessions in list(self._sessions.items()):
            for session in list(sessions.values()):
                if session.is_wanted_elsewhere:
                    self._end(key, session)

    def drop(self, key: Key) -> None:
        """All of this account, whose own session has ended: a server may have had enough of us."""
        if sessions := self._sessions.pop(key, None):
            self._rest(key)
            for session in sessions.values():
                self._close(session)

    def _end(self, key: Key, session: Session) -> None:
        ours = self._sessions.get(key, {})
        for name in [name for name, one in ours.items() if one is session]:
            del ours[name]
            self._close(session)
        if not ours:
            self._sessions.pop(key, None)


def _wanted(began: Began, chosen: Chosen | None) -> Mapping[bytes, RemoteFolder]:
    """None where the server can tell of all over one connection."""
    watching = began.watching
    if chosen is None or watching is None or watching.means is not Means.IDLE:
        return {}
    told_of = watching.folders or frozenset()
    found = (one for one in began.folders if one.name not in told_of and chosen.wants(one.path))
    return {folder.name: folder for folder, _ in zip(found, range(MOST), strict=False)}
