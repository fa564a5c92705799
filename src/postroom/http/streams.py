"""Answers that go on: how many there are, who ends them, and what they tell whom, and when.

    source ─ next() ─▶ Telling ─▶ client       a heartbeat whenever nothing was said for a while

A stream ends with its source; when its client goes, or takes nothing for `PATIENCE`; when its key is good no
more; and when the application stops. Whoever wants more comes again with the last id that it saw, so nothing
is kept for those who are slow.

What a stream waits for has no timer of its own: one for all of them, four times a second, looks whose time is
over. An event that is told to hundreds sets no timers then, which took a fifth of its time.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from enum import Enum, auto
from math import inf
from types import TracebackType
from typing import Protocol, TypeVar

from postroom import telemetry
from postroom.errors import PostroomError, TryLater
from postroom.http.caller import Caller
from postroom.ids import TenantId

HEARTBEAT = timedelta(seconds=15)
PATIENCE = timedelta(seconds=10)
"""How long a client may take nothing while something waits for it."""
CHECK, RECALLED = timedelta(seconds=3), timedelta(seconds=1.5)
"""How often it is asked whether a key is still good, and how old an answer may be: 5 seconds in all."""
TICK = timedelta(seconds=0.25)
MOST, MOST_OF_ONE, MOST_OF_NOBODY = 5000, 1000, 200
"""Open streams of a process, of one tenant in it, and of those who have not said yet who they are."""

log = telemetry.logger()

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class TooManyStreams(TryLater):
    code = "http.too_many_streams"


class Slow(Exception):
    """The client does not read."""


class Gone(Exception):
    """The client has left."""


class Over(Enum):
    """Why a stream has ended, though its client is there and reads."""

    ENDED = auto()  # its source has nothing more to say, or cannot say it now
    UNWELCOME = auto()  # its key is good no more
    STOPPING = auto()  # the application stops


class Source(Protocol[T_co]):
    """Where what a stream tells comes from."""

    async def next(self) -> Sequence[T_co] | None:
        """What is to be told next, once there is any; None at the end.

        It may be cancelled at any moment and called again: what it did not return comes then.
        """

    def close(self) -> None:
        """It is not needed any more."""


class Streams:
    """The streams that are open in this process, so that they can be counted, timed and ended."""

    def __init__(self, most: int = MOST, most_of_one: int = MOST_OF_ONE) -> None:
        self._most, self._most_of_one = most, most_of_one
        self._open: set[Waits] = set()
        self._of: Counter[TenantId | None] = Counter()
        self._known: dict[str, tuple[float, Caller | None]] = {}
        self._is_ending = self._is_ticking = False

    def end(self) -> None:
        """End all of them now, and those that come later at once. At shutdown."""
        self._is_ending = True
        for waits in self._open:
            waits.end()

    @property
    def count(self) -> int:
        return len(self._open)

    def make_room(self, tenant: TenantId | None) -> None:
        """Raises `TooManyStreams`."""
        most = MOST_OF_NOBODY if tenant is None else self._most_of_one
        if self._is_ending or len(self._open) >= self._most or self._of[tenant] >= most:
            raise TooManyStreams("Too many streams are open.", wait=timedelta(seconds=5))

    @contextmanager
    def entered(self, tenant: TenantId | None) -> Iterator["Waits"]:
        """Count a stream, of nobody yet where that is not known. Raises `TooManyStreams`."""
        self.make_room(tenant)
        waits = Waits()
        self._open.add(waits)
        self._of[tenant] += 1
        telemetry.HTTP_STREAMS.inc()
        if not self._is_ticking:
            self._tick()
        try:
            yield waits
        finally:
            telemetry.HTTP_STREAMS.dec()
            self._open.discard(waits)
            self._of[tenant] -= 1
            if not self._of[tenant]:
                del self._of[tenant]

    async def recalled(self, key: str, find: Callable[[str], Awaitable[Caller | None]]) -> Caller | None:
        """Whose key this is, or was a moment ago: many streams may share one, and one question."""
        now = asyncio.get_running_loop().time()
        while self._known and now - next(iter(self._known.values()))[0] > RECALLED.total_seconds():
            del self._known[next(iter(self._known))]
        known = self._known.get(key)
        # One that was slow to come stands behind younger ones, though it is as old as its question.
        if known is None or now - known[0] > RECALLED.total_seconds():
            self._known.pop(key, None)
            known = self._known[key] = now, await find(key)
        return known[1]

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        self._is_ticking = bool(self._open)
        if self._is_ticking:
            for waits in self._open:
                waits.look(loop.time())
            loop.call_later(TICK.total_seconds(), self._tick)


class Waits:
    """What one stream waits for, one thing at a time, each with an end that comes at most a tick late.

    async with waits.until(time):    raises TimeoutError at that time, and `Stopping` when all shall end
        ...
    """

    def __init__(self) -> None:
        self._limit: asyncio.Timeout | None = None
        self._at = inf
        self.is_stopping = False

    def until(self, at: float) -> "Waits":
        self._at = at
        return self

    async def __aenter__(self) -> None:
        if self.is_stopping:
            raise Stopping
        self._limit = asyncio.timeout(None)
        await self._limit.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        limit, self._limit = self._limit, None
        assert limit is not None
        try:
            await limit.__aexit__(kind, error, trace)
        except TimeoutError as timeout:
            if self.is_stopping and limit.expired():
                raise Stopping from timeout
            raise

    def look(self, now: float) -> None:
        """Cut off what has waited for too long."""
        if self._at <= now:
            self._cut(now)

    def end(self) -> None:
        self.is_stopping = True
        self._cut(asyncio.get_running_loop().time())

    def _cut(self, now: float) -> None:
        if self._limit is not None and self._limit.when() is None:
            self._limit.reschedule(now)


class Stopping(Exception):
    """The application stops."""


class Telling:
    """Tells what a source says to one client, until one of them has had enough.

    `give` sends, and waits while the client takes nothing; `beat` makes a heartbeat; `is_welcome` asks
    whether the key is still good.
    """

    def __init__(
        self,
        is_welcome: Callable[[], Awaitable[bool]],
        *,
        heartbeat: timedelta = HEARTBEAT,
        patience: timedelta = PATIENCE,
        check: timedelta = CHECK,
    ) -> None:
        self._is_welcome = is_welcome
        self._beat, self._check = heartbeat.total_seconds(), check.total_seconds()
        self._patience = patience.total_seconds()

    async def tell(
        self,
        source: Source[T],
        waits: Waits,
        give: Callable[[Sequence[T]], Awaitable[None]],
        beat: Callable[[], T],
    ) -> Over:
        """Raises `Slow`, and what `give` raises."""
        try:
            return await self._tell(source, waits, give, beat)
        except Stopping:
            return Over.STOPPING
        except PostroomError as error:
            log.info("http.stream_ended", code=error.code)
            return Over.ENDED

    async def _tell(
        self,
        source: Source[T],
        waits: Waits,
        give: Callable[[Sequence[T]], Awaitable[None]],
        beat: Callable[[], T],
    ) -> Over:
        now = asyncio.get_running_loop().time
        beat_at, check_at = now() + self._beat, now() + self._check
        while True:
            said: Sequence[T] | None = ()
            try:
                async with waits.until(min(beat_at, check_at)):
                    said = await source.next()
            except TimeoutError:
                if now() < min(beat_at, check_at):
                    raise
            if said is None:
                return Over.ENDED
            if now() >= check_at:
                if not await self._is_welcome():
                    return Over.UNWELCOME
                check_at = now() + self._check
            if not said and now() >= beat_at:
                said = [beat()]
            if said:
                await self.give(waits, give, said)
                beat_at = now() + self._beat

    async def give(self, waits: Waits, give: Callable[[T], Awaitable[None]], what: T) -> None:
        """Raises `Slow` when the client takes nothing."""
        until = asyncio.get_running_loop().time() + self._patience
        try:
            async with waits.until(until):
                await give(what)
        except TimeoutError as error:
            if asyncio.get_running_loop().time() < until:
                raise
            log.warning("http.slow_reader", seconds=self._patience)
            raise Slow from error
