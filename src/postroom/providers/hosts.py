"""Decide whether a host may be given another connection. Pure: no clock, no dice, no socket.

answers quickly        as many as anybody likes (the ceilings over all processes are in `slots`)
is slow to let us in   a share: so many that others' work goes on, however many wait for this one
came to nothing,       the same share, and after each such end none for a while, twice as long each time
again and again        at most, and anything between that and nothing (full jitter)

What ends that is a completed use, and nothing less: a server that lets everybody in and then throws them
out looks well for a moment each time. Those that were open together and break together count once. All this
is what one process has seen; none of it is stored.

Watchers stand by the thousand, and are opened by the hundred at once: they are not counted, and say nothing
of how slow a host is. But they rest as all others do.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import timedelta

from .model import NoConnection

SLOW = 3.0  # seconds for connection and login, which take ten round trips
TOLERATED = 3  # uses in a row that came to nothing
FIRST, LONGEST = 1.0, 120.0  # seconds that the first pause lasts at most, and any
AGAIN = 1.0, 0.05, 60.0  # seconds for whoever is turned away; for each who was before it; at most
MOST = 1000  # hosts that are remembered


@dataclass(slots=True)
class Host:
    opening: dict[int, float] = field(default_factory=dict)  # since when
    using: int = 0  # with those
    is_slow: bool = False
    ended_badly: int = 0  # in a row
    ended_at: float = 0.0  # when the last of those did
    rests_until: float = 0.0
    turned_away: int = 0


class Hosts:
    """`share`: how many connections a host in trouble may have at a time; 0: nobody is turned away."""

    def __init__(self, share: int = 0) -> None:
        self._share = share
        self._hosts: OrderedDict[str, Host] = OrderedDict()
        self._last = 0

    def check(self, name: str, now: float) -> None:
        """Raises `NoConnection` where it may have no other one now."""
        host = self._hosts.get(name)
        if host is None or not self._share:
            return
        if now < host.rests_until:
            raise self.turned_away(name, "Conversations with it come to nothing.")
        if host.using >= self._share and self._is_troubled(host, now):
            raise self.turned_away(name, "It is slow, or conversations with it come to nothing.")

    def turned_away(self, name: str, why: str) -> NoConnection:
        """What to tell whoever gets none: the more there are, the later they come back."""
        host = self._host(name)
        least, each, most = AGAIN
        wait = min(most, least + each * host.turned_away)
        host.turned_away += 1
        return NoConnection(f"No connection to {name} for now. {why}", wait=timedelta(seconds=wait))

    def begin(self, name: str) -> None:
        host = self._host(name)
        host.using += 1
        host.turned_away = max(0, host.turned_away - 1)

    def opens(self, name: str, now: float) -> tuple[int, float | None]:
        """It is being opened: a number for that, and how many seconds it may take, as a host that may be
        slow should not keep more than its share waiting meanwhile.
        """
        host = self._host(name)
        self._last += 1
        is_over = self._share and len(host.opening) >= self._share
        host.opening[self._last] = now
        return self._last, SLOW if is_over else None

    def opened(self, name: str, number: int, now: float) -> None:
        host = self._host(name)
        host.is_slow = now - host.opening.pop(number, now) > SLOW

    def end(self, name: str) -> None:
        self._host(name).using -= 1

    def learn(self, name: str, began: float, now: float, *, went: bool, roll: float) -> None:
        """What became of one that began then: it went well, or badly. `roll`: from 0 to 1."""
        host = self._host(name)
        if went:
            host.ended_badly, host.rests_until = 0, 0.0
        elif began >= host.ended_at:
            host.ended_badly += 1
            host.ended_at = now
            if host.ended_badly >= TOLERATED:
                doubled = FIRST * (1 << min(host.ended_badly - TOLERATED, 20))
                host.rests_until = now + roll * min(doubled, LONGEST)

    def _is_troubled(self, host: Host, now: float) -> bool:
        pending = any(now - since > SLOW for since in host.opening.values())
        return host.is_slow or pending or host.ended_badly >= TOLERATED

    def _host(self, name: str) -> Host:
        host = self._hosts.setdefault(name, Host())
        self._hosts.move_to_end(name)
        if len(self._hosts) > MOST:
            idle = next((other for other, known in self._hosts.items() if not known.using), None)
            if idle is not None and idle != name:
                del self._hosts[idle]
        return host
