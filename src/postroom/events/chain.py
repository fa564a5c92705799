"""The hash that ties an entry to the one before it. Pure.

    origin ─▶ 1 ─▶ 2 ─▶ 3 ...     each hash = SHA-256(hash before, seq, position, time, kind, body)

The origin holds tenant and stream, so that no chain fits in another's place. `check` says the same once more,
in a file that needs nothing else.
"""

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime

from postroom.ids import TenantId

from .model import ChainBroken, Entry, Stream


def origin(tenant: TenantId, stream: Stream) -> bytes:
    """What the first entry of a stream follows from."""
    return hashlib.sha256(f"postroom log\n{tenant}\n{stream}".encode()).digest()


def moment(at: datetime) -> str:
    """A time as it is hashed: UTC, to the microsecond."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def link(previous: bytes, seq: int, position: int, at: str, kind: str, body: str) -> bytes:
    """An entry's hash; `at` is its `moment`.

    Only the body can hold a newline, so no two entries share one text.
    """
    return hashlib.sha256(previous + f"{seq}\n{position}\n{at}\n{kind}\n{body}".encode()).digest()


def verify(entries: Iterable[Entry], previous: bytes | None = None, after: int = 0) -> tuple[int, bytes]:
    """Check one stream's entries in order, from the first, or from where `previous` and `after` stand.

    Returns the last number and hash. Raises `ChainBroken`, naming the first entry that is altered, missing,
    inserted or out of place.
    """
    seq = after
    for entry in entries:
        if entry.seq != seq + 1:
            raise ChainBroken(
                f"Entry {seq + 1} of stream {entry.stream} is missing; {entry.seq} stands in its place.",
                stream=entry.stream,
                seq=seq + 1,
            )
        before = origin(entry.tenant, entry.stream) if previous is None else previous
        if link(before, entry.seq, entry.position, moment(entry.at), entry.kind, entry.body) != entry.hash:
            raise ChainBroken(
                f"Entry {entry.seq} of stream {entry.stream} was altered.", stream=entry.stream, seq=entry.seq
            )
        seq, previous = entry.seq, entry.hash
    return seq, previous or b""
