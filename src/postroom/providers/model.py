"""The port: what postroom asks of a mail provider, in words that belong to none of them.

    Provider (one a kind: imap, files, gmail ...; in the registry)
        check(login)  -> Report         can it be reached, and what would be copied
        open(login)   -> Mailbox        an authenticated conversation
                            folders()           every folder, with its status where that comes for free
                            ping(), rest()      does it still stand; leave what is open for a while
                            watch(folders)  -> Watching     be told of changes: Changed, Ended
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
│       ├── TooMany    fewer connections of this mailbox
│       └── Throttled  and said for how long: `wait` is its own number
├── NoConnection     we open none for now: there are as many as may be, or the host is in trouble
└── Incomplete       an answer contradicts itself; nothing may be inferred from it
NeedsOwner
├── WrongPassword    the credentials were refused; the message says exactly what the owner must do
│   └── Expired      and the server knows it for one that has run out
├── AppPassword      the provider wants an app password or OAuth instead
├── TokenRefused     the access token was refused; with a fresh one the same call may work
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

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
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


@dataclass(frozen=True, slots=True)
class Changed:
    """Something has changed in a folder; None: anywhere, folders may have come, gone or been renamed.

    `messages` is how many there are now, where the server said so by the way. A hint, like all of it.
    """

    folder: bytes | None = None
    messages: int | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """Nothing more will be told, because of `error`. The mailbox may still be usable, and watched again."""

    error: errors.PostroomError


Notice = Changed | Ended


class Means(StrEnum):
    """How a server tells."""

    NOTIFY = "notify"
    IDLE = "idle"


class Watching(Protocol):
    """What is being told, since `Mailbox.watch`. It costs no task, timer or thread."""

    @property
    def means(self) -> Means: ...

    @property
    def folders(self) -> frozenset[bytes] | None:
        """Whose changes are told; None: all folders, new ones included."""
        ...

    @property
    def statuses(self) -> Mapping[bytes, FolderStatus]:
        """How folders stood when it began: what happened since the last sync shows here, and is never told.

        What happened later is told. Empty from the first `renew` on.
        """
        ...

    @property
    def renew_within(self) -> timedelta:
        """After the beginning, and after each `renew`: later the server, or a middlebox, forgets us."""
        ...

    def looked(self) -> None:
        """Somebody begins to look: what was told may be told again. Before, equal notices come only once."""
        ...

    async def renew(self) -> None:
        """Prove that the server is still there, and have it go on. What comes meanwhile is told.

        Raises `TryLater` where it is not, or will not; the watch is over then, and no `Ended` tells so. It is
        over as well when this is interrupted, and the mailbox with it.
        """
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

    async def watch(self, folders: Sequence[RemoteFolder], told: Callable[[Notice], None]) -> Watching | None:
        """Be told of changes from now on, without a call under way; None where the server cannot tell.

        Of all folders, or of the first of these. `told` is called from the event loop, also before this
        returns; it must be quick, and may not raise. Any other call ends the watch first, in silence. A
        watch misses nothing if its `statuses` are compared with the last sync when it begins. Raises
        `TryLater`, `FolderGone`.
        """
        ...

    async def ping(self) -> None:
        """Raises `TryLater` where the server does not answer any more."""
        ...

    async def rest(self) -> bool:
        """Leave what is open, to be used again after a while; whether that can be."""
        ...


@dataclass(frozen=True, slots=True)
class Login:
    """How to reach a mailbox. `settings` are the provider's own words.

    `secret`, which never leaves memory, is a password, or an access token where the settings say so.
    """

    address: str
    settings: Mapping[str, Any]
    secret: str = field(repr=False, default="")
    spent: Spent = field(repr=False, compare=False, default_factory=Spent)  # where its cost is counted


BYTES_PER_SECOND = 10_000_000
MESSAGES_PER_SECOND = 500


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a first sync would copy."""

    folders: int
    messages: int
    bytes: int | None  # None: the server cannot tell without reading everything

    @property
    def seconds(self) -> float:
        """About how long that takes on a good line."""
        return max(self.messages / MESSAGES_PER_SECOND, (self.bytes or 0) / BYTES_PER_SECOND)


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


class TooMany(SentAway):
    """There are more connections of this mailbox than it wants."""


class NoConnection(errors.TryLater):
    """Nothing was opened, which says nothing of the account; `wait` tells how long to leave it."""

    code = "providers.no_connection"


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


class TokenRefused(errors.NeedsOwner):
    """It was revoked or has expired. Whoever can should refresh it, once, before the owner is asked."""

    code = "providers.token_refused"


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
