"""What an account may download in a day, and what is worth writing down. Pure: no clock.

    0 ───────────────────── backfill ─────────────────────┤ reserve ├ limit ─── what the provider allows
                      older mail comes, too                 new mail           (then it locks the account)

A provider's own limit is used up to `SHARE` only: other programs read the same mailbox. No provider tells
when its day ends, so all days end at midnight UTC.
"""

from collections.abc import Mapping
from typing import Any

from postroom.providers.known import by_address, by_host
from postroom.providers.spent import Cost

SHARE = 0.8  # of what a provider allows
RESERVE = 0.1  # of the limit: only for mail that has just come
WORTH = Cost(bytes=1 << 20, connections=20, logins=20)  # written down though nothing else is


def limit(settings: Mapping[str, Any], address: str) -> int | None:
    """Bytes a day, as the account's settings have it, else as its provider does; None: none."""
    if (own := settings.get("daily_bytes")) is not None:
        return int(own)
    host = settings.get("host")
    known = by_host(host) if host else by_address(address)
    return int(known.daily_bytes * SHARE) if known is not None and known.daily_bytes else None


def for_backfill(limit: int) -> int:
    """How much of the limit older mail may use."""
    return int(limit * (1 - RESERVE))


def fits(size: int, spent: int, cap: int) -> bool:
    """Whether a message may still be fetched under a cap. One that is larger than the cap may, early in the
    day: it would never come otherwise.
    """
    return spent + size <= cap or (size > cap and spent <= cap // 2)


def is_worth_writing(cost: Cost) -> bool:
    """Whether to write it down by itself, and not with the next mail that is stored."""
    many = cost.bytes >= WORTH.bytes or cost.connections >= WORTH.connections or cost.logins >= WORTH.logins
    return many or cost.is_news
