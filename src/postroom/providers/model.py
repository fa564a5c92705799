"""The port: what postroom asks of a mail provider, in words that belong to none of them.

    Provider (one a kind: imap, files, gmail ...; in the registry)
        check(login)  -> Report         can it be reached, and what would be copied
        open(login)   -> Mailbox        an authenticated conversation
                            folders()           every folder, with its status where that comes for free
                            ping(), rest()      does it still stand; leave what is open for a while
                            open(folder)  ->  OpenFolder
                                                status     as the server just said it
                                                uids()     a complete listing, or an error
                                                received_since()   the UIDs of newer mail
                                                scan()     flags, size and date of given messages
                                                changes()  what changed since a cursor, if it can tell
                                                fetch()    whole messages, in any order, as they come

Errors are the tree below; adapters translate theirs into it at the edge, each with a sentence for people.

TryLater
├── Unreachable      connection lost, time-out
│   ├── UnknownHost  no such name
│   └── PortClosed   nobody listens there
├── ServerRefused    the server said NO or BYE for now
│   └── SentAway     and wants less of all of us
│       └── Throttled  and said for how long: `wait` is its own number
└── Incomplete       an answer contradicts itself; nothing may be inferred from it
NeedsOwner
├── WrongPassword    the credentials were refused; the message says exactly what the owner must do
│   └── Expired      and the server knows it for one that has run out
├── AppPassword      the provider wants an app password or OAuth instead
├── Blocked          the provider knows the owner and lets nobody in: locked, IMAP switched off, no permission
├── NoMailbox        the login is accepted, and then no mailbox opens
├── NotTrusted       the certificate is not trusted, or names another host
└── TlsRefused       TLS was required and the server does not offer it
Broken
└── NoRoom           no space for messages too large for memory
BadMessage
└── Unfetchable      the server will not hand out this message
NotFound
└── FolderGone       the folder vanished
"""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Any, BinaryIO, Protocol

from postroom import errors
from postroom.providers.spent import Spent


class FolderRole(StrEnum):
    """What a folder is for, whatever it is called (RFC 6154)."""

    INBOX = "inbox"
    SENT = "sent"
    DRAFTS = "drafts"
    TRASH = "trash"
    SPAM = "spam"
    ARCHIVE = "archive"
    ALL = "all"
    FLAGGED = "flagged"


@dataclass(frozen=True, slots=True)
class FolderStatus:
    """A folder's numbers, as the server gave them. None: it did not say."""

    messages: int | None = None
    validity: int | None = None
    uid_next: int | None = None
    modseq: int | None = None
    size: int | None = None  # bytes of all its messages
    object_id: str | None = None  # the server's own id for the folder, which outlives its name


@dataclass(frozen=True, slots=True)
class RemoteFolder:
    """A folder in the server's list."""

    name: bytes  # raw: the folder's identity, and what goes back to the server
    path: str  # decoded, for people
    delimiter: str | None = None
    role: FolderRole | None = None
    selectable: bool = True
    status: FolderStatus | None = None


@dataclass(frozen=True, slots=True)
class RemoteItem:
    """What a scan tells of a message. None: the server left it out, which is not the same as empty."""

    uid: int
    flags: frozenset[str] | None
    size: int | None = None
    received_at: datetime | None = None
    modseq: int | None = None
    object_id: str | None = None  # the server's own id for the content, the same in every folder


@dataclass(frozen=True, slots=True)
class Changes:
    """What happened since a cursor: changed flags, and removals that the server names."""

    flags: Mapping[int, frozenset[str]]
    removed: frozenset[int] | None  # None: this server cannot name them


@dataclass(frozen=True, slots=True)
class RemoteMessage:
    """A whole message. `content` is a file where it is too large for memory; whoever takes it closes it."""

    uid: int
    content: bytes | BinaryIO
    size: int
    flags: frozenset[str] | None = None
    received_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Unfetched:
    """A message that was asked for and did not come."""

    uid: int
    error: errors.PostroomError | None  # None: it is gone


