"""What a sync knows, does and reports."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from postroom import errors
from postroom.accounts.model import NOT_THROTTLED, Account, Throttle
from postroom.ids import AccountId, FolderId
from postroom.providers.model import FolderStatus
from postroom.providers.target import Target

# Why a message is parked.
TOO_LARGE = "sync.too_large"
SUSPECT = "sync.suspect"  # one of those that were asked for when the connection broke
BREAKS = "sync.breaks_connection"
NOT_READABLE = "sync.not_readable"
NOT_STORABLE = "sync.not_storable"
ASKED = 10  # the priority of what somebody waits for
HELD_BACK = "sync.held_back"  # why some mail of a folder is left to another day
FOLDER_PARKED = "sync.folder_parked"  # why a folder is skipped


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far the copy of a folder goes.

    Every message below `uid_next` that the server had is stored or parked, and as of `modseq` its flags are
    equal. Moves only in the transaction that stores the last of what it covers. A copy that has only begun
    covers nothing, but says under which validity its numbers were given.
    """

    validity: int
    uid_next: int
    modseq: int | None
    messages: int

    @classmethod
    def of(cls, status: FolderStatus, listed: Sequence[int]) -> "Cursor | None":
        """Where a copy equal to `status` and this listing stands; None if the server gives it no validity.

        UIDNEXT is missing from some servers, and too low on others.
        """
        if not status.validity or status.messages is None:
            return None
        uid_next = max(status.uid_next or 1, listed[-1] + 1 if listed else 1)
        return cls(status.validity, uid_next, status.modseq, status.messages)

    @classmethod
    def begun(cls, validity: int, had: int = 0) -> "Cursor":
        """A copy that has to be made, or made anew of a folder that `had` so many messages."""
        return cls(validity, 0, None, had)

    @property
    def is_begun(self) -> bool:
        """Whether the copy has not been finished yet."""
        return self.uid_next == 0

    @property
    def is_first(self) -> bool:
        """Whether the copy has not been finished yet, and is the first of this folder."""
        return self.is_begun and not self.messages

    def status(self) -> FolderStatus:
        return FolderStatus(self.messages, self.validity, self.uid_next, self.modseq)


@dataclass(frozen=True, slots=True)
class Parked:
    """A message that could not be copied and waits, so that the rest goes on; or, under uid 0, a folder."""

    folder_id: FolderId
    uid: int
    validity: int
    code: str
    reason: str
    attempts: int
    retry_at: datetime
    is_due: bool  # the wait is over
    digest: bytes | None
    is_parked: bool  # not merely suspected, nor a folder that has failed only once or twice


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a message is set aside, and what is known of it; the last three where its bytes are kept."""

    validity: int
    code: str
    reason: str
    size: int | None = None
    digest: bytes | None = None
    flags: frozenset[str] | None = None
    received_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Released:
    """A message that waits no more: it was stored, or is gone."""

    uid: int
    was_parked: bool
    digest: bytes | None


@dataclass(frozen=True, slots=True)
class Skipped:
    """A folder that could not be read through this time, and why."""

    path: str
    code: str
    message: str


@dataclass(slots=True)
class Stored:
    """What one transaction changes."""

    done: int = 0  # messages stored, or parked
    added: int = 0
    moved: int = 0
    removed: int = 0
    flags_changed: int = 0
    parked: int = 0
    bytes: int = 0  # of what was added

    @property
    def found(self) -> int:
        """Whatever is not as it was."""
        return self.added + self.moved + self.removed + self.flags_changed + self.parked


@dataclass(slots=True)
class Counts:
    """What a sync has done so far; all of it only grows."""

    total: int = 0  # messages to copy, as far as known
    done: int = 0  # of them stored, or parked
    bytes: int = 0  # of messages fetched
    added: int = 0
    moved: int = 0
    removed: int = 0
    flags_changed: int = 0
    parked: int = 0
    folders: int = 0
    unplaced: int = 0  # messages that lie nowhere, and may yet be found
    skipped: list[Skipped] = field(default_factory=list)
    throttle: Throttle = NOT_THROTTLED  # why some mail waits for another day

    def add(self, stored: Stored) -> None:
        self.done += stored.done
        self.added += stored.added
        self.moved += stored.moved
        self.removed += stored.removed
        self.flags_changed += stored.flags_changed
        self.parked += stored.parked


class IsPaused(errors.Conflict):
    """A paused account is not synced: the pause is its owner's."""

    code = "sync.account_paused"


class Outdated(errors.TryLater):
    """The account got other credentials meanwhile; what came of the old ones says nothing of it."""

    code = "sync.outdated"


def target(account: Account) -> Target:
    """What a connection of the account is opened to."""
    settings = account.settings
    host, most = settings.get("host"), settings.get("connections")
    return Target(account.tenant_id, account.id, str(host or ""), account.credentials_version, most)


def key(account: AccountId) -> str:
    """Names who changes an account's copy: of the jobs with this key one runs, of the leases one is held."""
    return f"sync.account:{account}"
