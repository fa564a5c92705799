"""Sessions in which servers tell of changes, from when they are given back until they are lent again.

given back ──> listens ──┬─ told ───────> the watcher hears of it
                         ├─ asked again and again whether it still does
                         └─ lent, or not any more: the watcher hears of that, too, unless it was lent
"""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Protocol

from .further import Further
from .kept import Began, Session
from .model import Ended, Notice, Watching
from .target import Key


class Watcher(Protocol):
    """Who wants sessions to listen."""

    def wants(self, key: Key) -> bool:
        """Whether the session of this account is to listen from now on."""

    def began(self, key: Key, watching: Watching | None, missed: bool) -> None:
        """It listens; None: its server cannot tell. `missed`: something happened since it was lent."""

    def heard(self, key: Key) -> None:
        """Its server has told of a change."""

    def lost(self, key: Key) -> None:
        """It listens no more, and is not lent either. May be told more than once."""

    def interval(self, key: Key, every: timedelta) -> timedelta:
        """How often to poll an account now that would be polled `every` so often otherwise."""


class Listening:
    """Those of one pool; `close` sees to it that one is closed soon."""

    def __init__(self, close: Callable[[Session], None]) -> None:
        self._close = close
        self.further = Further(self.__contains__, self._heard, close)
        self._sessions: dict[Key, Session] = {}
        self._asked: dict[Key, asyncio.Event] = {}  # who is asked whether it stands; set when that is known
        self.watcher: Watcher | None = None

    def __contains__(self, key: Key) -> bool:
        return key in self._sessions

    def wants(self, key: Key) -> bool:
        return self.watcher is not None and self.watcher.wants(key)

    async def taken(self, key: Key) -> Session | None:
        """This account's session, to be lent. It listens until it is used."""
        if asked := self._asked.get(key):
            await asked.wait()
        self.further.looked(key)
        return self._sessions.pop(key, None)

    async def begin(self, key: Key, session: Session, wants: Callable[[str], bool]) -> Began | None:
        """Have a session listen that was used; None: it does not."""
        early: list[Notice] | None = []  # what is told before all is set up

        def told(notice: Notice) -> None:
            if early is not None:
                early.append(notice)
            elif self._sessions.get(key) is session:
                self._hear(key, session, notice)

        began = await session.listen(wants, told)
        if began is None or self.watcher is None or not self.wants(key):
            return None
        if began.watching is not None:
            if key in self._sessions:
                self.drop(key)
            self._sessions[key] = session
        self.watcher.began(key, began.watching, began.missed)
        before, early = early or [], None
        for notice in before:
            told(notice)
        return began if began.watching is not None else None

    def _hear(self, key: Key, session: Session, notice: Notice) -> None:
        if isinstance(notice, Ended):
            self.drop(key)
        else:
            session.heard()
            self._heard(key)

    def _heard(self, key: Key) -> None:
        if self.watcher is not None:
            self.watcher.heard(key)

    async def renew(self, key: Key) -> None:
        """Ask a session whether it still listens; one that does not is lost. Who wants to use it waits."""
        session = self._sessions.get(key)
        if session is None or key in self._asked:
            return
        self._asked[key] = asyncio.Event()
        try:
            is_well, _ = await asyncio.gather(session.renew(), self.further.ask(key))
        finally:
            self._asked.pop(key).set()
        if not is_well and self._sessions.get(key) is session:
            self.drop(key)

    def lost(self, key: Key) -> None:
        self.further.drop(key)
        if self.watcher is not None:
            self.watcher.lost(key)

    def drop(self, key: Key) -> None:
        """It is to be closed, whatever it is used for otherwise."""
        self.further.drop(key)
        if (session := self._sessions.pop(key, None)) is not None:
            self._close(session)
            self.lost(key)

    def expire(self) -> None:
        """Drop those whose slot somebody else needs more."""
        for key in [key for key, session in self._sessions.items() if session.is_wanted_elsewhere]:
            self.drop(key)
        self.further.expire()

    def drop_all(self) -> None:
        self.watcher = None
        for key in list(self._sessions):
            self.drop(key)
