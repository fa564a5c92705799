"""How often a key or a person may ask: a bucket of requests for each, which fills up again all the time.

It holds a minute's worth, so that is what may come at once; then requests come through as fast as it fills.
Whoever finds it empty is told when the next one will be let through. How it stands is told with every answer
to a key (draft-ietf-httpapi-ratelimit-headers-10):

    RateLimit-Policy: "key";q=6000;w=60      6,000 requests in 60 seconds
    RateLimit: "key";r=5990;t=1              5,990 are left; it is full again in a second

Each process counts for itself, so of several behind one address each lets as many through. To count together
would take a row that is locked and written with every request: several times what most of them cost, for a
bound that is there to keep a client that runs wild from the others. What a tenant takes from the others is
bounded by `db.places` beside it.
"""

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from datetime import timedelta
from math import ceil

from starlette.requests import HTTPConnection
from starlette.types import Scope

from postroom.errors import TooOften

WINDOW = 60.0
"""Seconds."""
MANY = 10_000
"""Buckets that are kept before those that are full are looked for; a full one and none are the same."""


class TooManyRequests(TooOften):
    code = "http.too_many_requests"


@dataclass(frozen=True, slots=True)
class Standing:
    """How a bucket stands after a request."""

    quota: int
    left: int
    full_in: float
    wait: float  # until the request would be let through; 0 for one that was

    @property
    def headers(self) -> dict[str, str]:
        return {
            "RateLimit-Policy": f'"key";q={self.quota};w={WINDOW:.0f}',
            "RateLimit": f'"key";r={self.left};t={ceil(self.full_in)}',
        }


class Rates:
    """The buckets of this process. A quota of 0 is none: everything is let through and nothing told."""

    def __init__(self, quota: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._quota, self._clock = quota, clock
        self._full_at: dict[Hashable, float] = {}
        self._most = MANY

    def take(self, whose: Hashable) -> Standing:
        """One request of a bucket, if there is one in it."""
        now, each = self._clock(), WINDOW / self._quota
        full_at = max(self._full_at.get(whose, now), now) + each
        wait = full_at - now - WINDOW
        if wait > each * 1e-6:  # more than what rounding can make
            return Standing(self._quota, 0, full_at - each - now, wait)
        if len(self._full_at) >= self._most:
            self._full_at = {key: at for key, at in self._full_at.items() if at > now}
            self._most = max(MANY, 2 * len(self._full_at))  # else each request would look through them all
        self._full_at[whose] = full_at
        return Standing(self._quota, int(-wait / each + 1e-6), full_at - now, 0)

    def count(self, connection: HTTPConnection, whose: Hashable) -> None:
        """One request of this connection; its answer tells how things stand. Raises `TooManyRequests`."""
        if not self._quota:
            return
        connection.state.rate = standing = self.take(whose)
        if standing.wait:
            raise TooManyRequests(
                f"A key, or a person, may ask {self._quota:,} times a minute; ask again a little later.",
                wait=timedelta(seconds=standing.wait),
            )


def told(scope: Scope) -> dict[str, str]:
    """The headers that tell how the caller's bucket stands, if this request has a caller."""
    standing: Standing | None = scope.get("state", {}).get("rate")
    return {} if standing is None else standing.headers
