"""What talking to a mailbox costs: counted while it happens, written down by whoever writes anyway.

    conversation ──> Spent (one for each account in a process) ──take──> Cost ──> a row, in a transaction

Bytes are those that the server says in clear. Whether a provider counts them before or after it compresses
nobody tells, and to have counted too much costs a day, not the account.
"""

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

MOST_ALERTS = 10
MOST_ACCOUNTS = 20_000  # of which a process remembers what is not written yet


class Counted(Protocol):
    """A conversation, as far as it is counted."""

    @property
    def received(self) -> int: ...

    def take_alerts(self) -> list[str]:
        """Those since the last time, cleaned."""
        ...

    def take_slowed(self) -> bool:
        """Whether an answer was slow on purpose since the last time."""
        ...


@dataclass(frozen=True, slots=True)
class Cost:
    bytes: int = 0
    connections: int = 0
    logins: int = 0
    alerts: tuple[str, ...] = ()  # what the server wants its user to read
    is_news: bool = False  # something of that was not written down before
    is_slowed: bool = False  # it answers slowly on purpose

    def __bool__(self) -> bool:
        return self != NOTHING


NOTHING = Cost()


class Spent:
    """What one account costs in this process; all of it only grows. Small, as there may be thousands."""

    __slots__ = ("_alerts", "_ended", "_is_slowed", "_live", "_taken", "_told", "connections", "logins")

    def __init__(self) -> None:
        self.connections = self.logins = 0
        self._ended = 0  # bytes of conversations that are over
        self._live: list[Counted] = []
        self._alerts: tuple[str, ...] = ()
        self._told: tuple[str, ...] = ()  # some servers say the same at each login
        self._is_slowed = False
        self._taken = NOTHING

    @property
    def bytes(self) -> int:
        return self._ended + sum(one.received for one in self._live)

    @property
    def taken(self) -> int:
        """Bytes of what was taken."""
        return self._taken.bytes

    @contextmanager
    def counting(self, conversation: Counted) -> Iterator[None]:
        """Count what it costs, as long as the block runs."""
        self._live.append(conversation)
        try:
            yield
        finally:
            self._hear(conversation)
            self._live.remove(conversation)
            self._ended += conversation.received

    def pending(self) -> Cost:
        """What was not taken yet."""
        for conversation in self._live:
            self._hear(conversation)
        return Cost(
            self.bytes - self._taken.bytes,
            self.connections - self._taken.connections,
            self.logins - self._taken.logins,
            self._alerts,
            any(text not in self._told for text in self._alerts),
            self._is_slowed,
        )

    def take(self, cost: Cost) -> None:
        """This much, of what was `pending`, is written down."""
        before = self._taken
        self._taken = Cost(
            before.bytes + cost.bytes, before.connections + cost.connections, before.logins + cost.logins
        )
        self._alerts = tuple(text for text in self._alerts if text not in cost.alerts)
        self._told = tuple(dict.fromkeys((*self._told, *cost.alerts)))[-MOST_ALERTS:]
        self._is_slowed = self._is_slowed and not cost.is_slowed

    def _hear(self, conversation: Counted) -> None:
        if told := conversation.take_alerts():
            self._alerts = (*self._alerts, *told)[-MOST_ALERTS:]
        self._is_slowed = conversation.take_slowed() or self._is_slowed


class Ledger:
    """The accounts of a process, by any key; those that were not asked for longest are forgotten first."""

    def __init__(self) -> None:
        self._accounts: OrderedDict[object, Spent] = OrderedDict()

    def of(self, account: object) -> Spent:
        spent = self._accounts.setdefault(account, Spent())
        self._accounts.move_to_end(account)
        if len(self._accounts) > MOST_ACCOUNTS:
            self._accounts.popitem(last=False)
        return spent
