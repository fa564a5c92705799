"""A mailbox from its owner's side: how the conformance suite prepares what a provider shall find.

A kind of mail server joins the suite by a `Subject` and one line in `conftest.py`; the tests stay as they
are. Messages are named by their bytes, so that nothing is said of how a server numbers them.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from enum import StrEnum, auto
from typing import Protocol

from postroom.providers.model import Login, Provider


class Can(StrEnum):
    """What this kind of store is able to do at all. The suite asks for no more, and for all of that."""

    FLAG = auto()  # keep flags beside a message's bytes
    KEYWORD = auto()  # keep flags that it never heard of
    EMPTY = auto()  # hold a message without a single byte
    LEVEL = auto()  # have names that only lead to folders
    SIZE = auto()  # tell sizes to the byte before a message is fetched
    NUMBER = auto()  # keep UIDs while mail comes and goes
    RENAME = auto()  # keep UIDs and validity of a folder whose name changes
    NOTICE = auto()  # let others change a folder that is open
    TELL_FLAGS = auto()  # say which flags changed since a cursor
    TELL_REMOVED = auto()  # say what was removed since a cursor
    TELL = auto()  # tell of changes as they happen
    NAME_MAIL = auto()  # know contents by ids of its own
    NAME_FOLDER = auto()  # know folders by ids of its own
    REFUSE = auto()  # ask for a secret


class Subject(Protocol):
    """One mailbox of one owner, empty but for what the server makes by itself."""

    @property
    def provider(self) -> Provider: ...

    @property
    def can(self) -> frozenset[Can]: ...

    def login(self, **changes: object) -> Login:
        """The way in. `secret` may be changed, and any of the provider's own settings."""
        ...

    def unreachable(self) -> Login:
        """The way to a place where no such mailbox is."""
        ...

    async def create(self, path: str) -> None:
        """Make a folder; levels are parted by `/`. INBOX is always there."""
        ...

    async def deliver(
        self, path: str, raw: bytes, *, flags: Collection[str] = (), received: datetime | None = None
    ) -> None: ...

    async def fill(self, path: str, raws: Iterable[bytes]) -> None:
        """Deliver many, quickly."""
        ...

    async def flag(self, path: str, raw: bytes, flags: Collection[str]) -> None:
        """Set the flags of the message with these bytes to exactly these."""
        ...

    async def remove(self, path: str, raw: bytes) -> None: ...

    async def move(self, path: str, raw: bytes, target: str) -> None: ...

    async def rename(self, path: str, new: str) -> None: ...

    async def drop(self, path: str) -> None:
        """Delete a folder and all that is in it."""
        ...

    async def held(self, path: str) -> Mapping[bytes, frozenset[str]]:
        """What the server really holds, asked past the provider: bytes, and their flags."""
        ...
