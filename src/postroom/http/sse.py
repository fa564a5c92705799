"""Server-sent events (HTML, 9.2): how one is written, and an answer that is made of them.

    source ─ next() ─▶ EventStream ─▶ client       a heartbeat whenever nothing was said for a while

A stream ends with its source; when its client goes, or takes nothing for `PATIENCE`; when its key is good no
more; and when the application stops. Whoever wants more comes again with the last id that it saw, so nothing
is kept for those who are slow.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import orjson
from fastapi.sse import EventSourceResponse, format_sse_event
from starlette.types import Receive, Scope, Send

from postroom import telemetry
from postroom.db.beside import beside
from postroom.errors import PostroomError, TryLater
from postroom.http import problems
from postroom.http.caller import Caller
from postroom.ids import TenantId

HEARTBEAT = timedelta(seconds=15)
PATIENCE = timedelta(seconds=10)
"""How long a client may take nothing while something waits for it."""
CHECK, RECALLED = timedelta(seconds=3), timedelta(seconds=1.5)
"""How often it is asked whether a key is still good, and how old an answer may be: 5 seconds in all."""
MOST, MOST_OF_ONE = 5000, 1000
"""Open streams of a process, and of one tenant in it."""

log = telemetry.logger()


class TooManyStreams(TryLater):
    code = "http.too_many_streams"


class Slow(Exception):
    """The client does not read."""


class Gone(Exception):
    """The client has left."""


def frame(event: str, data: Any, id: str | None = None) -> bytes:
    """One event as it travels; `data` is anything that JSON can hold."""
    text = orjson.dumps(data, default=str, option=orjson.OPT_UTC_Z).decode()
    return format_sse_event(data_str=text, event=event, id=id)


class Source(Protocol):
    """Where the events of a stream come from."""

    async def next(self) -> Sequence[bytes] | None:
        """The next frames, once there are any; None at the end.

        It may be cancelled at any moment and called again: what it did not return comes then.
        """

    def close(self) -> None:
        """It is not needed any more."""


class Streams:
    """The streams that are open in this process, so that they can be counted and ended."""

    def __init__(self, most: int = MOST, most_of_one: int = MOST_OF_ONE) -> None:
        self._most, self._most_of_one = most, most_of_one
        self._limits: set[asyncio.Timeout] = set()
        self._of: Counter[TenantId] = Counter()
        self._known: dict[str, tuple[float, Caller | None]] = {}
        self._is_ending = False

    def end(self) -> None:
        """End all of them now, and those that come later at once. At shutdown."""
        if self._is_ending:
            return
        self._is_ending = True
        for limit in self._limits:
            limit.reschedule(asyncio.get_running_loop().time())

    @property
    def count(self) -> int:
        return len(self._limits)

    def make_room(self, tenant: TenantId) -> None:
        """Raises `TooManyStreams`."""
        if self._is_ending or len(self._limits) >= self._most or self._of[tenant] >= self._most_of_one:
            raise TooManyStreams("Too many streams are open.", wait=timedelta(seconds=5))

    @contextmanager
    def entered(self, tenant: TenantId, limit: asyncio.Timeout) -> Iterator[None]:
        """Count a stream, which ends when its `limit` does. Raises `TooManyStreams`."""
        self.make_room(tenant)
        self._limits.add(limit)
        self._of[tenant] += 1
        telemetry.HTTP_STREAMS.inc()
        try:
            yield
        finally:
            telemetry.HTTP_STREAMS.dec()
            self._limits.discard(limit)
            self._of[tenant] -= 1
            if not self._of[tenant]:
                del self._of[tenant]

    async def recalled(self, key: str, find: Callable[[str], Awaitable[Caller | None]]) -> Caller | None:
        """Whose key this is, or was a moment ago: many streams may share one, and one question."""
        now = asyncio.get_running_loop().time()
        while self._known and now - next(iter(self._known.values()))[0] > RECALLED.total_seconds():
            del self._known[next(iter(self._known))]
        if key not in self._known:
            caller = await find(key)
            self._known.setdefault(key, (now, caller))
        return self._known[key][1]


class EventStream(EventSourceResponse):
    """An answer that goes on for as long as its source has something to say."""

    def __init__(
        self,
        source: Source,
        *,
        streams: Streams,
        tenant: TenantId,
        is_welcome: Callable[[], Awaitable[bool]],
        heartbeat: timedelta = HEARTBEAT,
        patience: timedelta = PATIENCE,
        check: timedelta = CHECK,
    ) -> None:
        super().__init__((), headers={"X-Accel-Buffering": "no"})  # nginx would keep events back
        self._source, self._streams, self._tenant = source, streams, tenant
        self._is_welcome = is_welcome
        self._heartbeat, self._patience, self._check = heartbeat, patience, check

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self._streams.make_room(self._tenant)
        except TooManyStreams as error:
            await problems.of(error, problems.request_id(scope))(scope, receive, send)
            return
        try:
            async with beside(_until_gone(receive)):
                await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                await self._until_over(send)
                await self._give(send, b"", is_more=False)
        except Slow:
            log.warning("http.slow_reader", seconds=self._patience.total_seconds())
        except Gone:
            pass
        finally:
            self._source.close()

    async def _until_over(self, send: Send) -> None:
        with suppress(TimeoutError, TooManyStreams):
            async with asyncio.timeout(None) as limit:
                with self._streams.entered(self._tenant, limit):
                    try:
                        await self._tell(send)
                    except PostroomError as error:
                        log.info("http.stream_ended", code=error.code)

    async def _tell(self, send: Send) -> None:
        now = asyncio.get_running_loop().time
        beat, check = self._heartbeat.total_seconds(), self._check.total_seconds()
        beat_at, check_at = now() + beat, now() + check
        while True:
            frames: Sequence[bytes] | None = ()
            try:
                async with asyncio.timeout_at(min(beat_at, check_at)) as limit:
                    frames = await self._source.next()
            except TimeoutError:
                if not limit.expired():
                    raise
            if frames is None:
                return
            if now() >= check_at:
                if not await self._is_welcome():
                    return
                check_at = now() + check
            if not frames and now() >= beat_at:
                frames = [frame("heartbeat", {"at": datetime.now(UTC)})]
            if frames:
                await self._give(send, b"".join(frames))
                beat_at = now() + beat

    async def _give(self, send: Send, body: bytes, *, is_more: bool = True) -> None:
        """Raises `Slow` when the client takes nothing."""
        try:
            async with asyncio.timeout(self._patience.total_seconds()) as limit:
                await send({"type": "http.response.body", "body": body, "more_body": is_more})
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise Slow from error


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    raise Gone
