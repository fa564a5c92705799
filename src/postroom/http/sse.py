"""Server-sent events (HTML, 9.2): how one is written, and an answer that is made of them."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from fastapi.sse import EventSourceResponse, format_sse_event
from starlette.types import Receive, Scope, Send

from postroom.db.beside import beside
from postroom.http import problems
from postroom.http.streams import (
    CHECK,
    HEARTBEAT,
    PATIENCE,
    Gone,
    Slow,
    Source,
    Streams,
    Telling,
    TooManyStreams,
)
from postroom.ids import TenantId


def frame(event: str, data: Any, id: str | None = None) -> bytes:
    """One event as it travels; `data` is anything that JSON can hold."""
    text = orjson.dumps(data, default=str, option=orjson.OPT_UTC_Z).decode()
    return format_sse_event(data_str=text, event=event, id=id)


def heartbeat(id: str | None = None) -> bytes:
    return frame("heartbeat", {"at": datetime.now(UTC)}, id)


class EventStream(EventSourceResponse):
    """An answer that goes on for as long as its source has something to say. See `streams`."""

    def __init__(
        self,
        source: Source[bytes],
        *,
        streams: Streams,
        tenant: TenantId,
        is_welcome: Callable[[], Awaitable[bool]],
        beat: Callable[[], bytes] = heartbeat,
        heartbeat: timedelta = HEARTBEAT,
        patience: timedelta = PATIENCE,
        check: timedelta = CHECK,
    ) -> None:
        super().__init__((), headers={"X-Accel-Buffering": "no"})  # nginx would keep events back
        self._source, self._streams, self._tenant, self._beat = source, streams, tenant, beat
        self._patience = patience
        self._telling = Telling(is_welcome, heartbeat=heartbeat, patience=patience, check=check)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def give(frames: Sequence[bytes]) -> None:
            await send({"type": "http.response.body", "body": b"".join(frames), "more_body": True})

        try:
            with self._streams.entered(self._tenant) as waits:
                async with beside(_until_gone(receive)):
                    await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                    await self._telling.tell(self._source, waits, give, self._beat)
                    async with asyncio.timeout(self._patience.total_seconds()):
                        await send({"type": "http.response.body", "body": b"", "more_body": False})
        except TooManyStreams as error:
            await problems.of(error, problems.request_id(scope))(scope, receive, send)
        except (Slow, Gone, TimeoutError):
            pass
        finally:
            self._source.close()


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    raise Gone
