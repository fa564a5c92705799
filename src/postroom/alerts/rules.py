"""Which events are alerts, which end them, what is told together, and when a message is tried again. Pure.

begins                                      ends
accounts.stale, accounts.reauth_required    accounts.recovered, accounts.removed
events.seal_refused                         events.seal_resumed
jobs.failed                                 the job was requeued, or is gone
sync.watch_lapsed                           sync.watch_resumed, accounts.removed
webhooks.failing                            webhooks.recovered, webhooks.disabled, webhooks.removed
"""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from enum import Enum, auto
from uuid import UUID

from .model import Amount, Begins, Change, Ends, Entry

JOB_FAILED = "jobs.failed"
BEGINS: Mapping[str, str] = {
    "accounts.stale": "account",
    "accounts.reauth_required": "account",
    "events.seal_refused": "tenant",
    JOB_FAILED: "job",
    "sync.watch_lapsed": "account",
    "webhooks.failing": "webhook",
}
"""Kinds of events that begin an alert of the same kind, and the field that says what it is about."""

ENDS: Mapping[str, tuple[str, frozenset[str] | None]] = {
    "accounts.recovered": ("account", frozenset({"accounts.stale", "accounts.reauth_required"})),
    "accounts.removed": ("account", None),
    "events.seal_resumed": ("tenant", frozenset({"events.seal_refused"})),
    "sync.watch_resumed": ("account", frozenset({"sync.watch_lapsed"})),
    "webhooks.recovered": ("webhook", frozenset({"webhooks.failing"})),
    "webhooks.disabled": ("webhook", frozenset({"webhooks.failing"})),
    "webhooks.removed": ("webhook", None),
}
"""Kinds that end alerts: the field, and the kinds of these alerts; None: all that are about it."""

WANTED = sorted(BEGINS.keys() | ENDS.keys())
FIRST, LONGEST = timedelta(seconds=10), timedelta(hours=1)
FEW, SPAN = 20, timedelta(minutes=10)
"""So many messages are told one by one in such a time. What is more is told together, once in it at most."""
AWAY = timedelta(days=1)
"""How long no process may have named a channel before nothing waits for it: a restart takes less."""


def changes(entry: Entry) -> Iterator[Change]:
    """What an entry of the log changes. One of another kind, or another shape, changes nothing."""
    field, kinds = ENDS.get(entry.kind, (BEGINS.get(entry.kind), None))
    if field is None or field not in entry.data:
        return
    subject = UUID(entry.data[field])
    if entry.kind in ENDS:
        yield Ends(kinds, subject, entry.at)
    else:
        yield Begins(entry.kind, subject, entry.data.get("code"), entry.at, entry.stream)


class Manner(Enum):
    SINGLY = auto()
    TOGETHER = auto()
    LATER = auto()


def manner(amount: Amount, *, is_unsaid: bool) -> Manner:
    """How to tell what waits. `is_unsaid`: what was put together before is still to be taken."""
    if amount.waiting + amount.said <= FEW:
        return Manner.SINGLY
    if amount.is_together or is_unsaid or not amount.waiting:
        return Manner.LATER
    return Manner.TOGETHER


def again_after(attempts: int) -> timedelta:
    """How long to wait after so many tries in vain, at least one."""
    return min(FIRST * (1 << min(attempts - 1, 20)), LONGEST)
