"""What is parked, and in plain words why. Pure.

A message waits by itself so that its folder goes on, a folder so that its account goes on; an account whose
syncs fail waits by its own state, and is listed beside them. Each is tried again when its time has come, or
when somebody asks for it.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from postroom import errors
from postroom.ids import AccountId

from .model import BREAKS, NOT_READABLE, NOT_STORABLE, TOO_LARGE


class Kind(StrEnum):
    """In the order of lists: what holds up most comes first."""

    ACCOUNT = "account"
    FOLDER = "folder"
    MESSAGE = "message"


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that waits. An account is listed under its own id."""

    kind: Kind
    number: int  # orders the entries of a kind
    id: UUID
    account_number: AccountId
    account: UUID
    address: str
    folder: UUID | None
    path: str | None
    uid: int | None
    code: str
    reason: str
    attempts: int
    since: datetime
    last_at: datetime
    retry_at: datetime | None  # None: not by itself
    size: int | None  # bytes, where the server said so
    digest: bytes | None  # of its raw bytes, where they are kept


class NoSuchParked(errors.NotFound):
    code = "sync.parked_not_found"


class NothingKept(errors.NotFound):
    """The server never handed the message out, so there are no bytes of it."""

    code = "sync.nothing_kept"


ADVICE = {
    TOO_LARGE: "It stays on the server; connect the account with a higher limit, or none, to copy it.",
    BREAKS: "The mistake is the server's; other mail is not held up by it.",
    NOT_READABLE: "Its bytes are kept; a later version may be able to read them: `postroom reread`.",
    NOT_STORABLE: "Its bytes are kept; a later version may be able to store it: `postroom reread`.",
    "providers.unfetchable": "The server lists it and does not hand it out; a mail program may show why.",
}
BY_KIND = {
    Kind.ACCOUNT: "No mail of this account arrives until a sync succeeds.",
    Kind.FOLDER: "Other folders go on; what was copied of this one stays.",
    Kind.MESSAGE: "It is tried again by itself, after ever longer waits.",
}


def advice(entry: Entry) -> str:
    """What it means for who reads this, and what they can do."""
    if entry.kind is Kind.ACCOUNT and entry.retry_at is None:
        return "It waits for its owner: connect it again with the right password, or retry it."
    return ADVICE.get(entry.code, BY_KIND[entry.kind])
