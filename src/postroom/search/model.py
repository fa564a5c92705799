"""The nouns of search: what is put in, what comes out, what can be wrong with a question."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from postroom.errors import Invalid
from postroom.ids import AccountId, MessageId

Position = tuple[datetime, MessageId]
"""Of a mail in the order of time."""


class BadQuery(Invalid):
    """The query holds something that only its writer can mend; `data` says where: `position`, `length`."""

    code = "search.bad_query"


class BadCursor(Invalid):
    """The cursor is not one that an earlier page of this query gave."""

    code = "search.bad_cursor"


@dataclass(frozen=True, slots=True)
class Searchable:
    """What of a mail can be found. Texts as the mail has them: decoded, not folded."""

    message: MessageId
    account: AccountId
    received_at: datetime
    subject: str
    sender: str
    """Name and address as one text, as are the recipients'."""
    to: str
    """To and Bcc."""
    cc: str
    body: str
    attachments: Sequence[str] = ()
    """A name, perhaps empty, for each."""
    list_id: str = ""
    message_id: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """A mail made ready for the index."""

    message: MessageId
    account: AccountId
    received_at: datetime
    vector: bytes
    """A tsvector in PostgreSQL's binary form."""
    truncated: bool
    """Whether the mail has words beyond those that were kept."""


@dataclass(frozen=True, slots=True)
class OfAccount:
    """How many matches are of an account."""

    id: UUID
    address: str
    count: int


@dataclass(frozen=True, slots=True)
class OfFolder:
    """How many matches lie in a folder."""

    id: UUID
    account: UUID
    path: str
    role: str | None
    count: int


@dataclass(frozen=True, slots=True)
class OfSender:
    """How many matches an address has sent; `name` is the one that it used last."""

    address: str
    name: str
    count: int


@dataclass(frozen=True, slots=True)
class OfMonth:
    """How many matches were received in a month of UTC, `2026-03`."""

    month: str
    count: int


@dataclass(frozen=True, slots=True)
class Facets:
    counted: int
    """Matches that were looked at, the newest ones."""
    is_exact: bool
    """False when there are more matches than that, so that each count may be too low."""
    accounts: Sequence[OfAccount] | None
    folders: Sequence[OfFolder] | None
    senders: Sequence[OfSender] | None
    months: Sequence[OfMonth] | None


@dataclass(frozen=True, slots=True)
class Hit:
    message: MessageId
    received_at: datetime
    score: float
    """Higher is better; 0 when the query has no words to rank by. Comparable within one search only."""


@dataclass(frozen=True, slots=True)
class Results:
    total: int
    total_is_exact: bool
    """False when there are more than `total`, or may be: nobody has looked further yet."""
    hits: tuple[Hit, ...]
    next: str | None
    """The cursor of the next page, None at the end. Only that says so: a page can be short, or empty."""
    terms: tuple[str, ...]
    """What to highlight; see `highlight`."""
