"""Names for things: small integers inside, UUIDv7 in public.

Integers keep indexes and joins small; the public id says nothing about how many things there are, and
sorts by the time of its making (RFC 9562, 5.7).
"""

import os
import time
from typing import NewType
from uuid import UUID

TenantId = NewType("TenantId", int)
AccountId = NewType("AccountId", int)
FolderId = NewType("FolderId", int)
MessageId = NewType("MessageId", int)
ThreadId = NewType("ThreadId", int)


def new_public_id(milliseconds: int | None = None) -> UUID:
    """A UUIDv7 of now, or of the given Unix time in milliseconds."""
    now = time.time_ns() // 1_000_000 if milliseconds is None else milliseconds
    random = int.from_bytes(os.urandom(10), "big")
    value = (now & (1 << 48) - 1) << 80 | 0x7 << 76 | (random >> 64 & 0xFFF) << 64
    return UUID(int=value | 0b10 << 62 | random & (1 << 62) - 1)
