"""Everything that a server can say, as plain frozen values.

Folder names are bytes, exactly as the server wrote them. Keys and codes are upper case, flags keep
their spelling except the system's own (`\\Seen`), folder attributes are lower case.
A value that could not be read is None: unknown, which is never the same as empty.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any

from . import dates
from .framing import Spool
from .uids import UidSet

NOTHING: Mapping[str, Any] = MappingProxyType({})
MOST = (1 << 63) - 1  # modification sequences (RFC 7162, 7); everything else has fewer bits
LONGEST_ID = 255  # bytes (RFC 8474, 7)


@dataclass(frozen=True, slots=True)
class AppendUid:
    """APPENDUID (RFC 4315): where appended messages ended up."""

    validity: int
    uids: UidSet


@dataclass(frozen=True, slots=True)
class CopyUid:
    """COPYUID (RFC 4315): the first of `source` became the first of `destination`, and so on."""

    validity: int
    source: UidSet
    destination: UidSet

    def pairs(self) -> dict[int, int]:
        """Old UID to new; empty if the two sets do not fit each other, and then nothing is known."""
        if self.source.count != self.destination.count or self.source.count > 1_000_000:
            return {}
        return dict(zip(self.source, self.destination, strict=True))


CodeValue = int | str | bytes | UidSet | AppendUid | CopyUid | frozenset[str] | None


@dataclass(frozen=True, slots=True)
class Code:
    """A response code, such as UIDVALIDITY with an int, PERMANENTFLAGS or CAPABILITY with a frozenset of
    str, MODIFIED with a UidSet, APPENDUID, COPYUID; any other with its arguments as str, or None.
    """

    name: str
    value: CodeValue = None


@dataclass(frozen=True, slots=True)
class Status:
    """`OK`, `NO`, `BAD`, `BYE` or `PREAUTH`; with a tag it ends a command.

    A bare `* [CODE ...]` as Exchange sends it is an untagged OK.
    """

    tag: str | None
    kind: str
    code: Code | None
    text: str


@dataclass(frozen=True, slots=True)
class Continuation:
    """The server waits for the rest of what we began to send, or challenges."""

    text: bytes


@dataclass(frozen=True, slots=True)
class Capability:
    names: frozenset[str]


@dataclass(frozen=True, slots=True)
class Enabled:
    names: frozenset[str]


@dataclass(frozen=True, slots=True)
class Exists:
    count: int


@dataclass(frozen=True, slots=True)
class Recent:
    count: int


@dataclass(frozen=True, slots=True)
class Expunge:
    seq: int


@dataclass(frozen=True, slots=True)
class Vanished:
    """These are gone (RFC 7162). `earlier`: since the modseq that we named, not just now."""

    uids: UidSet
    earlier: bool


@dataclass(frozen=True, slots=True)
class Flags:
    flags: frozenset[str]


@dataclass(frozen=True, slots=True)
class Listed:
    """One folder of LIST or LSUB. `delimiter` is None in a flat store."""

    name: bytes
    delimiter: bytes | None
    attributes: frozenset[str]  # lower case, such as `\\noselect`, `\\sent`
    lsub: bool = False
    old_name: bytes | None = None  # RFC 9051, OLDNAME
    child_info: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class FolderStatus:
    """STATUS: keys such as `MESSAGES`, `UIDNEXT`, `UIDVALIDITY`, `HIGHESTMODSEQ`, `SIZE`, `MAILBOXID`."""

    name: bytes
    items: Mapping[str, int | str | None]


@dataclass(frozen=True, slots=True)
class Namespace:
    prefix: bytes
    delimiter: bytes | None


@dataclass(frozen=True, slots=True)
class Namespaces:
    personal: tuple[Namespace, ...]
    other: tuple[Namespace, ...]
    shared: tuple[Namespace, ...]


@dataclass(frozen=True, slots=True)
class ServerId:
    """ID (RFC 2971); keys in lower case. Said by a stranger: good for the quirks table and for showing."""

    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Search:
    numbers: tuple[int, ...]
    modseq: int | None = None


@dataclass(frozen=True, slots=True)
class ESearch:
    """ESEARCH (RFC 4731). `all` is None when the server left it out, which it does if nothing matches."""

    tag: str | None
    by_uid: bool
    all: UidSet | None = None
    count: int | None = None
    min: int | None = None
    max: int | None = None
    modseq: int | None = None


FetchValue = bytes | Spool | list[Any] | None


@dataclass(frozen=True, slots=True)
class Fetch:
    """What the server says of one message. What it did not say, or not readably, is None.

    `attributes` holds everything but UID, FLAGS and MODSEQ as it stood: `BODY[]`,
    `BODY[HEADER.FIELDS (LIST-ID)]`, `RFC822.SIZE`, `X-GM-LABELS`; keys in upper case, values bytes, a
    `Spool` for a large literal, nested lists of bytes for ENVELOPE and BODYSTRUCTURE.
    `defects` says what was unreadable beside it.
    """

    seq: int
    uid: int | None = None
    flags: frozenset[str] | None = None
    modseq: int | None = None
    attributes: Mapping[str, FetchValue] = field(default_factory=lambda: NOTHING)
    defects: tuple[str, ...] = ()

    @property
    def body(self) -> bytes | Spool | None:
        """The whole message, if it came."""
        value = self.attributes.get("BODY[]")
        return value if isinstance(value, bytes | Spool) else None

    @property
    def size(self) -> int | None:
        """RFC822.SIZE. A hint: the length of the literal is the truth."""
        return number(self.attributes.get("RFC822.SIZE"))

    @property
    def internal_date(self) -> datetime | None:
        raw = self.attributes.get("INTERNALDATE")
        return dates.read(raw) if isinstance(raw, bytes) else None

    @property
    def gmail_id(self) -> int | None:
        return number(self.attributes.get("X-GM-MSGID"))

    @property
    def gmail_thread(self) -> int | None:
        return number(self.attributes.get("X-GM-THRID"))

    @property
    def gmail_labels(self) -> tuple[bytes, ...] | None:
        """As the server wrote them, modified UTF-7 (see `names.decode`); None if it did not say."""
        if "X-GM-LABELS" not in self.attributes:
            return None
        value = self.attributes["X-GM-LABELS"]
        return tuple(label for label in value if isinstance(label, bytes)) if isinstance(value, list) else ()

    @property
    def email_id(self) -> str | None:
        """EMAILID (RFC 8474)."""
        return object_id(self.attributes.get("EMAILID"))

    @property
    def thread_id(self) -> str | None:
        """THREADID (RFC 8474); None also if the server has no thread for it."""
        return object_id(self.attributes.get("THREADID"))


@dataclass(frozen=True, slots=True)
class Other:
    """A well-formed untagged response that nobody here needs yet."""

    name: str
    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A response that could not be parsed. The stream itself is intact. `raw` is at most the first 4 KiB."""

    raw: bytes
    reason: str


Response = (
    Status
    | Continuation
    | Capability
    | Enabled
    | Exists
    | Recent
    | Expunge
    | Vanished
    | Flags
    | Listed
    | FolderStatus
    | Namespaces
    | ServerId
    | Search
    | ESearch
    | Fetch
    | Other
    | Unreadable
)


def number(value: object) -> int | None:
    """A non-negative number of at most 63 bits; None for `-1`, `9.3736e+06` and whatever else is sent."""
    if not (isinstance(value, bytes) and value.isdigit() and len(value) <= 19):
        return None
    return found if (found := int(value)) <= MOST else None


def object_id(value: object) -> str | None:
    """`(M6d99ac3275bb4e)` of RFC 8474; the parentheses are sometimes missing, or hold NIL."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not (isinstance(value, bytes) and 0 < len(value) <= LONGEST_ID) or b"\0" in value:
        return None
    return value.decode("utf-8", "replace")
