"""The hash that ties an entry to the one before it. Pure."""

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime

from .model import ChainBroken, Entry

ORIGIN = bytes(32)


def link(previous: bytes, seq: int, at: datetime, kind: str, body: str) -> bytes:
    """SHA-256 over the previous hash, number, time (UTC, microseconds), kind and stored text.

    Neither number, time nor kind can hold a newline, so no two entries share one text.
    """
    moment = at.astimezone(UTC).isoformat(timespec="microseconds")
    return hashlib.sha256(previous + f"{seq}\n{moment}\n{kind}\n{body}".encode()).digest()


def verify(entries: Iterable[Entry], previous: bytes = ORIGIN, after: int = 0) -> tuple[int, bytes]:
    """Check one stream's entries in order; return the last number and hash.

    Raises `ChainBroken`, naming the first entry that is altered, missing, inserted or out of place.
    """
    seq = after
    for entry in entries:
        if entry.seq != seq + 1:
            raise ChainBroken(
                f"Entry {seq + 1} of stream {entry.stream} is missing; {entry.seq} stands in its place.",
                stream=entry.stream,
                seq=seq + 1,
            )
        if link(previous, entry.seq, entry.at, entry.kind, entry.body) != entry.hash:
            raise ChainBroken(
                f"Entry {entry.seq} of stream {entry.stream} was altered.", stream=entry.stream, seq=entry.seq
            )
        seq, previous = entry.seq, entry.hash
    return seq, previous