class OpenFolder(Protocol):
    """A folder that the conversation is in. Worthless once another one is opened."""

    @property
    def folder(self) -> RemoteFolder: ...

    @property
    def status(self) -> FolderStatus:
        """As proven at opening; `messages` is never None."""
        ...

    async def uids(self) -> Sequence[int]:
        """Every UID, ascending; an array where there may be millions.

        Raises `Incomplete` rather than returning a partial list.
        """
        ...

    @property
    def shown_from(self) -> int:
        """The lowest uid that `uids` can show; what is below may be there all the same."""
        ...

    async def received_since(self, day: date) -> Collection[int]:
        """The UIDs of what the server took in on that day or later, as far as it says."""
        ...

    async def scan(self, uids: Sequence[int]) -> Sequence[RemoteItem]:
        """Describe these messages; those that are gone are left out. Bounded by what is asked."""
        ...

    async def changes(self, since: FolderStatus, first: int, last: int) -> Changes | None:
        """What changed since then from UID `first` to `last`; None where everything must be scanned."""
        ...

    def fetch(self, items: Sequence[RemoteItem]) -> AsyncIterator[RemoteMessage | Unfetched]:
        """Fetch whole messages without marking them as read; one answer for each item asked."""
        ...


class Mailbox(Protocol):
    """An open, authenticated mailbox: one conversation, one call at a time."""

    @property
    def speed(self) -> float | None:
        """Bytes of content a second, as they come over the link; None until enough was seen, and for files.

        It is measured while whole messages are fetched, and may change with each of them.
        """
        ...

    async def folders(self) -> Sequence[RemoteFolder]: ...

    async def open(self, folder: RemoteFolder) -> OpenFolder: ...

    async def ping(self) -> None:
        """Raises `TryLater` where the server does not answer any more."""
        ...

    async def rest(self) -> bool:
        """Leave what is open, to be used again after a while; whether that can be."""
        ...


@dataclass(frozen=True, slots=True)
class Login:
    """How to reach a mailbox. `settings` are the provider's own words; `secret` never leaves memory."""

    address: str
    settings: Mapping[str, Any]
    secret: str = field(repr=False, default="")
    spent: Spent = field(repr=False, compare=False, default_factory=Spent)  # where its cost is counted


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a first sync would copy."""

    folders: int
    messages: int
    bytes: int | None  # None: the server cannot tell without reading everything


class Provider(Protocol):
    """One kind of mail server."""

    kind: str

    def open(self, login: Login) -> AbstractAsyncContextManager[Mailbox]:
        """Connect and log in; leaves in good order, whatever happened inside."""
        ...

    async def estimate(self, mailbox: Mailbox, folders: Sequence[RemoteFolder]) -> Estimate: ...


class Unreachable(errors.TryLater):
    code = "providers.unreachable"


class UnknownHost(Unreachable):
    code = "providers.unknown_host"


class PortClosed(Unreachable):
    code = "providers.port_closed"


class ServerRefused(errors.TryLater):
    code = "providers.refused"


class SentAway(ServerRefused):
    """It wants less of all of us: another folder would be refused as well, and asking makes it worse."""


class Throttled(SentAway):
    """It said itself how long to stay away. `wait` is that number, to be obeyed exactly."""


class Incomplete(errors.TryLater):
    code = "providers.incomplete"


class WrongPassword(errors.NeedsOwner):
    code = "providers.wrong_password"


class Expired(WrongPassword):
    code = "providers.password_expired"


class Blocked(errors.NeedsOwner):
    code = "providers.blocked"


class NoMailbox(errors.NeedsOwner):
    code = "providers.no_mailbox"


class AppPassword(errors.NeedsOwner):
    code = "providers.app_password"


class NotTrusted(errors.NeedsOwner):
    code = "providers.not_trusted"


class TlsRefused(errors.NeedsOwner):
    code = "providers.tls_refused"


class NoRoom(errors.Broken):
    code = "providers.no_room"


class Unfetchable(errors.BadMessage):
    code = "providers.unfetchable"


class FolderGone(errors.NotFound):
    code = "providers.folder_gone"
